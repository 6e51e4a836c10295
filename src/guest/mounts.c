/*
 * The workload's mounts, made in its own mount namespace on GUEST_ROOT. Every target is opened in
 * that root (an image may hold symlinks anywhere) and mounted on by descriptor. Binds of the host's
 * directories arrive as virtiofs shares; their entries in the configuration are passed over.
 */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "guest/guest.h"
#include "kernel/mount.h"

static const char *const file_systems[] = {"proc",   "sysfs",  "tmpfs",  "devpts",
                                           "mqueue", "cgroup", "cgroup2"};

static const struct {
    const char *name;
    unsigned int major, minor;
} default_devices[] = {{"null", 1, 3}, {"zero", 1, 5},   {"full", 1, 7},
                       {"tty", 5, 0},  {"random", 1, 8}, {"urandom", 1, 9}};

static const struct {
    const char *name, *target;
} device_links[] = {{"fd", "/proc/self/fd"},
                    {"stdin", "/proc/self/fd/0"},
                    {"stdout", "/proc/self/fd/1"},
                    {"stderr", "/proc/self/fd/2"},
                    {"ptmx", "pts/ptmx"}};

static int open_root(void)
{
    return open(GUEST_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static bool listed(const char *const *list, size_t n, const char *word)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], word) == 0)
            return true;
    return false;
}

/* A directory in the root, made where it is missing. */
static int open_target(int root, const char *path, int *ret, struct error *err)
{
    int fd = path_make_dirs_in_root(root, path, 0755);
    if (fd < 0)
        return error_errno(err, fd, "make mount point %s", path);
    *ret = fd;
    return 0;
}

static int mount_file_system(int root, const struct oci_mount *m, struct error *err)
{
    _cleanup_(mount_options_done) struct mount_options options;
    _cleanup_close_ int target = -EBADF, made = -EBADF;
    bool cgroup = strncmp(m->type, "cgroup", 6) == 0;
    mount_options_parse(m->options, &options);
    if (cgroup) { /* those of version 1 mean nothing here */
        strv_free(options.data);
        options.data = NULL;
    }
    int r = open_target(root, m->destination, &target, err);
    if (r == 0)
        r = mount_new(cgroup ? "cgroup2" : m->type, m->source, &options, &made, err);
    if (r < 0)
        return r;
    r = mount_attach(made, target);
    return r < 0 ? error_errno(err, r, "mount %s on %s", m->type, m->destination) : 0;
}

static int mount_shares(const struct guest *g, int root, const char *destination, struct error *err)
{
    for (size_t i = 0; i < g->n_shares; i++) {
        const struct guest_share *s = &g->shares[i];
        _cleanup_close_ int target = -EBADF;
        if (strcmp(s->path, destination) != 0)
            continue;
        int r = open_target(root, s->path, &target, err);
        if (r < 0)
            return r;
        if (mount(s->tag, fd_path(target).text, "virtiofs", s->readonly ? MS_RDONLY : 0, NULL) < 0)
            return error_errno(err, errno, "mount volume on %s", s->path);
    }
    return 0;
}

/* The file in the root that a content file is bound over; made empty where missing. */
static int open_file_target(int root, const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/');
    if (!slash || !path_is_name(slash + 1))
        return error_invalid(err, "%s is no file name", path);
    int fd = path_open_in_root(root, path, O_PATH, 0);
    if (fd != -ENOENT)
        return fd < 0 ? error_errno(err, fd, "open %s", path) : fd;
    _cleanup_free_ char *parent = xstrndup(path, (size_t)(slash - path));
    _cleanup_close_ int dir = path_make_dirs_in_root(root, *parent ? parent : "/", 0755);
    _cleanup_close_ int made =
        dir < 0 ? dir : openat(dir, slash + 1, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (dir < 0 || made < 0)
        return error_errno(err, dir < 0 ? dir : errno, "make %s", path);
    fd = path_open_in_root(root, path, O_PATH, 0);
    return fd < 0 ? error_errno(err, fd, "open %s", path) : fd;
}

static int bind_file(int root, size_t i, const struct guest_file *f, struct error *err)
{
    _cleanup_free_ char *source = xasprintf(GUEST_FILES "/%zu", i);
    _cleanup_close_ int target = open_file_target(root, f->path, err);
    if (target < 0)
        return target;
    if (mount(source, fd_path(target).text, NULL, MS_BIND, NULL) < 0)
        return error_errno(err, errno, "mount %s", f->path);
    if (!f->readonly)
        return 0;
    _cleanup_close_ int again = path_open_in_root(root, f->path, O_PATH, 0);
    if (again < 0 || mount(NULL, fd_path(again).text, NULL,
                           MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
        return error_errno(err, again < 0 ? again : errno, "make %s read-only", f->path);
    return 0;
}

static int make_device(int dev, const char *name, mode_t mode, dev_t number)
{
    if (mknodat(dev, name, mode, number) < 0)
        return errno == EEXIST ? 0 : -errno;
    return fchmodat(dev, name, mode & 07777, 0) < 0 ? -errno : 0;
}

static int populate_dev(int root, const struct oci_config *c, struct error *err)
{
    _cleanup_close_ int dev = path_open_in_root(root, "/dev", O_RDONLY | O_DIRECTORY, 0);
    int r = dev < 0 ? dev : 0;
    for (size_t i = 0; i < ARRAY_SIZE(default_devices) && r == 0; i++)
        r = make_device(dev, default_devices[i].name, S_IFCHR | 0666,
                        makedev(default_devices[i].major, default_devices[i].minor));
    for (size_t i = 0; i < ARRAY_SIZE(device_links) && r == 0; i++)
        if (symlinkat(device_links[i].target, dev, device_links[i].name) < 0 && errno != EEXIST)
            r = -errno;
    if (r < 0)
        return error_errno(err, r, "make the device files");
    return c->linux_.n_devices == 0
               ? 0
               : error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                           "a machine cannot have the host's device %s", c->linux_.devices[0].path);
}

/* What is not there needs no hiding. */
static int mask_path(int root, const char *path, struct error *err)
{
    _cleanup_close_ int fd = path_open_in_root(root, path, O_PATH, 0);
    struct stat st;
    if (fd == -ENOENT || fd == -ENOTDIR)
        return 0;
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, fd < 0 ? fd : errno, "open %s", path);
    int r = S_ISDIR(st.st_mode) ? mount("tmpfs", fd_path(fd).text, "tmpfs", MS_RDONLY, "size=0k")
                                : mount("/dev/null", fd_path(fd).text, NULL, MS_BIND, NULL);
    return r < 0 ? error_errno(err, errno, "hide %s", path) : 0;
}

static int make_readonly(int root, const char *path, struct error *err)
{
    _cleanup_close_ int fd = path_open_in_root(root, path, O_PATH, 0);
    if (fd == -ENOENT || fd == -ENOTDIR)
        return 0;
    if (fd < 0 || mount(fd_path(fd).text, fd_path(fd).text, NULL, MS_BIND | MS_REC, NULL) < 0)
        return error_errno(err, fd < 0 ? fd : errno, "bind %s", path);
    _cleanup_close_ int again = path_open_in_root(root, path, O_PATH, 0);
    if (again < 0 ||
        mount(NULL, fd_path(again).text, NULL,
              MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        return error_errno(err, again < 0 ? again : errno, "make %s read-only", path);
    return 0;
}

/* While the root is still writable: the working directory is made when the image has none. */
static int make_work_directory(int root, const char *cwd, struct error *err)
{
    _cleanup_close_ int fd = path_open_in_root(root, cwd, O_PATH | O_DIRECTORY, 0);
    if (fd != -ENOENT)
        return 0; /* entering it tells what is wrong with it */
    fd = path_make_dirs_in_root(root, cwd, 0755);
    return fd < 0 ? error_errno(err, fd, "make the working directory %s", cwd) : 0;
}

int guest_mounts_apply(const struct guest *g, struct error *err)
{
    const struct oci_config *c = g->config;
    int r = 0;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return error_errno(err, errno, "make the mounts private");
    _cleanup_close_ int root = open_root();
    if (root < 0)
        return error_errno(err, errno, "open the root file system");
    for (size_t i = 0; i < c->n_mounts && r == 0; i++) {
        const struct oci_mount *m = &c->mounts[i];
        if (m->type && listed(file_systems, ARRAY_SIZE(file_systems), m->type)) {
            r = mount_file_system(root, m, err);
            if (r == 0 && strcmp(m->destination, "/dev") == 0)
                r = populate_dev(root, c, err);
        } else {
            r = mount_shares(g, root, m->destination, err);
        }
    }
    for (size_t i = 0; i < g->n_files && r == 0; i++)
        r = bind_file(root, i, &g->files[i], err);
    for (char **p = c->linux_.readonly_paths; p && *p && r == 0; p++)
        r = make_readonly(root, *p, err);
    for (char **p = c->linux_.masked_paths; p && *p && r == 0; p++)
        r = mask_path(root, *p, err);
    return r < 0 ? r : make_work_directory(root, c->process.cwd, err);
}

int guest_enter_root(bool readonly, struct error *err)
{
    if (readonly && (mount(GUEST_ROOT, GUEST_ROOT, NULL, MS_BIND | MS_REC, NULL) < 0 ||
                     mount(NULL, GUEST_ROOT, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0))
        return error_errno(err, errno, "make the root read-only");
    if (chdir(GUEST_ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
        chdir("/") < 0)
        return error_errno(err, errno, "enter the root file system");
    return 0;
}
