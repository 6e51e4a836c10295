/*
 * What can be done to a running container, from outside: everything goes through its control group
 * or through a descriptor of its first process, never through a bare number.
 */
#include "runtime/container/ops.h"
#include "runtime/group-stats.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/ns.h"
#include "runtime/container/internal.h"

#define CLEAN_WAIT_MS 10000

char *container_target_cgroup_path(const struct runtime_target *t)
{
    if (t->cgroup_path)
        return xstrdup(t->cgroup_path);
    _cleanup_free_ char *file = path_join(t->bundle, "config.json");
    _cleanup_oci_config_ struct oci_config *config = NULL;
    if (oci_config_load(file, &config, NULL) < 0)
        config = NULL;
    return container_cgroup_path(config, t->id);
}

int container_target_cgroup(const struct runtime_target *t, struct cgroup *ret, struct error *err)
{
    _cleanup_free_ char *path = container_target_cgroup_path(t);
    struct cgroup g = CGROUP_INIT;
    int r = cgroup_open(path, &g, err);
    if (r < 0)
        return r;
    for (int h = 0; h < CGROUP_HIERARCHIES; h++)
        if (g.dirs[h] >= 0) {
            *ret = g;
            return 0;
        }
    cgroup_done(&g);
    _cleanup_close_ int pidfd = t->start_ticks ? container_target_pidfd(t, NULL) : -EBADF;
    if (pidfd >= 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "the container has no control group of its own");
    return error_set(err, ERROR_CONFLICT, ESRCH, "container not running");
}

/* By the instance's control group. */
static bool is_in_its_group(const struct runtime_target *t)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    _cleanup_free_ char *wanted = container_target_cgroup_path(t);
    const char *path = *wanted == '/' ? wanted + 1 : wanted;
    size_t len = strlen(path);
    return cgroup_of_process(t->pid, &g, NULL) == 0 && g.path && strncmp(g.path, path, len) == 0 &&
           (g.path[len] == '\0' || g.path[len] == '/');
}

int container_target_pidfd(const struct runtime_target *t, struct error *err)
{
    uint64_t ticks;
    _cleanup_close_ int pidfd = t->pid > 0 ? ns_pidfd(t->pid) : -ESRCH;
    /* A number that is another's thread by now is EINVAL or ENOENT. */
    if (pidfd < 0 && pidfd != -ESRCH && pidfd != -EINVAL && pidfd != -ENOENT)
        return error_errno(err, pidfd, "look at process %d", (int)t->pid);
    bool is_it = pidfd >= 0 && (t->start_ticks ? process_start_ticks(t->pid, &ticks) == 0 &&
                                                     ticks == t->start_ticks
                                               : is_in_its_group(t));
    if (!is_it || ns_pidfd_wait(pidfd, 0) != -ETIMEDOUT)
        return error_set(err, ERROR_CONFLICT, ESRCH, "container not running");
    return TAKE_FD(pidfd);
}

static int ops_signal(const struct runtime_target *t, int signum, struct error *err)
{
    _cleanup_close_ int pidfd = container_target_pidfd(t, err);
    int r = pidfd < 0 ? pidfd : ns_pidfd_signal(pidfd, signum);
    if (pidfd >= 0 && r < 0)
        return error_errno(err, r, "send signal %d", signum);
    return r;
}

bool container_target_frozen(const struct runtime_target *t)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    return container_target_cgroup(t, &g, NULL) == 0 && cgroup_is_frozen(&g);
}

int container_target_signal_all(const struct runtime_target *t, int signum, struct error *err)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    _cleanup_free_ pid_t *pids = NULL;
    size_t n;
    int r = container_target_cgroup(t, &g, err);
    if (r < 0 || (r = cgroup_processes(&g, &pids, &n, err)) < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        _cleanup_close_ int pidfd = ns_pidfd(pids[i]);
        r = pidfd < 0 ? pidfd : ns_pidfd_signal(pidfd, signum);
        if (r < 0 && r != -ESRCH)
            return error_errno(err, r, "send signal %d to process %d", signum, (int)pids[i]);
    }
    return 0;
}

/* The processes of the first one's pid namespace: with that one all of them end. */
static int list_namespace(pid_t first, pid_t **ret, size_t *ret_n, struct error *err)
{
    char path[64];
    struct stat wanted, st;
    struct dirent *e;
    uint64_t pid;
    size_t n = 0;
    _cleanup_free_ pid_t *pids = NULL;
    snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)first);
    DIR *dir = stat(path, &wanted) < 0 ? NULL : opendir("/proc");
    if (!dir)
        return error_errno(err, errno, "look at process %d", (int)first);
    while ((e = readdir(dir))) {
        if (parse_u64(e->d_name, INT32_MAX, &pid) < 0)
            continue;
        snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)pid);
        if (stat(path, &st) < 0 || st.st_ino != wanted.st_ino || st.st_dev != wanted.st_dev)
            continue;
        pids = xreallocarray(pids, n + 1, sizeof(*pids));
        pids[n++] = (pid_t)pid;
    }
    closedir(dir);
    *ret = TAKE_PTR(pids);
    *ret_n = n;
    return 0;
}

int container_target_processes(const struct runtime_target *t, pid_t **ret, size_t *ret_n,
                               struct error *err)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    int r = container_target_cgroup(t, &g, err);
    if (r != -EOPNOTSUPP)
        return r < 0 ? r : cgroup_processes(&g, ret, ret_n, err);
    error_clear(err);
    return list_namespace(t->pid, ret, ret_n, err);
}

static int ops_kill_all(const struct runtime_target *t, struct error *err)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    int r = container_target_cgroup(t, &g, err);
    if (r != -EOPNOTSUPP)
        return r < 0 ? r : cgroup_kill(&g, err);
    error_clear(err);
    return ops_signal(t, SIGKILL, err);
}

static int ops_freeze(const struct runtime_target *t, bool frozen, struct error *err)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    int r = container_target_cgroup(t, &g, err);
    return r < 0 ? r : cgroup_freeze(&g, frozen, err);
}

/* The network numbers of the first process's namespace, loopback excluded. */
static void network_stats(pid_t pid, struct runtime_stats *s)
{
    _cleanup_free_ char *path = xasprintf("/proc/%d/net/dev", (int)pid), *text = NULL;
    if (pid <= 0 || file_read_kernel(AT_FDCWD, path, (size_t)1 << 20, &text) < 0)
        return;
    _cleanup_strv_ char **lines = strv_split(text, '\n');
    for (size_t i = 0; lines[i]; i++) {
        unsigned long long rx, tx;
        char *colon = strchr(lines[i], ':');
        const char *name = lines[i] + strspn(lines[i], " ");
        if (!colon || strncmp(name, "lo:", 3) == 0 ||
            sscanf(colon + 1, "%llu %*u %*u %*u %*u %*u %*u %*u %llu", &rx, &tx) != 2)
            continue;
        s->net_rx_bytes += rx;
        s->net_tx_bytes += tx;
    }
}

static int ops_stats(const struct runtime_target *t, struct runtime_stats *ret, struct error *err)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    struct cgroup_stats s;
    int r = container_target_cgroup(t, &g, err);
    if (r < 0 || (r = cgroup_stats(&g, &s, err)) < 0)
        return r;
    struct runtime_stats stats = runtime_stats_of_group(&s);
    network_stats(t->pid, &stats);
    *ret = stats;
    return 0;
}

static int ops_clean(const struct runtime_target *t, struct error *err)
{
    /* Where there is no group, its process is what may be left. */
    _cleanup_close_ int pidfd = t->start_ticks ? container_target_pidfd(t, NULL) : -EBADF;
    if (pidfd >= 0 && ns_pidfd_signal(pidfd, SIGKILL) == 0)
        (void)!ns_pidfd_wait(pidfd, CLEAN_WAIT_MS);
    _cleanup_free_ char *path = container_target_cgroup_path(t);
    return cgroup_remove(path, err);
}

static int ops_update(const struct runtime_target *t, const char *resources, struct error *err)
{
    _cleanup_free_ char *path = container_target_cgroup_path(t);
    struct runtime_target at = *t;
    struct oci_resources res;
    oci_resources_init(&res);
    at.cgroup_path = path;
    int r = oci_resources_parse(resources, strlen(resources), &res, err);
    if (r == 0)
        r = container_target_extend(&at, &res, err);
    if (r == 0)
        r = container_target_update(&at, &res, err);
    oci_resources_done(&res);
    return r;
}

const struct runtime_ops container_ops = {
    .name = "container",
    .exec = container_ops_exec,
    .signal = ops_signal,
    .kill_all = ops_kill_all,
    .freeze = ops_freeze,
    .stats = ops_stats,
    .processes = container_ops_processes,
    .copy_out = container_ops_copy_out,
    .copy_in = container_ops_copy_in,
    .send_tree = container_ops_send_tree,
    .update = ops_update,
    .clean = ops_clean,
};
