/*
 * The end of a control group: its processes are killed and its directories removed.
 *
 * The kernel kills a group of the unified hierarchy at once (cgroup.kill, Linux 5.14). Elsewhere
 * the list is read and each process killed: frozen meanwhile, so that nobody is forked that the
 * list does not have; and read again until it is empty, for groups that cannot be frozen.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/text.h"
#include "kernel/cgroup-internal.h"
#include "kernel/ns.h"

#define END_WAIT_MS 10000

/* Signals all before it waits for any. */
static int kill_once(int dir, const struct cgroup *thaw, size_t *ret_n)
{
    _cleanup_free_ pid_t *pids = NULL;
    int r = cgroup_list(dir, &pids, ret_n);
    if (r < 0)
        return r;
    int *pidfds = xcalloc(*ret_n + 1, sizeof(*pidfds));
    for (size_t i = 0; i < *ret_n; i++) {
        pidfds[i] = ns_pidfd(pids[i]);
        if (pidfds[i] >= 0 && ns_pidfd_signal(pidfds[i], SIGKILL) < 0)
            pidfds[i] = close_fd(pidfds[i]);
    }
    if (thaw)
        (void)!cgroup_freeze(thaw, false, NULL);
    for (size_t i = 0; i < *ret_n; i++) {
        if (pidfds[i] >= 0)
            (void)!ns_pidfd_wait(pidfds[i], END_WAIT_MS);
        close_fd(pidfds[i]);
    }
    free(pidfds);
    return 0;
}

static int kill_listed(int dir, const struct cgroup *g)
{
    int64_t end = time_monotonic_ms() + END_WAIT_MS;
    const struct cgroup *frozen = g && cgroup_freeze(g, true, NULL) == 0 ? g : NULL;
    do {
        size_t n = 0;
        int r = kill_once(dir, frozen, &n);
        if (r < 0 || n == 0)
            return r;
    } while (time_monotonic_ms() < end);
    return -EBUSY;
}

int cgroup_kill(const struct cgroup *g, struct error *err)
{
    int r = -ENOENT, dir = cgroup_any_dir(g);
    if (dir < 0)
        return 0;
    if (g->dirs[CGROUP_UNIFIED] >= 0)
        r = file_write_kernel(g->dirs[CGROUP_UNIFIED], "cgroup.kill", "1");
    if (r == 0 && g->dirs[CGROUP_FREEZER] >= 0) /* they die when they are thawed */
        (void)!file_write_kernel(g->dirs[CGROUP_FREEZER], "freezer.state", "THAWED");
    if (r < 0)
        r = kill_listed(dir, g);
    return r < 0 ? error_errno(err, r, "kill the processes of %s", g->path) : 0;
}

/* A process leaves its groups a moment after it has ended. v2 tells when (cgroup.events), v1 does
 * not, and its process list may be empty meanwhile. */
static int remove_soon(int parent, const char *name)
{
    struct timespec pause = {0, 50000};
    int64_t end = time_monotonic_ms() + END_WAIT_MS;
    do {
        if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
            return 0;
        if (errno != EBUSY)
            return -errno;
        nanosleep(&pause, NULL);
        pause.tv_nsec = MIN(pause.tv_nsec * 2, 5000000);
    } while (time_monotonic_ms() < end);
    return -EBUSY;
}

static int remove_one(int parent, const char *name, int fd, void *context)
{
    (void)context;
    if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (errno != EBUSY)
        return -errno;
    int r = file_write_kernel(fd, "cgroup.kill", "1");
    r = r == 0 ? cgroup_wait_event(fd, "populated 0") : kill_listed(fd, NULL);
    return r == -ETIMEDOUT || r == -EBUSY ? r : remove_soon(parent, name);
}

static int thaw_one(int parent, const char *name, int fd, void *context)
{
    (void)parent, (void)name, (void)context;
    (void)!file_write_kernel(fd, "freezer.state", "THAWED");
    return 0;
}

/* What v1 has frozen can be killed in no hierarchy. */
static void thaw_v1(const char *path)
{
    _cleanup_close_ int root = cgroup_open_root(CGROUP_FREEZER, false);
    if (root >= 0)
        (void)!cgroup_walk(root, path, thaw_one, NULL);
}

static int remove_in(int root, const char *path, bool v2)
{
    /* The usual case needs one call. */
    if (unlinkat(root, path, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (!v2)
        thaw_v1(path);
    return cgroup_walk(root, path, remove_one, NULL);
}

int cgroup_remove(const char *path, struct error *err)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    int r = cgroup_begin(path, &g, err), first = 0;
    for (int h = 0; h < CGROUP_HIERARCHIES && r == 0; h++) {
        _cleanup_close_ int root = cgroup_open_root(h, g.is_v2);
        int removed = root < 0 ? 0 : remove_in(root, g.path, g.is_v2);
        if (removed < 0 && first == 0)
            first = error_errno(err, removed, "remove the control group %s/%s",
                                cgroup_hierarchy_name(h), g.path);
    }
    return r < 0 ? r : first;
}

void cgroup_remove_empty(const char *name)
{
    bool v2 = cgroup_is_v2_host();
    for (int h = 0; h < CGROUP_HIERARCHIES; h++) {
        _cleanup_close_ int root = cgroup_open_root(h, v2);
        if (root >= 0)
            (void)!unlinkat(root, name, AT_REMOVEDIR); /* refused while it has children */
    }
}
