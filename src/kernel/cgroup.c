#include "kernel/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/ns.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define MAX_LIST    ((size_t)1 << 20)
#define MAX_DEPTH   32
#define END_WAIT_MS 10000
#define CONTROLLERS "+cpu +memory +pids +io +cpuset"

static const char *const names[CGROUP_HIERARCHIES] = {
    [CGROUP_UNIFIED] = "unified", [CGROUP_MEMORY] = "memory",   [CGROUP_CPU] = "cpu",
    [CGROUP_CPUSET] = "cpuset",   [CGROUP_PIDS] = "pids",       [CGROUP_BLKIO] = "blkio",
    [CGROUP_DEVICES] = "devices", [CGROUP_FREEZER] = "freezer",
};

const char *cgroup_hierarchy_name(enum cgroup_hierarchy h)
{
    return names[h];
}

static int open_dir(int dirfd, const char *path)
{
    int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

static bool is_v2_host(void)
{
    struct statfs st;
    return statfs(CGROUP_ROOT, &st) == 0 && st.f_type == CGROUP2_SUPER_MAGIC;
}

/* The root of a hierarchy, or -ENOENT when this host has none. A v1 name may be a symlink to
 * "cpu,cpuacct". */
static int open_root(enum cgroup_hierarchy h, bool v2)
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

static int start(const char *path, struct cgroup *g, struct error *err)
{
    int r = cgroup_path_check(path, err);
    if (r < 0)
        return r;
    g->path = xstrdup(*path == '/' ? path + 1 : path);
    g->is_v2 = is_v2_host();
    return 0;
}

/* mkdir -p below a hierarchy's root. On v2 the controllers are switched on on the way down: that is
 * tried only where the last directory was made without them. */
static int make_dirs(int root, const char *path, bool controllers)
{
    _cleanup_strv_ char **parts = strv_split(path, '/');
    _cleanup_close_ int fd = fcntl(root, F_DUPFD_CLOEXEC, 3);
    for (size_t i = 0; fd >= 0 && parts[i]; i++) {
        if (controllers)
            (void)!file_write_kernel(fd, "cgroup.subtree_control", CONTROLLERS);
        if (mkdirat(fd, parts[i], 0755) < 0 && errno != EEXIST)
            return -errno;
        int next = open_dir(fd, parts[i]);
        close_fd(fd);
        fd = next;
    }
    return TAKE_FD(fd);
}

static int make_dir(int root, const char *path, bool v2)
{
    if (mkdirat(root, path, 0755) < 0 && errno != EEXIST)
        return errno == ENOENT ? make_dirs(root, path, v2) : -errno;
    _cleanup_close_ int fd = open_dir(root, path);
    if (fd >= 0 && v2 && faccessat(fd, "memory.max", F_OK, 0) < 0)
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
        int child = open_dir(fd, parts[i]);
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
    switch (h) {
    case CGROUP_UNIFIED:
        return true;
    case CGROUP_MEMORY:
        return is_limit(l->memory) || is_limit(l->memory_reservation) || is_limit(l->memory_swap) ||
               is_limit(l->memory_swappiness) || l->memory_disable_oom_killer;
    case CGROUP_CPU:
        return is_limit(l->cpu_shares) || is_limit(l->cpu_quota) || is_limit(l->cpu_burst);
    case CGROUP_CPUSET:
        return l->cpuset_cpus || l->cpuset_mems;
    case CGROUP_PIDS:
        return is_limit(l->pids) && l->pids != 0;
    case CGROUP_BLKIO:
        return is_limit(l->block_weight) || l->n_throttles > 0;
    case CGROUP_DEVICES:
        return !unified && !device_filter_is_open(l->devices, l->n_devices);
    case CGROUP_FREEZER:
        return !unified;
    default:
        return false;
    }
}

static int create_in(enum cgroup_hierarchy h, struct cgroup *g, struct error *err)
{
    _cleanup_close_ int root = open_root(h, g->is_v2);
    if (root < 0)
        return root;
    int fd = make_dir(root, g->path, g->is_v2);
    if (fd < 0)
        return error_errno(err, fd, "make the control group %s/%s", names[h], g->path);
    g->dirs[h] = fd;
    return h == CGROUP_CPUSET ? inherit_cpuset(root, g->path) : 0;
}

int cgroup_create(const char *path, const struct cgroup_limits *l, struct cgroup *ret,
                  struct error *err)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    int r = start(path, &g, err);
    if (r < 0)
        return r;
    for (int h = 0; h < CGROUP_HIERARCHIES && r == 0; h++) {
        if ((g.is_v2 && h != CGROUP_UNIFIED) || !is_wanted(h, l, g.dirs[CGROUP_UNIFIED] >= 0))
            continue;
        r = create_in(h, &g, err);
        if (r == -ENOENT && h == CGROUP_UNIFIED)
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

int cgroup_open(const char *path, struct cgroup *ret, struct error *err)
{
    struct cgroup g = CGROUP_INIT;
    int r = start(path, &g, err);
    if (r < 0)
        return r;
    for (int h = 0; h < CGROUP_HIERARCHIES; h++) {
        _cleanup_close_ int root = open_root(h, g.is_v2);
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
        _cleanup_close_ int root = open_root(h, g->is_v2);
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
    g.is_v2 = is_v2_host();
    _cleanup_strv_ char **lines = strv_split(text, '\n');
    for (size_t i = 0; lines[i]; i++)
        if ((r = open_line(lines[i], &g)) < 0)
            return error_errno(err, r, "open the control group of process %d", (int)pid);
    *ret = g;
    g = (struct cgroup)CGROUP_INIT;
    return 0;
}

bool cgroup_needs_add(const struct cgroup *g)
{
    for (int h = CGROUP_UNIFIED + 1; h < CGROUP_HIERARCHIES; h++)
        if (g->dirs[h] >= 0)
            return true;
    return false;
}

/* A thread that moves itself takes no lock that waits for all other processors, as a write of any
 * process id to cgroup.procs does: 20 microseconds instead of 6 milliseconds. */
int cgroup_join(const struct cgroup *g, struct error *err)
{
    for (int h = CGROUP_UNIFIED + 1; h < CGROUP_HIERARCHIES; h++) {
        int r = g->dirs[h] < 0 ? 0 : file_write_kernel(g->dirs[h], "tasks", "0");
        if (r < 0)
            return error_errno(err, r, "join the control group %s/%s", names[h], g->path);
    }
    return 0;
}

int cgroup_add(const struct cgroup *g, pid_t pid, bool all, struct error *err)
{
    char text[16];
    snprintf(text, sizeof(text), "%d", (int)pid);
    for (int h = all ? 0 : CGROUP_UNIFIED + 1; h < CGROUP_HIERARCHIES; h++) {
        int r = g->dirs[h] < 0 ? 0 : file_write_kernel(g->dirs[h], "cgroup.procs", text);
        if (r < 0)
            return error_errno(err, r, "join the control group %s/%s", names[h], g->path);
    }
    return 0;
}

static int wait_frozen(int dir, bool frozen)
{
    _cleanup_close_ int fd = openat(dir, "cgroup.events", O_RDONLY | O_CLOEXEC);
    const char *wanted = frozen ? "frozen 1" : "frozen 0";
    int64_t end = time_monotonic_ms() + END_WAIT_MS;
    if (fd < 0)
        return -errno;
    for (;;) {
        char text[256];
        ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
        if (n < 0)
            return -errno;
        text[n] = '\0';
        if (strstr(text, wanted))
            return 0;
        int64_t left = end - time_monotonic_ms();
        struct pollfd p = {fd, POLLPRI, 0};
        if (left <= 0 || (poll(&p, 1, (int)left) < 0 && errno != EINTR))
            return -ETIMEDOUT;
    }
}

int cgroup_freeze(const struct cgroup *g, bool frozen, struct error *err)
{
    int r;
    if (g->dirs[CGROUP_UNIFIED] >= 0) {
        r = file_write_kernel(g->dirs[CGROUP_UNIFIED], "cgroup.freeze", frozen ? "1" : "0");
        if (r == 0)
            r = wait_frozen(g->dirs[CGROUP_UNIFIED], frozen);
    } else if (g->dirs[CGROUP_FREEZER] >= 0) {
        r = file_write_kernel(g->dirs[CGROUP_FREEZER], "freezer.state",
                              frozen ? "FROZEN" : "THAWED");
    } else {
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "it has no control group that can be frozen");
    }
    return r < 0 ? error_errno(err, r, frozen ? "freeze" : "thaw") : 0;
}

bool cgroup_is_frozen(const struct cgroup *g)
{
    _cleanup_free_ char *text = NULL;
    if (g->dirs[CGROUP_UNIFIED] >= 0)
        return file_read_kernel(g->dirs[CGROUP_UNIFIED], "cgroup.freeze", 64, &text) == 0 &&
               text[0] == '1';
    return g->dirs[CGROUP_FREEZER] >= 0 &&
           file_read_kernel(g->dirs[CGROUP_FREEZER], "freezer.state", 64, &text) == 0 &&
           strncmp(text, "THAWED", 6) != 0;
}

/* Calls visit for a directory of a hierarchy and all below, the lowest first. */
typedef int visitor(int parent, const char *name, int fd, void *context);

static int walk(int parent, const char *name, int depth, visitor *visit, void *context)
{
    int fd = open_dir(parent, name);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    DIR *dir = copy < 0 || depth > MAX_DEPTH ? NULL : fdopendir(copy);
    int r = 0;
    for (struct dirent *e; dir && r == 0 && (e = readdir(dir));)
        if (e->d_type == DT_DIR && e->d_name[0] != '.')
            r = walk(fd, e->d_name, depth + 1, visit, context);
    if (dir)
        closedir(dir);
    else
        close_fd(copy);
    if (r == 0)
        r = visit(parent, name, fd, context);
    close_fd(fd);
    return r;
}

struct pid_list {
    pid_t *pids;
    size_t n;
};

static int collect(int parent, const char *name, int fd, void *context)
{
    struct pid_list *list = context;
    _cleanup_free_ char *text = NULL;
    (void)parent;
    (void)name;
    int r = file_read_kernel(fd, "cgroup.procs", MAX_LIST, &text);
    if (r < 0)
        return r == -ENODEV || r == -ENOENT || r == -EOPNOTSUPP ? 0 : r;
    _cleanup_strv_ char **lines = strv_split(text, '\n');
    list->pids = xreallocarray(list->pids, list->n + strv_len(lines) + 1, sizeof(pid_t));
    for (size_t i = 0; lines[i]; i++) {
        uint32_t pid;
        if (parse_u32(lines[i], &pid) == 0 && pid > 0)
            list->pids[list->n++] = (pid_t)pid;
    }
    return 0;
}

/* The unified directory, or any other: they hold the same processes. */
static int any_dir(const struct cgroup *g)
{
    for (int h = 0; h < CGROUP_HIERARCHIES; h++)
        if (g->dirs[h] >= 0)
            return g->dirs[h];
    return -EBADF;
}

int cgroup_processes(const struct cgroup *g, pid_t **ret, size_t *ret_n, struct error *err)
{
    struct pid_list list = {NULL, 0};
    int dir = any_dir(g);
    int r = dir < 0 ? 0 : walk(dir, ".", 0, collect, &list);
    if (r < 0) {
        free(list.pids);
        return error_errno(err, r, "list the processes of %s", g->path);
    }
    *ret = list.pids;
    *ret_n = list.n;
    return 0;
}

/* Kills and waits: for groups without cgroup.kill. A process that is forking while it is read can
 * be missed, so it goes on until the list is empty. */
static int kill_listed(int dir)
{
    int64_t end = time_monotonic_ms() + END_WAIT_MS;
    while (time_monotonic_ms() < end) {
        struct pid_list list = {NULL, 0};
        int r = walk(dir, ".", 0, collect, &list);
        for (size_t i = 0; i < list.n; i++) {
            _cleanup_close_ int pidfd = ns_pidfd(list.pids[i]);
            if (pidfd >= 0 && ns_pidfd_signal(pidfd, SIGKILL) == 0)
                (void)!ns_pidfd_wait(pidfd, END_WAIT_MS);
        }
        free(list.pids);
        if (r < 0 || list.n == 0)
            return r;
    }
    return -EBUSY;
}

int cgroup_kill(const struct cgroup *g, struct error *err)
{
    int r = -ENOENT, dir = any_dir(g);
    if (dir < 0)
        return 0;
    if (g->dirs[CGROUP_UNIFIED] >= 0)
        r = file_write_kernel(g->dirs[CGROUP_UNIFIED], "cgroup.kill", "1");
    if (r < 0)
        r = kill_listed(dir);
    return r < 0 ? error_errno(err, r, "kill the processes of %s", g->path) : 0;
}

static int wait_empty(int dir)
{
    _cleanup_close_ int fd = openat(dir, "cgroup.events", O_RDONLY | O_CLOEXEC);
    int64_t end = time_monotonic_ms() + END_WAIT_MS;
    while (fd >= 0) {
        char text[256];
        ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
        if (n < 0)
            return 0; /* the group has gone */
        text[n] = '\0';
        if (strstr(text, "populated 0"))
            return 0;
        int64_t left = end - time_monotonic_ms();
        struct pollfd p = {fd, POLLPRI, 0};
        if (left <= 0 || (poll(&p, 1, (int)left) < 0 && errno != EINTR))
            return -ETIMEDOUT;
    }
    return 0;
}

/* A process leaves its groups a moment after it has ended. v2 tells when (wait_empty), v1 does not,
 * and its process list may be empty meanwhile. */
static int remove_soon(int parent, const char *name)
{
    const struct timespec pause = {0, 1000000};
    for (int tries = 0; tries < 1000; tries++) {
        if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
            return 0;
        if (errno != EBUSY)
            return -errno;
        nanosleep(&pause, NULL);
    }
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
    r = r == 0 ? wait_empty(fd) : kill_listed(fd);
    return r == 0 ? remove_soon(parent, name) : r;
}

static int remove_in(int root, const char *path)
{
    /* The usual case needs one call. */
    if (unlinkat(root, path, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    return walk(root, path, 0, remove_one, NULL);
}

int cgroup_remove(const char *path, struct error *err)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    int r = start(path, &g, err), first = 0;
    for (int h = 0; h < CGROUP_HIERARCHIES && r == 0; h++) {
        _cleanup_close_ int root = open_root(h, g.is_v2);
        int removed = root < 0 ? 0 : remove_in(root, g.path);
        if (removed < 0 && first == 0)
            first = error_errno(err, removed, "remove the control group %s/%s", names[h], g.path);
    }
    return r < 0 ? r : first;
}

void cgroup_remove_empty(const char *name)
{
    bool v2 = is_v2_host();
    for (int h = 0; h < CGROUP_HIERARCHIES; h++) {
        _cleanup_close_ int root = open_root(h, v2);
        if (root >= 0)
            (void)!unlinkat(root, name, AT_REMOVEDIR); /* refused while it has children */
    }
}
