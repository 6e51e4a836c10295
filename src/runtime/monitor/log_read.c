/*
 * The files are opened once, newest first, and read oldest first. Their descriptors stay good when
 * the writer rotates meanwhile: what was renamed is read to its end, then the new "log" is opened.
 *
 * For tail, newlines are counted from the end backwards, over as many files as it takes.
 *
 * Following waits on inotify: the bundle directory for bytes and rotations, the monitor's lock for
 * its being closed. A second at most passes between looks, should the kernel tell nothing.
 */
#include "runtime/monitor/log.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/text.h"
#include "runtime/monitor/client.h"

#define MAX_FILES   1000
#define BLOCK_BYTES ((size_t)65536)
#define LOOK_MS     1000

struct reader {
    const char *bundle;
    const struct log_query *query;
    int (*entry)(void *context, const struct log_entry *e);
    void *context;
    int fds[MAX_FILES]; /* newest first */
    size_t n;
    size_t current;  /* which one is being read */
    struct buf line; /* bytes after the last newline */
    bool too_long;   /* the rest of the current line is passed over */
    bool past_until;
};

static int open_file(const char *bundle, size_t i)
{
    char name[32];
    snprintf(name, sizeof(name), i ? "log.%zu" : "log", i);
    _cleanup_free_ char *path = path_join(bundle, name);
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close_fd(fd);
        return -EINVAL;
    }
    return fd;
}

static int open_files(struct reader *r, struct error *err)
{
    while (r->n < MAX_FILES) {
        int fd = open_file(r->bundle, r->n);
        if (fd == -ENOENT)
            return 0;
        if (fd < 0)
            return error_errno(err, fd, "open the log in %s", r->bundle);
        r->fds[r->n++] = fd;
    }
    return 0;
}

/* Positions fds[i] behind the line that comes *left lines before its end. True when it was found in
 * this file; otherwise all of the file counts. */
static bool seek_tail(int fd, int64_t *left)
{
    char block[4096];
    off_t end = lseek(fd, 0, SEEK_END), at = end;
    while (at > 0) {
        size_t n = (size_t)MIN(at, (off_t)sizeof(block));
        at -= (off_t)n;
        if (pread(fd, block, n, at) != (ssize_t)n)
            break;
        for (size_t i = n; i-- > 0;) {
            if (block[i] != '\n' || at + (off_t)i + 1 == end)
                continue;
            if (--*left == 0) {
                lseek(fd, at + (off_t)i + 1, SEEK_SET);
                return true;
            }
        }
    }
    if (end > 0)
        --*left; /* the file's first line */
    lseek(fd, 0, SEEK_SET);
    return *left == 0;
}

/* Chooses where to begin: r->current, and the position of its descriptor. */
static void begin(struct reader *r)
{
    int64_t left = r->query->tail;
    r->current = r->n > 0 ? r->n - 1 : 0;
    if (left < 0 || r->n == 0)
        return;
    if (left == 0) {
        r->current = 0;
        lseek(r->fds[0], 0, SEEK_END);
        return;
    }
    for (size_t i = 0; i < r->n; i++)
        if (seek_tail(r->fds[i], &left)) {
            r->current = i;
            return;
        }
}

static int give_line(struct reader *r, char *line, size_t len)
{
    struct log_entry e;
    if (log_parse_line(line, len, &e) < 0)
        return 0;
    if (r->query->since_ns && e.time_ns < r->query->since_ns)
        return 0;
    if (r->query->until_ns && e.time_ns > r->query->until_ns) {
        r->past_until = true;
        return 0;
    }
    return r->entry(r->context, &e);
}

/* Gives the whole lines among what was read; keeps the rest. */
static int give_lines(struct reader *r)
{
    char *p = r->line.data, *end = p + r->line.len, *newline;
    int result = 0;
    while (result == 0 && p < end && (newline = memchr(p, '\n', (size_t)(end - p)))) {
        if (!r->too_long)
            result = give_line(r, p, (size_t)(newline - p));
        r->too_long = false;
        p = newline + 1;
    }
    buf_consume(&r->line, (size_t)(p - r->line.data));
    if (r->line.len > LOG_MAX_LINE) {
        r->too_long = true;
        buf_reset(&r->line);
    }
    return result;
}

/* Reads the current file to its end. */
static int read_file(struct reader *r, struct error *err)
{
    for (;;) {
        char *space;
        int result = buf_reserve(&r->line, BLOCK_BYTES, &space);
        if (result < 0)
            return error_errno(err, result, "read the log");
        ssize_t n = read(r->fds[r->current], space, BLOCK_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, errno, "read the log");
        if (n == 0)
            return 0;
        r->line.len += (size_t)n;
        result = give_lines(r);
        if (result != 0)
            return result;
    }
}

/* All files from the current one to the newest. */
static int read_files(struct reader *r, struct error *err)
{
    int result = 0;
    while (r->n > 0) {
        result = read_file(r, err);
        if (result != 0 || r->current == 0)
            break;
        buf_reset(&r->line); /* half a line at a file's end is never continued in the next */
        r->too_long = false;
        r->current--;
    }
    return result;
}

/* --- following --- */

static void keep_only_newest(struct reader *r)
{
    for (size_t i = 1; i < r->n; i++)
        close_fd(r->fds[i]);
    r->n = MIN(r->n, (size_t)1);
    r->current = 0;
}

static bool same_file(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

/* Reads what is new. Files that came into being since are found by looking for ours among the
 * rotated ones: it has moved on by as many places as there were rotations. */
static int read_new(struct reader *r, struct error *err)
{
    int result = read_files(r, err);
    int newest = result == 0 ? open_file(r->bundle, 0) : -EBADF;
    if (newest < 0)
        return result;
    if (r->n > 0 && same_file(newest, r->fds[0])) {
        close_fd(newest);
        return 0;
    }
    int ours = r->n > 0 ? r->fds[0] : -EBADF;
    result = ours >= 0 ? read_files(r, err) : 0; /* what came between our end and the rotation */
    r->fds[0] = newest;
    r->n = 1;
    while (ours >= 0 && r->n < MAX_FILES) {
        int fd = open_file(r->bundle, r->n);
        if (fd < 0)
            break;
        if (same_file(fd, ours)) {
            close_fd(fd);
            break;
        }
        r->fds[r->n++] = fd;
    }
    close_fd(ours);
    r->current = r->n - 1;
    buf_reset(&r->line);
    r->too_long = false;
    if (result == 0)
        result = read_files(r, err);
    keep_only_newest(r);
    return result;
}

static void wait_for_change(struct reader *r, int notify)
{
    char events[4096];
    int timeout = LOOK_MS;
    if (r->query->until_ns) {
        int64_t left = (r->query->until_ns - time_now_ns()) / 1000000 + 1;
        timeout = (int)MAX(MIN(left, (int64_t)LOOK_MS), (int64_t)0);
    }
    struct pollfd fds[] = {{notify, POLLIN, 0}, {r->query->stop_fd, POLLIN, 0}};
    if (poll(fds, 2, timeout) > 0 && fds[0].revents)
        (void)!read(notify, events, sizeof(events));
}

static bool stop_asked(const struct reader *r)
{
    struct pollfd fd = {r->query->stop_fd, POLLIN, 0};
    return fd.fd >= 0 && poll(&fd, 1, 0) > 0;
}

static int follow(struct reader *r, struct error *err)
{
    _cleanup_free_ char *lock = path_join(r->query->run_dir, "lock");
    _cleanup_close_ int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (notify < 0 || inotify_add_watch(notify, r->bundle, IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0)
        return error_errno(err, errno, "watch the log");
    (void)!inotify_add_watch(notify, lock, IN_CLOSE_WRITE);
    keep_only_newest(r);
    for (;;) {
        /* Whether it has gone is asked first: what it wrote before going is then read below. */
        bool gone = monitor_wait_gone(r->query->run_dir, 0) == 0;
        int result = read_new(r, err);
        if (result != 0 || gone || r->past_until || stop_asked(r) ||
            (r->query->until_ns && time_now_ns() > r->query->until_ns))
            return result;
        wait_for_change(r, notify);
    }
}

int log_read(const char *bundle, const struct log_query *query,
             int (*entry)(void *context, const struct log_entry *e), void *context,
             struct error *err)
{
    struct reader *r = xnew(struct reader);
    r->bundle = bundle;
    r->query = query;
    r->entry = entry;
    r->context = context;
    r->line.max = LOG_MAX_LINE + BLOCK_BYTES;
    int result = open_files(r, err);
    if (result == 0) {
        begin(r);
        result = read_files(r, err);
    }
    if (result == 0 && query->follow && !r->past_until)
        result = follow(r, err);
    for (size_t i = 0; i < r->n; i++)
        close_fd(r->fds[i]);
    buf_done(&r->line);
    free(r);
    return result;
}
