/*
 * What of /proc and /sys the workload may not see or write, and the kernel settings it wanted.
 *
 * A masked file gets the host's /dev/null, by descriptor and after looking that it is that device;
 * a masked directory gets an empty read-only tmpfs. Settings are written through the procfs that
 * this process mounted itself, resolved below it without links or further mounts, so no image and
 * no shared volume can redirect the write.
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "base/alloc.h"
#include "base/path.h"
#include "kernel/mount.h"
#include "runtime/container/internal.h"

static bool is_absent(int r)
{
    return r == -ENOENT || r == -ENOTDIR || r == -EACCES;
}

struct masks {
    int null;  /* the host's /dev/null */
    int empty; /* an empty read-only directory, once the first was needed */
};

static void masks_done(struct masks *m)
{
    close_fd(m->null);
    close_fd(m->empty);
}

static int open_null(struct masks *m, struct error *err)
{
    struct stat st;
    m->null = open("/dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (m->null < 0 || fstat(m->null, &st) < 0)
        return error_errno(err, errno, "open /dev/null");
    if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
        return error_set(err, ERROR_SYSTEM, ENODEV, "the host's /dev/null is not the null device");
    return 0;
}

/* The first directory gets a new tmpfs; the others get copies of that mount. */
static int mask_directory(struct masks *m, int target, struct error *err)
{
    static char *const words[] = {(char *)"mode=755", (char *)"size=4096", (char *)"nr_inodes=1",
                                  NULL};
    struct mount_options o = {
        .set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
        .data = (char **)words,
    };
    int r;
    if (m->empty >= 0) {
        _cleanup_close_ int copy = mount_clone(m->empty, "", false);
        return copy < 0 ? copy : mount_attach(copy, target);
    }
    if ((r = mount_new("tmpfs", "tmpfs", &o, &m->empty, err)) < 0)
        return r;
    return mount_attach(m->empty, target);
}

static int mask_file(struct masks *m, int target)
{
    _cleanup_close_ int copy = mount_clone(m->null, "", false);
    return copy < 0 ? copy : mount_attach(copy, target);
}

int container_masked_paths(struct container *c, struct error *err)
{
    _cleanup_(masks_done) struct masks m = {-EBADF, -EBADF};
    char **paths = c->config->linux_.masked_paths;
    int r = paths ? open_null(&m, err) : 0;
    for (size_t i = 0; r == 0 && paths && paths[i]; i++) {
        struct stat st;
        _cleanup_close_ int target = path_open_in_root(c->root, paths[i], O_PATH, 0);
        if (is_absent(target))
            continue;
        if (target < 0 || fstat(target, &st) < 0)
            return error_errno(err, target < 0 ? target : errno, "mask %s", paths[i]);
        r = S_ISDIR(st.st_mode) ? mask_directory(&m, target, err) : mask_file(&m, target);
        if (r < 0)
            return error_errno(err, r, "mask %s", paths[i]);
    }
    return r;
}

int container_readonly_paths(struct container *c, struct error *err)
{
    char **paths = c->config->linux_.readonly_paths;
    for (size_t i = 0; paths && paths[i]; i++) {
        _cleanup_close_ int target = path_open_in_root(c->root, paths[i], O_PATH, 0);
        if (is_absent(target))
            continue;
        _cleanup_close_ int copy = target < 0 ? target : mount_clone(target, "", true);
        int r = copy < 0 ? copy : mount_set(copy, MOUNT_ATTR_RDONLY, 0, true);
        if (r == 0)
            r = mount_attach(copy, target);
        if (r < 0)
            return error_errno(err, r, "make %s read-only", paths[i]);
    }
    /* An inherited root is the caller's mount, not ours to change. */
    if (c->config->root_readonly && oci_config_namespace(c->config, CLONE_NEWNS)) {
        int r = mount_set(c->root, MOUNT_ATTR_RDONLY, 0, false);
        return r < 0 ? error_errno(err, r, "make the root read-only") : 0;
    }
    return 0;
}

/* Settings that belong to a namespace, and the one that must then be new. A name that ends with a
 * dot is a prefix. */
static const struct {
    const char *name;
    int namespace_type;
} namespaced[] = {
    {"kernel.msgmax", CLONE_NEWIPC},
    {"kernel.msgmnb", CLONE_NEWIPC},
    {"kernel.msgmni", CLONE_NEWIPC},
    {"kernel.sem", CLONE_NEWIPC},
    {"kernel.shmall", CLONE_NEWIPC},
    {"kernel.shmmax", CLONE_NEWIPC},
    {"kernel.shmmni", CLONE_NEWIPC},
    {"kernel.shm_rmid_forced", CLONE_NEWIPC},
    {"kernel.domainname", CLONE_NEWUTS},
    {"fs.mqueue.", CLONE_NEWIPC},
    {"net.", CLONE_NEWNET},
};

static int check_sysctl(const struct container *c, const struct oci_sysctl *s, struct error *err)
{
    int type = 0;
    for (size_t i = 0; i < ARRAY_SIZE(namespaced); i++) {
        const char *name = namespaced[i].name;
        size_t len = strlen(name);
        if (name[len - 1] == '.' ? strncmp(s->name, name, len) == 0 : strcmp(s->name, name) == 0)
            type = namespaced[i].namespace_type;
    }
    bool own = oci_config_namespace(c->config, type) ||
               (type == CLONE_NEWNET && c->start->network_fd >= 0);
    if (!type || !own)
        return error_set(err, ERROR_DENIED, EPERM,
                         "sysctl %s: it belongs to the host, not to the container", s->name);
    if (!*s->value || s->value[strcspn(s->value, "\n+|")] || strlen(s->value) > 1024)
        return error_invalid(err, "sysctl %s: not a plain value", s->name);
    if (strchr(s->name, '/') || strstr(s->name, ".."))
        return error_invalid(err, "sysctl %s: not a plain name", s->name);
    return 0;
}

static int write_sysctl(int proc, const struct oci_sysctl *s)
{
    struct open_how how = {
        .flags = O_WRONLY | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
    };
    _cleanup_free_ char *path = xasprintf("sys/%s", s->name);
    for (char *p = path; *p; p++)
        if (*p == '.')
            *p = '/';
    _cleanup_close_ int fd = (int)syscall(SYS_openat2, proc, path, &how, sizeof(how));
    if (fd < 0 || write(fd, s->value, strlen(s->value)) < 0)
        return -errno;
    return 0;
}

int container_sysctls(struct container *c, struct error *err)
{
    const struct oci_linux *l = &c->config->linux_;
    for (size_t i = 0; i < l->n_sysctls; i++) {
        int r = check_sysctl(c, &l->sysctls[i], err);
        if (r < 0)
            return r;
        if (c->proc < 0)
            return error_invalid(err, "sysctl %s needs a proc mount on /proc", l->sysctls[i].name);
        r = write_sysctl(c->proc, &l->sysctls[i]);
        if (r < 0)
            return error_errno(err, r, "set sysctl %s", l->sysctls[i].name);
    }
    return 0;
}
