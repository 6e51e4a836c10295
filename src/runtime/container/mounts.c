/*
 * The mounts of the configuration, in its order. Control group mounts come last (container_
 * cgroup_mounts), because they show the process's own group, which the starter may still be
 * joining.
 *
 * A kind is chosen by type: a bind is cloned from the host, everything else is a new instance of a
 * file system. Both are detached mounts put on a descriptor inside the root.
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "kernel/mount.h"
#include "kernel/ns.h"
#include "kernel/tree.h"
#include "runtime/container/internal.h"

#define CGROUP_ROOT "/sys/fs/cgroup"

static bool is_type(const struct oci_mount *m, const char *type)
{
    return m->type && strcmp(m->type, type) == 0;
}

static bool is_cgroup(const struct oci_mount *m)
{
    return is_type(m, "cgroup") || is_type(m, "cgroup2");
}

static bool is_magic(int fd, long magic)
{
    struct statfs st;
    return fstatfs(fd, &st) == 0 && st.f_type == magic;
}

/* What may be mounted over inside a procfs: files that tell a container about its limits. Anything
 * else there could hide what this program or the kernel relies on. */
static bool may_cover_proc(const char *path)
{
    static const char *const allowed[] = {
        "/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo",  "/proc/stat",    "/proc/swaps",
        "/proc/uptime",  "/proc/loadavg",   "/proc/slabinfo", "/proc/net/dev",
    };
    for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
        if (strcmp(allowed[i], path) == 0)
            return true;
    return false;
}

static int check_target(const char *destination, int source, int target, struct error *err)
{
    _cleanup_free_ char *path = path_normalize(destination);
    if (strcmp(path, "/") == 0)
        return error_set(err, ERROR_DENIED, EPERM, "a mount cannot replace the root");
    bool is_proc = strcmp(path, "/proc") == 0 && !is_magic(source, PROC_SUPER_MAGIC);
    if (is_proc ||
        (is_magic(target, PROC_SUPER_MAGIC) && strcmp(path, "/proc") != 0 && !may_cover_proc(path)))
        return error_set(err, ERROR_DENIED, EPERM, "mount on %s: /proc cannot be covered", path);
    return 0;
}

char *container_bind_path(const struct container *c, const struct oci_mount *m)
{
    return m->source[0] == '/' ? xstrdup(m->source) : path_join(c->start->bundle, m->source);
}

int container_bind_source(const struct container *c, const struct oci_mount *m, bool recursive,
                          int *ret_fd, struct error *err)
{
    if (!m->source || !*m->source)
        return error_invalid(err, "mount on %s: a bind needs a source", m->destination);
    _cleanup_free_ char *path = container_bind_path(c, m);
    int fd = mount_clone(AT_FDCWD, path, recursive);
    if (fd < 0)
        return error_errno(err, fd, "mount %s", path);
    *ret_fd = fd;
    return 0;
}

static int mount_bind(struct container *c, const struct oci_mount *m, struct mount_options *o,
                      struct error *err)
{
    struct stat st;
    _cleanup_close_ int target = -EBADF, fd = -EBADF;
    int r = 0;
    if (c->sources)
        fd = TAKE_FD(c->sources[m - c->config->mounts]);
    if (fd < 0 && (r = container_bind_source(c, m, o->recursive, &fd, err)) < 0)
        return r;
    if (fstat(fd, &st) < 0)
        return error_errno(err, errno, "mount %s", m->source);
    r = container_target(c->root, m->destination, S_ISDIR(st.st_mode), &target, err);
    if (r < 0 || (r = check_target(m->destination, fd, target, err)) < 0)
        return r;
    if (!o->propagation)
        o->propagation = MS_PRIVATE | MS_REC;
    if ((r = mount_apply(fd, o)) < 0 || (r = mount_attach(fd, target)) < 0)
        return error_errno(err, r, "mount %s on %s", m->source, m->destination);
    return 0;
}

/* What is remembered of a mount for later steps, by type and place. */
static void remember(struct container *c, const struct oci_mount *m, int *fd)
{
    _cleanup_free_ char *path = path_normalize(m->destination);
    int *slot = NULL;
    if (is_type(m, "proc") && strcmp(path, "/proc") == 0)
        slot = &c->proc;
    else if (is_type(m, "tmpfs") && strcmp(path, "/dev") == 0)
        slot = &c->dev;
    else if (is_type(m, "devpts") && strcmp(path, "/dev/pts") == 0)
        slot = &c->pts;
    if (!slot)
        return;
    close_fd(*slot);
    *slot = TAKE_FD(*fd);
}

/* /proc, /sys and /dev are what the rest of the set-up trusts. */
static bool is_strict(const struct oci_mount *m)
{
    _cleanup_free_ char *path = path_normalize(m->destination);
    return is_type(m, "proc") || is_type(m, "sysfs") || is_type(m, "devpts") ||
           is_type(m, "mqueue") || is_cgroup(m) || strcmp(path, "/dev") == 0 ||
           strncmp(path, "/dev/", 5) == 0;
}

static int open_target(struct container *c, const struct oci_mount *m, int *ret, struct error *err)
{
    return is_strict(m) ? container_target_strict(c->root, m->destination, ret, err)
                        : container_target(c->root, m->destination, true, ret, err);
}

/* A new procfs or sysfs is refused in a user namespace that does not own the pid or network
 * namespace: then the host's view is what there is. */
static int make_file_system(const struct oci_mount *m, const struct mount_options *o, int *ret,
                            struct error *err)
{
    int r = mount_new(m->type, m->source, o, ret, err);
    if (r != -EPERM || !is_type(m, "sysfs"))
        return r;
    int fd = mount_clone(AT_FDCWD, "/sys", true);
    if (fd < 0)
        return r;
    if (mount_set(fd, MOUNT_ATTR_RDONLY, 0, true) < 0) {
        close_fd(fd);
        return r;
    }
    error_clear(err);
    *ret = fd;
    return 0;
}

/* tmpcopyup: what the image has there, written by a child that does nothing else. */
static int copy_up(int target, int fd, const struct oci_mount *m, struct error *err)
{
    int ends[2], status;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    pid_t pid = fork();
    if (pid == 0) {
        close_fd(ends[0]);
        _exit(tree_send(target, "/", false, ends[1], NULL) < 0);
    }
    close_fd(ends[1]);
    int r =
        pid < 0 ? error_errno(err, errno, "start the copy") : tree_receive(fd, "/", ends[0], err);
    close_fd(ends[0]);
    int waited = pid < 0 ? 0 : process_wait(pid, &status);
    if (r == 0 && (waited < 0 || status != 0))
        r = error_set(err, ERROR_SYSTEM, EIO, "mount on %s: what is there could not be copied",
                      m->destination);
    return r;
}

static int mount_file_system(struct container *c, const struct oci_mount *m,
                             const struct mount_options *o, struct error *err)
{
    _cleanup_close_ int target = -EBADF, fd = -EBADF;
    int r;
    if ((r = open_target(c, m, &target, err)) < 0)
        return r;
    if ((r = make_file_system(m, o, &fd, err)) < 0)
        return error_prefix(err, "mount on %s", m->destination);
    if ((r = check_target(m->destination, fd, target, err)) < 0)
        return r;
    if (o->copy_up && is_type(m, "tmpfs") && (r = copy_up(target, fd, m, err)) < 0)
        return r;
    if ((r = mount_attach(fd, target)) < 0)
        return error_errno(err, r, "mount %s on %s", m->type, m->destination);
    remember(c, m, &fd);
    return 0;
}

static int mount_one(struct container *c, const struct oci_mount *m, struct error *err)
{
    _cleanup_(mount_options_done) struct mount_options o;
    mount_options_parse(m->options, &o);
    if (o.bind || is_type(m, "bind"))
        return mount_bind(c, m, &o, err);
    if (!m->type || !*m->type)
        return error_invalid(err, "mount on %s: no type", m->destination);
    const char *label = c->config->linux_.mount_label;
    if (label && *label && (is_type(m, "tmpfs") || is_type(m, "devpts")))
        strv_addf(&o.data, "context=%s", label);
    return mount_file_system(c, m, &o, err);
}

int container_mounts(struct container *c, struct error *err)
{
    int r = 0;
    for (size_t i = 0; i < c->config->n_mounts && r == 0; i++)
        if (!is_cgroup(&c->config->mounts[i]))
            r = mount_one(c, &c->config->mounts[i], err);
    return r;
}

/* The process's own group of one hierarchy, as the root of what is seen: bound from the host's, so
 * that nothing above it is there with or without a control group namespace. */
static int mount_group(const struct container *c, const char *hierarchy, int target,
                       const struct mount_options *o, struct error *err)
{
    const char *path = c->cgroup.path ? c->cgroup.path : "";
    _cleanup_free_ char *own = xasprintf(CGROUP_ROOT "/%s/%s", hierarchy, path);
    _cleanup_close_ int fd = mount_clone(AT_FDCWD, own, false);
    int r = fd < 0 ? fd : mount_set(fd, o->set, 0, false);
    if (r == 0)
        r = mount_attach(fd, target);
    return r < 0 ? error_errno(err, r, "mount %s", own) : 0;
}

/* A place for one hierarchy in the tmpfs that was just made for them: nobody else has been there.
 */
static int make_place(int tmpfs, const char *name)
{
    if (mkdirat(tmpfs, name, 0755) < 0)
        return -errno;
    int fd = openat(tmpfs, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int mount_unified(struct container *c, const struct oci_mount *m,
                         const struct mount_options *o, struct error *err)
{
    _cleanup_close_ int target = -EBADF;
    int r = container_target_strict(c->root, m->destination, &target, err);
    return r < 0 ? r : mount_group(c, c->cgroup.is_v2 ? "" : "unified", target, o, err);
}

/* Nothing of its own: the host's, to look at. */
static int mount_hosts(struct container *c, const struct oci_mount *m, struct error *err)
{
    _cleanup_close_ int target = -EBADF, fd = mount_clone(AT_FDCWD, CGROUP_ROOT, true);
    if (fd < 0)
        return error_errno(err, fd, "mount " CGROUP_ROOT);
    int r = container_target_strict(c->root, m->destination, &target, err);
    if (r < 0)
        return r;
    if ((r = mount_set(fd, MOUNT_ATTR_RDONLY, 0, true)) < 0 || (r = mount_attach(fd, target)) < 0)
        return error_errno(err, r, "mount on %s", m->destination);
    return 0;
}

static int mount_hybrid(struct container *c, const struct oci_mount *m,
                        const struct mount_options *o, struct error *err)
{
    static char *const tmpfs_words[] = {(char *)"mode=755", (char *)"size=65536", NULL};
    struct mount_options plain = {
        .set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
        .data = (char **)tmpfs_words,
    };
    _cleanup_close_ int target = -EBADF, fd = -EBADF;
    int r = container_target_strict(c->root, m->destination, &target, err);
    if (r < 0 || (r = mount_new("tmpfs", "cgroup", &plain, &fd, err)) < 0)
        return r;
    if ((r = mount_attach(fd, target)) < 0)
        return error_errno(err, r, "mount on %s", m->destination);
    for (int h = 0; h < CGROUP_HIERARCHIES && r == 0; h++)
        if (c->cgroup.dirs[h] >= 0) {
            const char *name = cgroup_hierarchy_name(h);
            _cleanup_close_ int place = make_place(fd, name);
            r = place < 0 ? error_errno(err, place, "make %s/%s", m->destination, name)
                          : mount_group(c, name, place, o, err);
        }
    if (r == 0)
        r = mount_set(fd, MOUNT_ATTR_RDONLY, 0, false);
    return r;
}

static int mount_cgroup(struct container *c, const struct oci_mount *m, struct error *err)
{
    _cleanup_(mount_options_done) struct mount_options o;
    mount_options_parse(m->options, &o);
    /* Without a namespace of its own the whole host's tree would be in there: never writable. */
    if (!oci_config_namespace(c->config, CLONE_NEWCGROUP))
        o.set |= MOUNT_ATTR_RDONLY;
    o.set |= MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    bool unified = c->cgroup.dirs[CGROUP_UNIFIED] >= 0, others = cgroup_needs_add(&c->cgroup);
    if (!unified && !others)
        return mount_hosts(c, m, err);
    /* v2, or a hybrid host on which it has only its cgroup2 group: that one alone. */
    if (unified && !others)
        return mount_unified(c, m, &o, err);
    return mount_hybrid(c, m, &o, err);
}

int container_cgroup_mounts(struct container *c, struct error *err)
{
    int r = container_join_groups(c, err);
    if (r == 0 && container_is_new(c, CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP) < 0)
        r = error_errno(err, errno, "make a control group namespace");
    for (size_t i = 0; i < c->config->n_mounts && r == 0; i++)
        if (is_cgroup(&c->config->mounts[i]))
            r = mount_cgroup(c, &c->config->mounts[i], err);
    return r;
}

char **container_mount_words(void)
{
    return mount_option_words();
}
