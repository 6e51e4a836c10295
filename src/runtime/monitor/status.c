/*
 * BUNDLE/status: key=value lines, replaced atomically. On a full disk the file that is there is
 * overwritten in place (it is one block and stays one), so that an exit code is never lost to lack
 * of space.
 */
#include <fcntl.h>
#include <sys/file.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/text.h"
#include "runtime/monitor/client.h"

#define STATUS_MAX_BYTES ((size_t)2048)

static const char *const state_names[] = {
    [MONITOR_NONE] = "none",       [MONITOR_STARTING] = "starting",
    [MONITOR_RUNNING] = "running", [MONITOR_RESTARTING] = "restarting",
    [MONITOR_EXITED] = "exited",
};

static int write_in_place(int dirfd, const char *path, const char *text, size_t len)
{
    _cleanup_close_ int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    int r = fd_write_all(fd, text, len);
    if (r == 0 && ftruncate(fd, (off_t)len) < 0)
        r = -errno;
    return r;
}

int monitor_status_write(const char *bundle, const struct monitor_status *s, struct error *err)
{
    char text[STATUS_MAX_BYTES], path[4096], reason[sizeof(s->error)];
    size_t n = 0;
    for (; s->error[n] && n + 1 < sizeof(reason); n++)
        reason[n] = (unsigned char)s->error[n] < 0x20 ? ' ' : s->error[n];
    reason[n] = '\0';
    int len = snprintf(
        text, sizeof(text),
        "state=%s\npid=%d\nstart_ticks=%llu\nmonitor_pid=%d\nexit_code=%d\noom_killed=%d\n"
        "restarts=%u\nstarted_ns=%lld\nfinished_ns=%lld\nlog_dropped=%llu\nerror=%s\n",
        state_names[s->state], (int)s->pid, (unsigned long long)s->start_ticks, (int)s->monitor_pid,
        s->exit_code, s->oom_killed, s->restarts, (long long)s->started_ns,
        (long long)s->finished_ns, (unsigned long long)s->log_dropped, reason);
    if (snprintf(path, sizeof(path), "%s/status", bundle) >= (int)sizeof(path))
        return error_errno(err, ENAMETOOLONG, "%.200s", bundle);
    int r = file_write_atomic(AT_FDCWD, path, text, (size_t)len, 0600);
    if (r == -ENOSPC || r == -EDQUOT)
        r = write_in_place(AT_FDCWD, path, text, (size_t)len);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

static int parse_i64(const char *value, int64_t *ret)
{
    uint64_t u;
    bool negative = *value == '-';
    int r = parse_u64(value + negative, INT64_MAX, &u);
    if (r == 0)
        *ret = negative ? -(int64_t)u : (int64_t)u;
    return r;
}

static int parse_line(struct monitor_status *s, const char *key, const char *value)
{
    int64_t n = 0;
    if (strcmp(key, "error") == 0) {
        snprintf(s->error, sizeof(s->error), "%s", value);
        return 0;
    }
    if (strcmp(key, "state") == 0) {
        for (size_t i = 0; i < ARRAY_SIZE(state_names); i++)
            if (strcmp(state_names[i], value) == 0) {
                s->state = (enum monitor_state)i;
                return 0;
            }
        return -EINVAL;
    }
    int r = parse_i64(value, &n);
    if (r < 0)
        return r;
    if (strcmp(key, "pid") == 0)
        s->pid = (pid_t)n;
    else if (strcmp(key, "start_ticks") == 0)
        s->start_ticks = (uint64_t)n;
    else if (strcmp(key, "monitor_pid") == 0)
        s->monitor_pid = (pid_t)n;
    else if (strcmp(key, "exit_code") == 0)
        s->exit_code = (int)n;
    else if (strcmp(key, "oom_killed") == 0)
        s->oom_killed = n != 0;
    else if (strcmp(key, "restarts") == 0)
        s->restarts = (uint32_t)n;
    else if (strcmp(key, "started_ns") == 0)
        s->started_ns = n;
    else if (strcmp(key, "finished_ns") == 0)
        s->finished_ns = n;
    else if (strcmp(key, "log_dropped") == 0)
        s->log_dropped = (uint64_t)n;
    return 0; /* a key of a newer version is passed over */
}

static int parse_status(char *text, struct monitor_status *s)
{
    for (char *line = text, *next; *line; line = next) {
        char *end = strchr(line, '\n'), *equals = strchr(line, '=');
        if (!end || !equals || equals > end)
            return -EBADMSG;
        next = end + 1;
        *end = *equals = '\0';
        if (parse_line(s, line, equals + 1) < 0)
            return -EBADMSG;
    }
    return 0;
}

/* Whether somebody holds RUN_DIR/lock. A shared lock is tried and given back at once: monitors that
 * start at this very moment try again. */
static bool lock_is_held(const char *run_dir)
{
    _cleanup_free_ char *path = path_join(run_dir, "lock");
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

int monitor_status_read(const char *bundle, const char *run_dir, struct monitor_status *ret,
                        struct error *err)
{
    _cleanup_free_ char *path = path_join(bundle, "status"), *text = NULL;
    struct monitor_status s = {0};
    /* The lock first: a monitor that ends between the two looks has written its last status. */
    s.alive = lock_is_held(run_dir);
    int r = file_read(AT_FDCWD, path, STATUS_MAX_BYTES, &text);
    if (r < 0 && r != -ENOENT)
        return error_errno(err, r, "read %s", path);
    if (r == 0 && parse_status(text, &s) < 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "%s is damaged", path);
    *ret = s;
    return 0;
}
