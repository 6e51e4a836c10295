/*
 * The workload's mounts, made in its own mount namespace on GUEST_ROOT. Every target is opened in
 * that root (an image may hold symlinks anywhere) and mounted on by descriptor. Binds of the host's
 * directories and files arrive as virtiofs shares, each mounted when its entry in the configuration
 * is reached.
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

/* What the engine mounts where nothing else is asked for (engine/spec.c), first and in this order:
 * a template has it ready. */
#define WORDS(...)                                                                                 \
    (char *const[])                                                                                \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }
static const struct {
    const char *destination, *type, *source;
    char *const *options;
    bool top; /* of a tree that is moved as a whole */
} usual[] = {
    {"/proc", "proc", "proc", WORDS("nosuid", "noexec", "nodev"), true},
    {"/dev", "tmpfs", "tmpfs", WORDS("nosuid", "strictatime", "mode=755", "size=65536k"), true},
    {"/dev/pts", "devpts", "devpts",
     WORDS("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"), false},
    {"/sys", "sysfs", "sysfs", WORDS("nosuid", "noexec", "nodev", "ro"), true},
    {"/sys/fs/cgroup", "cgroup", "cgroup", WORDS("nosuid", "noexec", "nodev", "ro"), false},
    {"/dev/mqueue", "mqueue", "mqueue", WORDS("nosuid", "noexec", "nodev"), false},
    {"/dev/shm", "tmpfs", "shm", WORDS("nosuid", "noexec", "nodev", "mode=1777", "size=67108864"),
     false},
};
static const char *const usual_masked[] = {"/proc/acpi",
                                           "/proc/asound",
                                           "/proc/interrupts",
                                           "/proc/kcore",
                                           "/proc/keys",
                                           "/proc/latency_stats",
                                           "/proc/sched_debug",
                                           "/proc/scsi",
                                           "/proc/timer_list",
                                           "/proc/timer_stats",
                                           "/sys/devices/virtual/powercap",
                                           "/sys/firmware"};
static const char *const usual_readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                             "/proc/sysrq-trigger"};

/* The engine's own files, in this order, behind the usual mounts. */
static const char *const usual_files[GUEST_USUAL_FILES] = {"/etc/hosts", "/etc/hostname",
                                                           "/etc/resolv.conf"};

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

/* The file in the root that another is bound over; made empty where missing. */
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

static int bind_file(int root, const char *source, const char *path, bool readonly,
                     struct error *err)
{
    _cleanup_close_ int target = open_file_target(root, path, err);
    if (target < 0)
        return target;
    _cleanup_close_ int tree = mount_clone(AT_FDCWD, source, false);
    int r = tree < 0 ? tree : 0;
    if (r == 0 && readonly)
        r = mount_set(tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0, false);
    if (r == 0)
        r = mount_attach(tree, target);
    return r < 0 ? error_errno(err, r, "mount %s", path) : 0;
}

static int bind_sent_file(int root, size_t i, const struct guest_file *f, struct error *err)
{
    _cleanup_free_ char *source = xasprintf(GUEST_FILES "/%zu", i);
    return bind_file(root, source, f->path, f->readonly, err);
}

static int mount_directory(int root, const struct guest_share *s, struct error *err)
{
    _cleanup_close_ int target = -EBADF;
    int r = open_target(root, s->path, &target, err);
    if (r < 0)
        return r;
    if (mount(s->tag, fd_path(target).text, "virtiofs", s->readonly ? MS_RDONLY : 0, NULL) < 0)
        return error_errno(err, errno, "mount volume on %s", s->path);
    return 0;
}

static int mount_shares(const struct guest *g, int root, const char *destination, struct error *err)
{
    int r = 0;
    for (size_t i = 0; i < g->n_shares && r == 0; i++) {
        const struct guest_share *s = &g->shares[i];
        if (strcmp(s->path, destination) != 0)
            continue;
        _cleanup_free_ char *file = xasprintf(GUEST_SHARED "/%s", s->file);
        r = *s->file ? bind_file(root, file, s->path, s->readonly, err)
                     : mount_directory(root, s, err);
    }
    return r;
}

/* The directory that has all shared files. It is out of the workload's reach, and gone with
 * leave_shared_files(): what was bound stays. */
static int enter_shared_files(const struct guest *g, bool *ret_entered, struct error *err)
{
    const char *tag = NULL;
    *ret_entered = false;
    for (size_t i = 0; i < g->n_shares && !tag; i++)
        tag = *g->shares[i].file ? g->shares[i].tag : NULL;
    if (!tag)
        return 0;
    mkdir(GUEST_SHARED, 0700);
    if (mount(tag, GUEST_SHARED, "virtiofs", 0, NULL) < 0)
        return error_errno(err, errno, "mount the host's files");
    *ret_entered = true;
    return 0;
}

static int leave_shared_files(struct error *err)
{
    return umount2(GUEST_SHARED, MNT_DETACH) < 0 ? error_errno(err, errno, "leave the host's files")
                                                 : 0;
}

/* An image that has its machine-id(5) empty leaves it to whoever runs it. It gets the instance's,
 * over the empty file, so that nothing that is made of the root file system takes it along. */
static int bind_machine_id(int root, struct error *err)
{
    static const char path[] = "/etc/machine-id";
    struct stat st;
    _cleanup_close_ int fd = path_open_in_root(root, path, O_PATH, 0);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > 0)
        return 0;
    return bind_file(root, GUEST_FILES "/" GUEST_MACHINE_ID, path, false, err);
}

static int make_device(int dev, const char *name, mode_t mode, dev_t number)
{
    if (mknodat(dev, name, mode, number) < 0)
        return errno == EEXIST ? 0 : -errno;
    return fchmodat(dev, name, mode & 07777, 0) < 0 ? -errno : 0;
}

static int populate_dev(int root, struct error *err)
{
    _cleanup_close_ int dev = path_open_in_root(root, "/dev", O_RDONLY | O_DIRECTORY, 0);
    int r = dev < 0 ? dev : 0;
    for (size_t i = 0; i < ARRAY_SIZE(default_devices) && r == 0; i++)
        r = make_device(dev, default_devices[i].name, S_IFCHR | 0666,
                        makedev(default_devices[i].major, default_devices[i].minor));
    for (size_t i = 0; i < ARRAY_SIZE(device_links) && r == 0; i++)
        if (symlinkat(device_links[i].target, dev, device_links[i].name) < 0 && errno != EEXIST)
            r = -errno;
    return r < 0 ? error_errno(err, r, "make the device files") : 0;
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

static bool same_list(char *const *a, const char *const *b, size_t n)
{
    if (strv_len(a) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (strcmp(a[i], b[i]) != 0)
            return false;
    return true;
}

static bool same_mount(const struct oci_mount *m, size_t i)
{
    return m->type && m->source && strcmp(m->destination, usual[i].destination) == 0 &&
           strcmp(m->type, usual[i].type) == 0 && strcmp(m->source, usual[i].source) == 0 &&
           same_list(m->options, (const char *const *)usual[i].options, strv_len(usual[i].options));
}

static bool is_usual(const struct oci_config *c)
{
    if (c->n_mounts < ARRAY_SIZE(usual))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
        if (!same_mount(&c->mounts[i], i))
            return false;
    return same_list(c->linux_.masked_paths, usual_masked, ARRAY_SIZE(usual_masked)) &&
           same_list(c->linux_.readonly_paths, usual_readonly, ARRAY_SIZE(usual_readonly));
}

int guest_mounts_prepare(struct error *err)
{
    mkdir(GUEST_PREPARED, 0755);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return error_errno(err, errno, "make the mounts private");
    _cleanup_close_ int root = open(GUEST_PREPARED, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = root < 0 ? error_errno(err, errno, "open " GUEST_PREPARED) : 0;
    for (size_t i = 0; i < ARRAY_SIZE(usual) && r == 0; i++) {
        struct oci_mount m = {.destination = (char *)usual[i].destination,
                              .type = (char *)usual[i].type,
                              .source = (char *)usual[i].source,
                              .options = (char **)usual[i].options};
        r = mount_file_system(root, &m, err);
        if (r == 0 && strcmp(m.destination, "/dev") == 0)
            r = populate_dev(root, err);
    }
    for (size_t i = 0; i < ARRAY_SIZE(usual_readonly) && r == 0; i++)
        r = make_readonly(root, usual_readonly[i], err);
    for (size_t i = 0; i < ARRAY_SIZE(usual_masked) && r == 0; i++)
        r = mask_path(root, usual_masked[i], err);
    return r;
}

/* The trees with all that is mounted below them. */
static int take_prepared(int root, struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(usual); i++) {
        _cleanup_close_ int target = -EBADF, tree = -EBADF;
        if (!usual[i].top)
            continue;
        _cleanup_free_ char *from = xasprintf(GUEST_PREPARED "%s", usual[i].destination);
        int r = open_target(root, usual[i].destination, &target, err);
        if (r < 0)
            return r;
        tree = open(from, O_PATH | O_DIRECTORY | O_CLOEXEC);
        r = tree < 0 ? -errno : mount_attach(tree, target);
        if (r < 0)
            return error_errno(err, r, "mount %s", usual[i].destination);
    }
    return 0;
}

static int hide_paths(int root, const struct oci_config *c, struct error *err)
{
    int r = 0;
    for (char **p = c->linux_.readonly_paths; p && *p && r == 0; p++)
        r = make_readonly(root, *p, err);
    for (char **p = c->linux_.masked_paths; p && *p && r == 0; p++)
        r = mask_path(root, *p, err);
    return r;
}

static int apply_mounts(const struct guest *g, int root, size_t from, struct error *err)
{
    const struct oci_config *c = g->config;
    bool shared = false;
    int r = bind_machine_id(root, err);
    if (r == 0)
        r = enter_shared_files(g, &shared, err);
    for (size_t i = from; i < c->n_mounts && r == 0; i++) {
        const struct oci_mount *m = &c->mounts[i];
        if (m->type && listed(file_systems, ARRAY_SIZE(file_systems), m->type)) {
            r = mount_file_system(root, m, err);
            if (r == 0 && strcmp(m->destination, "/dev") == 0)
                r = populate_dev(root, err);
        } else {
            r = mount_shares(g, root, m->destination, err);
        }
    }
    for (size_t i = 0; i < g->n_files && r == 0; i++)
        r = bind_sent_file(root, i, &g->files[i], err);
    return r == 0 && shared ? leave_shared_files(err) : r;
}

static int enter_root(bool readonly, struct error *err)
{
    if (readonly && (mount(GUEST_ROOT, GUEST_ROOT, NULL, MS_BIND | MS_REC, NULL) < 0 ||
                     mount(NULL, GUEST_ROOT, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0))
        return error_errno(err, errno, "make the root read-only");
    if (chdir(GUEST_ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
        chdir("/") < 0)
        return error_errno(err, errno, "enter the root file system");
    return 0;
}

/* --- a root that was made ready in a template --- */

int guest_mounts_place(int *ret_outer, struct error *err)
{
    _cleanup_close_ int outer = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), root = open_root();
    int r = root < 0 || outer < 0 ? error_errno(err, errno, "open the root file system")
                                  : take_prepared(root, err);
    if (r == 0)
        r = bind_machine_id(root, err);
    for (size_t i = 0; i < GUEST_USUAL_FILES && r == 0; i++) {
        struct guest_file f = {(char *)usual_files[i], false};
        r = bind_sent_file(root, i, &f, err);
    }
    if (r == 0)
        r = enter_root(false, err);
    if (r == 0)
        *ret_outer = TAKE_FD(outer);
    return r;
}

/* Whether it is what the workload wants. Other mounts might have to lie below the files, so there
 * must be none. */
static bool fits_placed(const struct guest *g)
{
    const struct oci_config *c = g->config;
    bool same = c->n_mounts == ARRAY_SIZE(usual) + GUEST_USUAL_FILES && is_usual(c) &&
                g->n_files == GUEST_USUAL_FILES && !c->root_readonly && c->linux_.n_sysctls == 0;
    for (size_t i = 0; i < GUEST_USUAL_FILES && same; i++)
        same = strcmp(g->files[i].path, usual_files[i]) == 0 && !g->files[i].readonly;
    return same;
}

/* Back to the machine's own root, and the spare one in its place. */
static int leave_placed(struct guest *g, struct error *err)
{
    if (fchdir(g->outer) < 0 || chroot(".") < 0)
        return error_errno(err, errno, "leave the root file system");
    if (mount(GUEST_SPARE, GUEST_ROOT, NULL, MS_MOVE, NULL) < 0)
        return error_errno(err, errno, "take the root file system");
    g->outer = close_fd(g->outer);
    g->mounts_ready = false;
    free(g->home);
    g->home = NULL;
    return 0;
}

int guest_mounts_check(struct guest *g, struct error *err)
{
    return g->outer > 0 && !fits_placed(g) ? leave_placed(g, err) : 0;
}

int guest_mounts_apply(const struct guest *g, struct error *err)
{
    const struct oci_config *c = g->config;
    bool placed = g->outer > 0, ready = g->mounts_ready && !placed && is_usual(c);
    int r = 0;
    if (c->linux_.n_devices > 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "a machine cannot have the host's device %s", c->linux_.devices[0].path);
    if (!g->mounts_ready && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return error_errno(err, errno, "make the mounts private");
    _cleanup_close_ int root = open(placed ? "/" : GUEST_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return error_errno(err, errno, "open the root file system");
    if (ready)
        r = take_prepared(root, err);
    if (r == 0 && !placed)
        r = apply_mounts(g, root, ready ? ARRAY_SIZE(usual) : 0, err);
    if (r == 0 && !placed && !ready)
        r = hide_paths(root, c, err);
    if (r == 0)
        r = make_work_directory(root, c->process.cwd, err);
    return r < 0 || placed ? r : enter_root(c->root_readonly, err);
}
