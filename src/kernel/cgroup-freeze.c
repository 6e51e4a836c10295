/*
 * Stopping the processes of a control group where they are. The unified hierarchy does it where it
 * is, with or without controllers, and tells when it is done; a frozen process of v1's freezer does
 * not even die before it is thawed. Whoever froze a group from outside with the other of the two
 * has frozen it as well: both are looked at, and both are thawed.
 */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "base/fd.h"
#include "base/text.h"
#include "kernel/cgroup-internal.h"

#define WAIT_MS 10000

/* A line of cgroup.events, which changes when it is written. A group that has gone has no line, and
 * nothing in it. */
int cgroup_wait_event(int dir, const char *line)
{
    _cleanup_close_ int fd = openat(dir, "cgroup.events", O_RDONLY | O_CLOEXEC);
    int64_t end = time_monotonic_ms() + WAIT_MS;
    if (fd < 0)
        return -errno;
    for (;;) {
        char text[256];
        ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
        if (n < 0)
            return -errno;
        text[n] = '\0';
        if (strstr(text, line))
            return 0;
        int64_t left = end - time_monotonic_ms();
        struct pollfd p = {fd, POLLPRI, 0};
        if (left <= 0 || (poll(&p, 1, (int)left) < 0 && errno != EINTR))
            return -ETIMEDOUT;
    }
}

static bool v1_state_is(int dir, const char *state)
{
    _cleanup_free_ char *text = NULL;
    return dir >= 0 && file_read_kernel(dir, "freezer.state", 64, &text) == 0 &&
           strncmp(text, state, strlen(state)) == 0;
}

/* A process that is just being made may be missed: reading the state looks again, and freezing once
 * more takes it in. */
static int freeze_v1(int dir)
{
    const struct timespec pause = {0, 200000};
    int64_t end = time_monotonic_ms() + WAIT_MS;
    do {
        int r = file_write_kernel(dir, "freezer.state", "FROZEN");
        if (r < 0 || v1_state_is(dir, "FROZEN"))
            return r;
        nanosleep(&pause, NULL);
    } while (time_monotonic_ms() < end);
    (void)!file_write_kernel(dir, "freezer.state", "THAWED");
    return -ETIMEDOUT;
}

static int freeze(const struct cgroup *g)
{
    int dir = g->dirs[CGROUP_UNIFIED];
    if (dir < 0)
        return freeze_v1(g->dirs[CGROUP_FREEZER]);
    int r = file_write_kernel(dir, "cgroup.freeze", "1");
    if (r == 0 && (r = cgroup_wait_event(dir, "frozen 1")) == -ETIMEDOUT)
        (void)!file_write_kernel(dir, "cgroup.freeze", "0");
    return r;
}

static int thaw(const struct cgroup *g)
{
    int dir = g->dirs[CGROUP_UNIFIED], r = 0;
    if (g->dirs[CGROUP_FREEZER] >= 0)
        r = file_write_kernel(g->dirs[CGROUP_FREEZER], "freezer.state", "THAWED");
    if (r == 0 && dir >= 0)
        r = file_write_kernel(dir, "cgroup.freeze", "0");
    return r < 0 || dir < 0 ? r : cgroup_wait_event(dir, "frozen 0");
}

int cgroup_freeze(const struct cgroup *g, bool frozen, struct error *err)
{
    if (g->dirs[CGROUP_UNIFIED] < 0 && g->dirs[CGROUP_FREEZER] < 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "it has no control group that can be frozen");
    int r = frozen ? freeze(g) : thaw(g);
    return r < 0 ? error_errno(err, r, frozen ? "freeze" : "thaw") : 0;
}

bool cgroup_is_frozen(const struct cgroup *g)
{
    _cleanup_free_ char *text = NULL;
    if (g->dirs[CGROUP_UNIFIED] >= 0 &&
        file_read_kernel(g->dirs[CGROUP_UNIFIED], "cgroup.freeze", 64, &text) == 0 &&
        text[0] == '1')
        return true;
    return v1_state_is(g->dirs[CGROUP_FREEZER], "FR"); /* FREEZING, too */
}
