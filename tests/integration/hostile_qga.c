/*
 * A guest agent that is an attacker, for a machine that boots a disk:
 *
 *   hostile_qga PORT LIE
 *
 * It speaks QEMU's agent protocol on the machine's port in place of qemu-ga, well enough that every
 * command of the host's would succeed, and tells one lie: an answer to one of the protocol's
 * commands, or to all of them, that is none. Finding the agent works, but where that is the lie.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/macro.h"

#define LATE_S    33 /* a request may take 30 */
#define DATA_MANY ((size_t)3 << 20)

static FILE *out; /* gathers: a small write takes as long as a large one */
static char block[65536];

static void put(const char *data, size_t len)
{
    if (fwrite(data, 1, len, out) != len)
        exit(1);
}

static void say(const char *text)
{
    put(text, strlen(text));
}

/* --- lies that are made, not written down --- */

static _noreturn_ void repeat(const char *text)
{
    size_t len = strlen(text), n = 0;
    for (; n + len <= sizeof(block); n += len)
        memcpy(block + n, text, len);
    for (;;)
        put(block, n);
}

static void garbage(void)
{
    uint32_t seed = 1;
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (char)((seed = seed * 1103515245 + 12345) >> 16);
    put(block, sizeof(block));
    say("\n");
}

static void endless_line(void)
{
    repeat("x");
}

static void endless_answers(void)
{
    repeat("{\"return\":{}}\n");
}

static void endless_syncs(void)
{
    repeat("\377{\"return\":1}\n");
}

static void put_many(const char *before, const char *piece, size_t n, const char *after)
{
    say(before);
    for (size_t i = 0; i < n; i++)
        say(piece);
    say(after);
}

static void deep(void)
{
    put_many("{\"return\":", "[[[[[[[[[[", 10000, "\n");
}

static void huge_base64(void)
{
    memset(block, 'A', sizeof(block) - 1);
    put_many("{\"return\":{\"exited\":true,\"exitcode\":0,\"out-data\":\"", block,
             DATA_MANY / sizeof(block) / 3 * 4, "\"}}\n");
}

static void more_than_asked(void)
{
    memset(block, 'A', sizeof(block) - 1);
    put_many("{\"return\":{\"count\":10,\"eof\":false,\"buf-b64\":\"", block, 4, "\"}}\n");
}

static void late(void)
{
    sleep(LATE_S);
    say("{\"return\":{}}\n");
}

/* The line that connects an output, and a tar stream whose file is as long as its header says, and
 * then as long again, with no header before it: in base64, 57 bytes "A" each. */
#define AS "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"

static void base64_add(char **at, const unsigned char *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i + 2 < len; i += 3) {
        unsigned int v = (unsigned int)data[i] << 16 | (unsigned int)data[i + 1] << 8 | data[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6)
            *(*at)++ = digits[v >> shift & 63];
    }
}

static void bigger_file(void)
{
    static bool begun;
    static unsigned char head[1 + 512 + 3];
    char text[800], *at = text;
    unsigned int sum = 0;
    if (begun) {
        put_many("{\"return\":{\"count\":5700,\"eof\":false,\"buf-b64\":\"", AS, 100, "\"}}\n");
        return;
    }
    begun = true;
    memset(head, 0, sizeof(head));
    head[0] = '\n';
    char *tar = (char *)head + 1;
    memcpy(tar, "file", 4);
    memcpy(tar + 100,
           "0000644\0" /* mode, user, group, size, time, the sum, which is not known yet, type */
           "0000000\0"
           "0000000\0"
           "00000000005\0"
           "00000000000\0"
           "        "
           "0",
           57);
    memcpy(tar + 257,
           "ustar\0"
           "00",
           8);
    for (size_t i = 0; i < 512; i++)
        sum += (unsigned char)tar[i];
    (void)snprintf(tar + 148, 7, "%06o", sum);
    base64_add(&at, head, sizeof(head));
    *at = '\0';
    put_many("{\"return\":{\"count\":516,\"eof\":false,\"buf-b64\":\"", text, 1, "\"}}\n");
}

/* --- the tables --- */

#define SYNC      "guest-sync-delimited"
#define NO_ANSWER "[1, 2]\n"

/* An answer that is NULL is made. */
static const struct lie {
    const char *name, *command; /* NULL: each but the one that finds the agent */
    const char *answer;
    void (*make)(void);
    const char *found; /* said to that one; NULL: the truth */
    bool once;
} lies[] = {
    {"garbage", NULL, NULL, garbage, NULL, false},
    {"endless-line", NULL, NULL, endless_line, NULL, false},
    {"endless-answers", NULL, NULL, endless_answers, NULL, false},
    {"endless-syncs", NULL, NULL, endless_syncs, NULL, false},
    {"deep", NULL, NULL, deep, NULL, false},
    {"late", NULL, NULL, late, NULL, true},
    {"silent", NULL, NO_ANSWER, NULL, "", false},
    {"wrong-number", NULL, NO_ANSWER, NULL, "\377{\"return\":7}\n", false},
    {"no-object", NULL, NO_ANSWER, NULL, NULL, false},
    {"twice", NULL, "{\"return\":{\"pid\":3}}\n{\"return\":{\"pid\":3}}\n", NULL, NULL, false},
    {"huge-number", "guest-exec", "{\"return\":{\"pid\":99999999999999999999}}\n", NULL, NULL,
     false},
    {"no-process", "guest-exec", "{\"return\":{\"pid\":-1}}\n", NULL, NULL, false},
    {"no-handle", "guest-file-open", "{\"return\":1e300}\n", NULL, NULL, false},
    {"no-status", "guest-exec-status", "{\"return\":{\"exited\":true,\"exitcode\":-70000}}\n", NULL,
     NULL, false},
    {"no-count", "guest-file-write", "{\"return\":{\"count\":1000000000}}\n", NULL, NULL, false},
    {"no-base64", "guest-file-read", "{\"return\":{\"count\":3,\"buf-b64\":\"!!!\"}}\n", NULL, NULL,
     false},
    {"huge-base64", "guest-exec-status", NULL, huge_base64, NULL, false},
    {"more-than-asked", "guest-file-read", NULL, more_than_asked, NULL, false},
    {"bigger-file", "guest-file-read", NULL, bigger_file, NULL, false},
    {"words", "guest-exec",
     "{\"error\":{\"class\":\"G\",\"desc\":\"\\u001b]0;owned\\u0007\\nsecond line\"}}\n", NULL,
     NULL, false},
};

/* What an agent says that does its work. */
static const struct {
    const char *command, *answer;
} truths[] = {
    {"guest-exec", "{\"return\":{\"pid\":3}}\n"},
    {"guest-exec-status", "{\"return\":{\"exited\":true,\"exitcode\":0}}\n"},
    {"guest-file-open", "{\"return\":1000}\n"},
    {"guest-file-read", "{\"return\":{\"count\":0,\"buf-b64\":\"\",\"eof\":true}}\n"},
    {"guest-fsfreeze-freeze", "{\"return\":1}\n"},
    {"guest-fsfreeze-thaw", "{\"return\":1}\n"},
};

/* Whether a request is for that command; our host writes them all alike. */
static bool asks(const char *line, const char *command)
{
    char text[64];
    (void)snprintf(text, sizeof(text), "\"execute\":\"%s\"", command);
    return strstr(line, text) != NULL;
}

static void tell_the_truth(const char *line)
{
    const char *id = strstr(line, "\"id\":");
    char text[64];
    if (asks(line, SYNC) && id) {
        (void)snprintf(text, sizeof(text), "\377{\"return\":%llu}\n", strtoull(id + 5, NULL, 10));
        say(text);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(truths); i++)
        if (asks(line, truths[i].command)) {
            say(truths[i].answer);
            return;
        }
    say("{\"return\":{}}\n");
}

static void answer(const struct lie *lie, const char *line)
{
    static bool lied;
    bool finds = asks(line, SYNC);
    if (finds && lie->found) {
        say(lie->found);
    } else if (finds || (lie->command && !asks(line, lie->command)) || (lie->once && lied)) {
        tell_the_truth(line);
    } else {
        lied = true;
        if (lie->make)
            lie->make();
        else
            say(lie->answer);
    }
}

/* The agent before may not have gone yet. */
static int open_port(const char *path)
{
    int fd;
    while ((fd = open(path, O_RDWR | O_CLOEXEC)) < 0 && errno == EBUSY)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    return fd;
}

int main(int argc, char **argv)
{
    const struct lie *lie = NULL;
    char *line = NULL;
    size_t size = 0;
    for (size_t i = 0; argc == 3 && i < ARRAY_SIZE(lies); i++)
        if (strcmp(argv[2], lies[i].name) == 0)
            lie = &lies[i];
    int port = lie ? open_port(argv[1]) : -1;
    FILE *in = port < 0 ? NULL : fdopen(port, "r");
    out = in ? fdopen(dup(port), "w") : NULL;
    if (!out || setvbuf(out, NULL, _IOFBF, sizeof(block)) != 0) {
        (void)fprintf(stderr, "usage: hostile_qga PORT LIE\n");
        return 2;
    }
    for (;;) {
        if (getline(&line, &size, in) > 0) {
            answer(lie, line);
            if (fflush(out) != 0)
                return 1;
        } else { /* nobody is at the other end yet */
            clearerr(in);
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        }
    }
}
