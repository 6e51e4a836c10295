#include "kernel/cgroup-internal.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/text.h"

#define CGROUP_ROOT     "/sys/fs/cgroup"
#define MAX_CONTROLLERS 4096

static const char *const names[CGROUP_HIERARCHIES] = {
    [CGROUP_UNIFIED] = "unified", [CGROUP_MEMORY] = "memory",   [CGROUP_CPU] = "cpu",
    [CGROUP_CPUSET] = "cpuset",   [CGROUP_PIDS] = "pids",       [CGROUP_BLKIO] = "blkio",
    [CGROUP_DEVICES] = "devices", [CGROUP_FREEZER] = "freezer", [CGROUP_CPUACCT] = "cpuacct",
    [CGROUP_HUGETLB] = "hugetlb", [CGROUP_NET_CLS] = "net_cls", [CGROUP_NET_PRIO] = "net_prio",
    [CGROUP_PERF] = "perf_event", [CGROUP_RDMA] = "rdma",       [CGROUP_MISC] = "misc",
    [CGROUP_SYSTEMD] = "systemd",
};

const char *cgroup_hierarchy_name(enum cgroup_hierarchy h)
{
    return names[h];
}

int cgroup_open_dir(int dirfd, const char *path)
{
    int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

bool cgroup_is_v2_host(void)
{
    struct statfs st;
    return statfs(CGROUP_ROOT, &st) == 0 && st.f_type == CGROUP2_SUPER_MAGIC;
}

/* The root of a hierarchy, or -ENOENT when this host has none. A v1 name may be a symlink to
 * "cpu,cpuacct". */
int cgroup_open_root(enum cgroup_hierarchy h, bool v2)
{
    char path[64];
    struct statfs st;
    if (v2 && h != CGROUP_UNIFIED)
        return -ENOENT;
    snprintf(path, sizeof(path), "%s/%s", CGROUP_ROOT, v2 ? "" : names[h]);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    long wanted = h == CGROUP_UNIFIED ? CGROUP2_SUPER_MAGIC : CGROUP_SUPER_MAGIC;
    if (fstatfs(fd, &st) == 0 && st.f_type == wanted)
        return fd;
    close_fd(fd);
    return -ENOENT;
}

void cgroup_done(struct cgroup *g)
{
    for (int h = 0; h < CGROUP_HIERARCHIES; h++)
        g->dirs[h] = close_fd(g->dirs[h]);
    free(g->path);
    g->path = NULL;
}

int cgroup_path_check(const char *path, struct error *err)
{
    _cleanup_strv_ char **parts = strv_split(*path == '/' ? path + 1 : path, '/');
    for (size_t i = 0; parts[i]; i++)
        if (!path_is_name(parts[i]) || strchr(parts[i], '\n'))
            return error_invalid(err, "\"%s\" is no path of a control group", path);
    return parts[0] ? 0 : error_invalid(err, "the path of the control group is empty");
}

int cgroup_begin(const char *path, struct cgroup *g, struct error *err)
{
    int r = cgroup_path_check(path, err);
    if (r < 0)
        return r;
    g->path = xstrdup(*path == '/' ? path + 1 : path);
    g->is_v2 = cgroup_is_v2_host();
    return 0;
}

/* Switches on everything that this directory has for those below it: one write, because the kernel
 * takes all or none. What is refused shows when a limit needs it. */
static void enable_controllers(int fd)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_buf_ struct buf all = BUF_INIT(MAX_CONTROLLERS);
    if (file_read_kernel(fd, "cgroup.controllers", MAX_CONTROLLERS / 2, &text) < 0)
        return;
    text[strcspn(text, "\n")] = '\0';
    _cleanup_strv_ char **names_there = strv_split(text, ' ');
    int r = 0;
    for (size_t i = 0; names_there[i] && r == 0; i++)
        r = buf_addf(&all, "+%s ", names_there[i]);
    if (r == 0 && all.len > 0)
        (void)!file_write_kernel(fd, "cgroup.subtree_control", all.data);
}

/* mkdir -p below a hierarchy's root. On v2 the controllers are switched on on the way down: that is
 * tried only where the last directory was made without them. */
static int make_dirs(int root, const char *path, bool controllers)
{
    _cleanup_strv_ char **parts = strv_split(path, '/');
    _cleanup_close_ int fd = fcntl(root, F_DUPFD_CLOEXEC, 3);
    for (size_t i = 0; fd >= 0 && parts[i]; i++) {
        if (controllers)
            enable_controllers(fd);
        if (mkdirat(fd, parts[i], 0755) < 0 && errno != EEXIST)
            return -errno;
        int next = cgroup_open_dir(fd, parts[i]);
        close_fd(fd);
        fd = next;
    }
    return TAKE_FD(fd);
}

/* The rarer controllers are looked for only when they are needed. */
static bool has_controllers(int fd, const struct cgroup_limits *l)
{
    char hugetlb[64];
    snprintf(hugetlb, sizeof(hugetlb), "hugetlb.%.32s.max",
             l->n_hugepages > 0 ? l->hugepages[0].page_size : "");
    return faccessat(fd, "memory.max", F_OK, 0) == 0 &&
           (l->n_rdma == 0 || faccessat(fd, "rdma.max", F_OK, 0) == 0) &&
           (l->n_hugepages == 0 || faccessat(fd, hugetlb, F_OK, 0) == 0) &&
           (l->n_unified == 0 || faccessat(fd, l->unified[0].file, F_OK, 0) == 0);
}

static int make_dir(int root, const char *path, bool v2, const struct cgroup_limits *l)
{
    if (mkdirat(root, path, 0755) < 0 && errno != EEXIST)
        return errno == ENOENT ? make_dirs(root, path, v2) : -errno;
    _cleanup_close_ int fd = cgroup_open_dir(root, path);
    if (fd >= 0 && v2 && !has_controllers(fd, l))
        return make_dirs(root, path, true);
    return TAKE_FD(fd);
}

/* A new cpuset has no CPUs and no memory nodes: it takes its parent's, from the top down. */
static int inherit_cpuset(int root, const char *path)
{
    _cleanup_strv_ char **parts = strv_split(path, '/');
    _cleanup_close_ int fd = fcntl(root, F_DUPFD_CLOEXEC, 3);
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
    for (size_t i = 0; fd >= 0 && parts[i]; i++) {
        int child = cgroup_open_dir(fd, parts[i]);
        for (size_t f = 0; child >= 0 && f < ARRAY_SIZE(files); f++) {
            _cleanup_free_ char *own = NULL, *above = NULL;
            if (file_read_kernel(child, files[f], 65536, &own) == 0 &&
                own[strspn(own, " \n")] == '\0' &&
                file_read_kernel(fd, files[f], 65536, &above) == 0)
                (void)!file_write_kernel(child, files[f], above);
        }
        close_fd(fd);
        fd = child;
    }
    return fd < 0 ? fd : 0;
}

/* A v1 group is made only for a limit that limits. */
static bool is_limit(int64_t value)
{
    return value != CGROUP_UNSET && value != -1;
}

static bool is_wanted(enum cgroup_hierarchy h, const struct cgroup_limits *l, bool unified)
{
    if (l->all_hierarchies)
        return true;
    switch (h) {
    case CGROUP_UNIFIED:
        return true;
    case CGROUP_MEMORY:
        return is_limit(l->memory_kernel_tcp) || is_limit(l->memory) ||
               is_limit(l->memory_reservation) || is_limit(l->memory_swap) ||
               is_limit(l->memory_swappiness) || l->memory_disable_oom_killer;
    case CGROUP_CPU:
        return is_limit(l->cpu_shares) || is_limit(l->cpu_quota) || is_limit(l->cpu_burst) ||
               is_limit(l->cpu_idle) || is_limit(l->cpu_realtime_runtime) ||
               is_limit(l->cpu_realtime_period);
    case CGROUP_CPUSET:
        return l->cpuset_cpus || l->cpuset_mems;
    case CGROUP_PIDS:
        return is_limit(l->pids) && l->pids != 0;
    case CGROUP_BLKIO:
        return is_limit(l->block_weight) || is_limit(l->block_leaf_weight) || l->n_throttles > 0 ||
               l->n_weights > 0;
    case CGROUP_DEVICES:
        return !unified && l->n_devices > 0 && !device_filter_is_open(l->devices, l->n_devices);
    case CGROUP_FREEZER:
        return !unified;
    case CGROUP_HUGETLB:
        return l->n_hugepages > 0;
    case CGROUP_NET_CLS:
        return l->has_class_id;
    case CGROUP_NET_PRIO:
        return l->n_priorities > 0;
    case CGROUP_RDMA:
        return l->n_rdma > 0;
    default:
        return false;
    }
}

static bool asks_for_any(const struct cgroup_limits *l, bool devices)
{
    for (int h = CGROUP_UNIFIED + 1; h < CGROUP_HIERARCHIES; h++)
        if (h != CGROUP_FREEZER && h != CGROUP_DEVICES && is_wanted(h, l, false))
            return true;
    return l->n_unified > 0 || (devices && is_wanted(CGROUP_DEVICES, l, false));
}

/* Without the hierarchy, or without the right to use it, the container does without: unless that
 * would leave a limit out. */
static bool may_miss(int r, enum cgroup_hierarchy h, const struct cgroup_limits *l, bool is_v2,
                     bool unified)
{
    struct cgroup_limits asked = *l;
    asked.all_hierarchies = false;
    bool absent = r == -ENOENT, denied = r == -EACCES || r == -EPERM || r == -EROFS;
    if (!absent && !(denied && l->optional))
        return false;
    /* Who is not the host's root can make no device, with or without a rule. */
    bool is_root = process_is_host_root();
    if (is_v2) /* the one directory is for all of them */
        return !asks_for_any(&asked, is_root);
    return h == CGROUP_UNIFIED || h == CGROUP_FREEZER || (h == CGROUP_DEVICES && !is_root) ||
           !is_wanted(h, &asked, unified);
}

static int create_in(enum cgroup_hierarchy h, const struct cgroup_limits *l, struct cgroup *g,
                     struct error *err)
{
    _cleanup_close_ int root = cgroup_open_root(h, g->is_v2);
    if (root < 0)
        return root;
    int fd = make_dir(root, g->path, g->is_v2, l);
    if ((fd == -EACCES || fd == -EPERM || fd == -EROFS) && !process_is_host_root())
        return error_set(
            err, ERROR_DENIED, -fd,
            "limits need a control group that this user may change, and there is none: "
            "leave them out, or run it as root");
    if (fd < 0)
        return error_errno(err, fd, "make the control group %s/%s", names[h], g->path);
    g->dirs[h] = fd;
    return h == CGROUP_CPUSET ? inherit_cpuset(root, g->path) : 0;
}

int cgroup_create(const char *path, const struct cgroup_limits *l, struct cgroup *ret,
                  struct error *err)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    int r = cgroup_begin(path, &g, err);
    if (r < 0)
        return r;
    for (int h = 0; h < CGROUP_HIERARCHIES && r == 0; h++) {
        if ((g.is_v2 && h != CGROUP_UNIFIED) || !is_wanted(h, l, g.dirs[CGROUP_UNIFIED] >= 0))
            continue;
        r = create_in(h, l, &g, err);
        if (r < 0 && may_miss(r, h, l, g.is_v2, g.dirs[CGROUP_UNIFIED] >= 0))
            r = 0;
        else if (r == -ENOENT)
            r = error_set(err, ERROR_UNSUPPORTED, ENOENT,
                          "this host has no control group hierarchy for %s", names[h]);
    }
    if (r == 0)
        r = cgroup_apply(&g, l, err);
    if (r < 0) {
        (void)!cgroup_remove(g.path, NULL);
        return r;
    }
    *ret = g;
    g = (struct cgroup)CGROUP_INIT;
    return 0;
}

/* One that is born meanwhile is born where its parent is: again, until nobody is new. */
static int move_all(const struct cgroup *g, struct error *err)
{
    for (size_t before = 0;;) {
        _cleanup_free_ pid_t *pids = NULL;
        size_t n = 0;
        int r = cgroup_processes(g, &pids, &n, err);
        for (size_t i = 0; r == 0 && i < n; i++)
            r = cgroup_add(g, pids[i], false, err);
        if (r == -ESRCH)
            r = 0;
        if (r < 0 || n <= before)
            return r;
        before = n;
    }
}

int cgroup_extend(struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    bool more = false;
    int r = 0;
    for (int h = CGROUP_UNIFIED + 1; !g->is_v2 && r == 0 && h < CGROUP_HIERARCHIES; h++) {
        if (g->dirs[h] >= 0 || h == CGROUP_DEVICES || h == CGROUP_FREEZER || !is_wanted(h, l, true))
            continue;
        r = create_in(h, l, g, err);
        if (r == -ENOENT)
            r = error_set(err, ERROR_UNSUPPORTED, ENOENT,
                          "this host has no control group hierarchy for %s", names[h]);
        more = true;
    }
    return r == 0 && more ? move_all(g, err) : r;
}

int cgroup_open(const char *path, struct cgroup *ret, struct error *err)
{
    struct cgroup g = CGROUP_INIT;
    int r = cgroup_begin(path, &g, err);
    if (r < 0)
        return r;
    for (int h = 0; h < CGROUP_HIERARCHIES; h++) {
        _cleanup_close_ int root = cgroup_open_root(h, g.is_v2);
        g.dirs[h] = root < 0 ? -EBADF : path_open_beneath(root, g.path, O_RDONLY | O_DIRECTORY, 0);
        if (g.dirs[h] < 0)
            g.dirs[h] = -EBADF;
    }
    *ret = g;
    return 0;
}

/* One line of /proc/PID/cgroup: "ID:controllers:/path". */
static int open_line(char *line, struct cgroup *g)
{
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path)
        return 0;
    *controllers++ = '\0';
    *path++ = '\0';
    for (int h = 0; h < CGROUP_HIERARCHIES; h++) {
        _cleanup_strv_ char **list = strv_split(controllers, ',');
        bool matches = h == CGROUP_UNIFIED ? strcmp(line, "0") == 0 : strv_has(list, names[h]);
        if (!matches || strcmp(path, "/") == 0)
            continue;
        _cleanup_close_ int root = cgroup_open_root(h, g->is_v2);
        if (root < 0)
            continue;
        int fd = path_open_beneath(root, path + 1, O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0)
            return fd;
        g->dirs[h] = fd;
        if (!g->path || h == CGROUP_UNIFIED)
            xreplace(&g->path, path + 1);
    }
    return 0;
}

int cgroup_of_process(pid_t pid, struct cgroup *ret, struct error *err)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    _cleanup_free_ char *text = NULL;
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
    int r = file_read_kernel(AT_FDCWD, path, 65536, &text);
    if (r < 0)
        return error_errno(err, r == -ENOENT ? -ESRCH : r, "read %s", path);
    g.is_v2 = cgroup_is_v2_host();
    _cleanup_strv_ char **lines = strv_split(text, '\n');
    for (size_t i = 0; lines[i]; i++)
        if ((r = open_line(lines[i], &g)) < 0)
            return error_errno(err, r, "open the control group of process %d", (int)pid);
    *ret = g;
    g = (struct cgroup)CGROUP_INIT;
    return 0;
}
