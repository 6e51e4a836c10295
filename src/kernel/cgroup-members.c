/*
 * The processes of a control group: joining it, and who is in it.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/cgroup-internal.h"

#define MAX_LIST  ((size_t)1 << 20)
#define MAX_DEPTH 32

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
            return error_errno(err, r, "join the control group %s/%s", cgroup_hierarchy_name(h),
                               g->path);
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
            return error_errno(err, r, "join the control group %s/%s", cgroup_hierarchy_name(h),
                               g->path);
    }
    return 0;
}

static int walk(int parent, const char *name, int depth, cgroup_visitor *visit, void *context)
{
    int fd = cgroup_open_dir(parent, name);
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

int cgroup_walk(int parent, const char *name, cgroup_visitor *visit, void *context)
{
    return walk(parent, name, 0, visit, context);
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

int cgroup_list(int dir, pid_t **ret, size_t *ret_n)
{
    struct pid_list list = {NULL, 0};
    int r = dir < 0 ? 0 : walk(dir, ".", 0, collect, &list);
    if (r < 0) {
        free(list.pids);
        return r;
    }
    *ret = list.pids;
    *ret_n = list.n;
    return 0;
}

int cgroup_any_dir(const struct cgroup *g)
{
    for (int h = 0; h < CGROUP_HIERARCHIES; h++)
        if (g->dirs[h] >= 0)
            return g->dirs[h];
    return -EBADF;
}

int cgroup_processes(const struct cgroup *g, pid_t **ret, size_t *ret_n, struct error *err)
{
    int r = cgroup_list(cgroup_any_dir(g), ret, ret_n);
    return r < 0 ? error_errno(err, r, "list the processes of %s", g->path) : 0;
}
