/*
 * A parcel's files into a folder. To the engine go lines:
 *
 *   head          the file "head" is whole: what the parcel says it is
 *   sync NUMBER   (from another host) all files so far are whole and on the disk; the engine's
 *                 answer, one line, goes to the other side
 *   end           so is the rest, and the digest was right
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "wire/parcel/parcel.h"
#include "wire/parcel/program.h"

#define HEAD "head"

struct receiver {
    struct tls *tls; /* NULL: the stream is as it is */
    int file;        /* the open one; -EBADF: none */
};

static int full(struct error *err, int r, const char *what)
{
    return error_set(err, r == -ENOSPC || r == -EDQUOT || r == -EFBIG ? ERROR_LIMIT : ERROR_SYSTEM,
                     -r, "%s: %s", what, strerror(-r));
}

static int get(void *context, void *data, size_t len, struct error *err)
{
    struct receiver *v = context;
    for (size_t at = 0; at < len;) {
        ssize_t n = v->tls ? tls_read(v->tls, (char *)data + at, len - at)
                           : read(PARCEL_FD_STREAM, (char *)data + at, len - at);
        if (!v->tls && n < 0)
            n = -errno;
        if (n == -EINTR || n == -EAGAIN)
            continue;
        if (n < 0)
            return error_errno(err, (int)n, "read the parcel");
        if (n == 0)
            return error_set(err, ERROR_CORRUPT, EBADMSG, "the parcel is cut off");
        at += (size_t)n;
    }
    return 0;
}

static int say(const char *line, struct error *err)
{
    int r = fd_write_all(PARCEL_FD_ENGINE, line, strlen(line));
    return r < 0 ? error_errno(err, r, "tell the engine") : 0;
}

static int open_new(struct receiver *v, const char *name, uint64_t bytes, struct error *err)
{
    v->file =
        openat(PARCEL_FD_FOLDER, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (v->file < 0 && errno == EEXIST)
        return error_set(err, ERROR_CORRUPT, EEXIST, "two files of the parcel are called %s", name);
    if (v->file < 0 || ftruncate(v->file, (off_t)bytes) < 0)
        return full(err, -errno, name);
    return 0;
}

static int on_file_end(void *context, struct error *err)
{
    struct receiver *v = context;
    int r = fsync(v->file) < 0 ? -errno : 0;
    v->file = close_fd(v->file);
    return r < 0 ? full(err, r, "write a file of the parcel") : 0;
}

static int on_data(void *context, uint64_t at, const void *data, size_t len, struct error *err)
{
    struct receiver *v = context;
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(v->file, (const char *)data + done, len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return full(err, -errno, "write a file of the parcel");
        done += (size_t)n;
    }
    return 0;
}

static int on_file(void *context, const char *name, uint64_t bytes, struct error *err)
{
    if (strcmp(name, HEAD) == 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "a file of the parcel is called %s", name);
    return open_new(context, name, bytes, err);
}

static int on_head(void *context, const char *text, size_t len, struct error *err)
{
    int r = open_new(context, HEAD, len, err);
    if (r == 0)
        r = on_data(context, 0, text, len, err);
    if (r == 0)
        r = on_file_end(context, err);
    return r < 0 ? r : say("head\n", err);
}

/* A line of the engine's, whose end ours is. */
static int read_answer(char *line, size_t size, struct error *err)
{
    size_t n = 0;
    while (n + 1 < size) {
        ssize_t got = read(PARCEL_FD_ENGINE, line + n, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return error_set(err, ERROR_SYSTEM, EPIPE, "the engine has gone");
        if (line[n++] == '\n')
            break;
    }
    line[n] = '\0';
    return 0;
}

static int on_sync(void *context, uint64_t number, struct error *err)
{
    struct receiver *v = context;
    char line[PARCEL_ANSWER_MAX];
    snprintf(line, sizeof(line), "sync %u\n", (unsigned int)number);
    int r = say(line, err);
    if (r == 0)
        r = read_answer(line, sizeof(line), err);
    if (r == 0 && (r = tls_write(v->tls, line, strlen(line))) < 0)
        error_errno(err, r, "answer the other side");
    return r;
}

static int run(struct receiver *v, struct error *err)
{
    const struct parcel_sink sink = {.head = on_head,
                                     .file = on_file,
                                     .data = on_data,
                                     .file_end = on_file_end,
                                     .sync = v->tls ? on_sync : NULL};
    int r = v->tls ? tls_start(v->tls, PARCEL_FD_STREAM, err) : 0;
    if (r == 0)
        r = parcel_read(get, v, &sink, v, err);
    return r < 0 ? r : say("end\n", err);
}

int receive_run(uid_t uid, bool tls, struct error *err)
{
    struct receiver v = {.file = -EBADF};
    int r = tls ? tls_new(NULL, &v.tls, err) : 0;
    if (r == 0)
        r = parcel_confine(uid, PARCEL_FD_FOLDER, err);
    if (r == 0)
        r = run(&v, err);
    close_fd(v.file);
    tls_free(v.tls);
    return r;
}
