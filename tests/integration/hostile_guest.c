/*
 * Process 1 of a machine whose guest is an attacker: started by rdinit=/hostile in place of guest,
 * with guest's own start so that it has the port. hostile=MODE on the kernel's command line says
 * what it does: before the handshake is done, or as a running machine that has been taken over.
 */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <time.h>

#include "base/fd.h"
#include "base/text.h"
#include "guest/guest.h"
#include "hostile_devices.h"

#define FLOOD_BYTES ((size_t)1 << 20)
#define HOARD_BYTES ((size_t)72 << 20)

static int port;
static unsigned int seed = 1;
static char block[FLOOD_BYTES];

static _noreturn_ void hang(void)
{
    for (;;)
        pause();
}

static unsigned char random_byte(void)
{
    seed = seed * 1103515245 + 12345;
    return (unsigned char)(seed >> 16);
}

/* The host may have ended the machine already: nobody is there to be told. */
static void put(const void *data, size_t len)
{
    for (const char *at = data; len > 0;) {
        ssize_t n = write(port, at, len);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            hang();
        at += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

static void put_frame(uint32_t len, uint16_t type, uint32_t stream, const void *payload,
                      size_t sent)
{
    struct {
        uint32_t len;
        uint16_t type, zero;
        uint32_t stream;
    } header = {len, type, 0, stream};
    put(&header, sizeof(header));
    put(payload, sent);
}

static void put_number(uint16_t type, uint32_t stream, uint32_t value)
{
    put_frame(sizeof(value), type, stream, &value, sizeof(value));
}

/* --- before the machine runs --- */

static void garbage(void)
{
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (char)random_byte();
    put(block, sizeof(block));
}

static void huge_frame(void)
{
    put_frame(UINT32_MAX, AGENT_HELLO, 0, block, sizeof(block));
}

static void endless_hello(void)
{
    for (;;)
        put_number(AGENT_HELLO, 0, AGENT_VERSION);
}

static void wrong_version(void)
{
    put_number(AGENT_HELLO, 0, 99);
}

static void long_error(void)
{
    static char text[70000];
    struct error e = {.code = -1, .kind = (enum error_kind)77};
    memset(e.msg, '\n', sizeof(e.msg) - 1);
    memset(text, 0x1b, sizeof(text));
    put_number(AGENT_HELLO, 0, AGENT_VERSION);
    put_frame(sizeof(text), AGENT_ERROR, 0, text, sizeof(text));
    struct buf out = BUF_INIT(AGENT_PAYLOAD_MAX);
    if (agent_add_error(&out, 0, &e) == 0)
        put(out.data, out.len);
}

/* --- as a machine that runs --- */

/* Reads a frame of the host's, into `f`. */
static void next_frame(struct buf *in, size_t *used, struct agent_frame *f)
{
    struct error err = ERROR_INIT;
    buf_consume(in, *used);
    for (;;) {
        char *space;
        struct pollfd p = {port, POLLIN, 0};
        if (agent_frame_parse(in->data, in->len, f, used, &err) < 0)
            hang();
        if (*used > 0)
            return;
        if (buf_reserve(in, 65536, &space) < 0 || poll(&p, 1, -1) < 0)
            hang();
        ssize_t n = read(port, space, 65536);
        in->len += n > 0 ? (size_t)n : 0;
    }
}

static struct buf in = BUF_INIT(4 * AGENT_PAYLOAD_MAX);
static size_t used;

static void pretend_to_run(void)
{
    struct agent_frame f;
    put_number(AGENT_HELLO, 0, AGENT_VERSION);
    for (;;) {
        next_frame(&in, &used, &f);
        if (f.type == AGENT_CONFIGURE)
            put_frame(0, AGENT_OK, 0, NULL, 0);
        if (f.type == AGENT_START) {
            put_frame(0, AGENT_STARTED, AGENT_WORKLOAD, NULL, 0);
            return;
        }
    }
}

static void mute(void)
{
    pretend_to_run();
}

/* Frames that mean nothing here, as fast as they can be written. */
static void flood(void)
{
    pretend_to_run();
    for (uint32_t i = 0;; i++) {
        put_number(AGENT_EXIT, i | 4096, 0);
        put_frame(5, AGENT_CREDIT, AGENT_WORKLOAD, "\0\377\377\377\377", 5);
        put_frame(0, AGENT_STARTED, AGENT_WORKLOAD, NULL, 0);
    }
}

/* More output of the workload than the host has room for. */
static void without_credit(void)
{
    pretend_to_run();
    block[0] = 1;
    for (;;)
        put_frame(AGENT_DATA_MAX, AGENT_DATA, AGENT_WORKLOAD, block, AGENT_DATA_MAX);
}

/* Each request gets an answer of another kind, a half one, or far too much. */
static void lies(void)
{
    struct agent_frame f;
    pretend_to_run();
    for (;;) {
        next_frame(&in, &used, &f);
        if (f.type == AGENT_EXEC) {
            put_frame(0, AGENT_STARTED, f.stream, NULL, 0);
            block[0] = 1;
            for (int i = 0; i < 400; i++)
                put_frame(AGENT_DATA_MAX, AGENT_DATA, f.stream, block, AGENT_DATA_MAX);
            put_frame(2, AGENT_EXIT, f.stream, "ab", 2);
        } else if (f.type == AGENT_STATS) {
            put_frame(3, AGENT_STATS_REPLY, f.stream, "abc", 3);
        } else if (f.type == AGENT_PROCESSES) {
            put_frame(8, AGENT_TEXT, f.stream, "\377\377\377\377abc", 8);
        } else if (f.type == AGENT_TREE_OUT || f.type == AGENT_TREE_FOLLOW) {
            for (size_t i = 1; i < 4096; i++)
                block[i] = (char)random_byte();
            block[0] = 1;
            put_frame(4096, AGENT_DATA, f.stream, block, 4096);
            put_frame(1, AGENT_CLOSE, f.stream, "\1", 1);
            put_frame(0, AGENT_OK, f.stream, NULL, 0);
        }
    }
}

/* Good frames with every byte a chance to be another one. */
static void mutate(void)
{
    pretend_to_run();
    for (unsigned int i = 0;; i++) {
        char frame[64];
        uint32_t len = random_byte() % 40;
        memset(frame, 0, sizeof(frame));
        frame[0] = (char)len;
        frame[4] = (char)(random_byte() % AGENT_TYPES);
        frame[8] = (char)(random_byte() % 5);
        for (uint32_t b = 0; b < len; b++)
            frame[12 + b] = (char)random_byte();
        if (i % 200 == 199) /* what ends it comes late, so that much is tried before */
            frame[random_byte() % 12] = (char)random_byte();
        put(frame, 12 + len);
    }
}

/* Every device but the agent's port, which is for the frames above. */
static void flood_devices(void)
{
    pretend_to_run();
    devices_flood();
}

static void end_at_once(void)
{
    pretend_to_run();
    put_number(AGENT_EXIT, AGENT_WORKLOAD, UINT32_MAX);
}

static int open_disk(void)
{
    for (char letter = 'a'; letter <= 'z'; letter++) {
        char path[32];
        char *serial = NULL;
        snprintf(path, sizeof(path), "/sys/block/vd%c/serial", letter);
        bool found =
            file_read_kernel(AT_FDCWD, path, 64, &serial) == 0 && strncmp(serial, "disk", 4) == 0;
        free(serial);
        snprintf(path, sizeof(path), "/dev/vd%c", letter);
        if (found)
            return open(path, O_RDWR | O_CLOEXEC);
    }
    return -1;
}

/* Not hostile: as a kernel whose timers do not work. The disk knows that it has been here before.
 */
static void stand_once(void)
{
    static const char mark[] = "stood";
    char seen[sizeof(mark)] = "";
    int fd = open_disk();
    if (pread(fd, seen, sizeof(seen), 1 << 20) == (ssize_t)sizeof(seen) &&
        memcmp(seen, mark, sizeof(mark)) == 0)
        end_at_once();
    else if (pwrite(fd, mark, sizeof(mark), 1 << 20) == (ssize_t)sizeof(mark))
        fsync(fd);
}

static void let_go_of_balloon(void)
{
    for (int i = 0; i < 16; i++) {
        char name[16];
        snprintf(name, sizeof(name), "virtio%d", i);
        (void)!file_write_kernel(AT_FDCWD, "/sys/bus/virtio/drivers/virtio_balloon/unbind", name);
    }
}

/* Says yes to a smaller size, has its memory in use, and gives none back. */
static void hoard(void)
{
    struct agent_frame f;
    struct agent_stats stats;
    pretend_to_run();
    char *memory =
        mmap(NULL, HOARD_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED)
        memset(memory, 1, HOARD_BYTES);
    let_go_of_balloon();
    for (;;) {
        struct buf out = BUF_INIT(AGENT_PAYLOAD_MAX);
        next_frame(&in, &used, &f);
        guest_stats(&stats);
        if (f.type == AGENT_STATS && agent_stats_add(&out, f.stream, &stats) == 0)
            put(out.data, out.len);
        if (f.type == AGENT_LIMITS)
            put_frame(0, AGENT_OK, f.stream, NULL, 0);
        buf_done(&out);
    }
}

static const struct {
    const char *name;
    void (*run)(void);
} modes[] = {{"silent", hang},
             {"garbage", garbage},
             {"huge-frame", huge_frame},
             {"endless-hello", endless_hello},
             {"version", wrong_version},

             {"long-error", long_error},
             {"mute", mute},
             {"flood", flood},
             {"devices", flood_devices},
             {"without-credit", without_credit},
             {"lies", lies},
             {"mutate", mutate},
             {"hoard", hoard},
             {"stand-once", stand_once},
             {"end", end_at_once}};

static void run_mode(const char *line)
{
    const char *at = strstr(line, "hostile=");
    for (size_t i = 0; at && i < ARRAY_SIZE(modes); i++)
        if (strcspn(at + 8, " \n") == strlen(modes[i].name) &&
            strncmp(at + 8, modes[i].name, strlen(modes[i].name)) == 0)
            modes[i].run();
}

int main(void)
{
    struct error err = ERROR_INIT;
    char *line = NULL;
    if (guest_boot(&err) < 0 || file_read_kernel(AT_FDCWD, "/proc/cmdline", 4096, &line) < 0)
        reboot(RB_AUTOBOOT);
    while ((port = open(GUEST_PORT, O_RDWR | O_NONBLOCK | O_CLOEXEC)) < 0)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    if (line)
        run_mode(line);
    hang();
}
