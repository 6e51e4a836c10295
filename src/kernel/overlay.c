/*
 * An overlay from many lower directories.
 *
 * Linux 6.5 and later take them one by one ("lowerdir+"). Older kernels want one string with colons
 * between: the directories are opened and named /proc/self/fd/N, which keeps colons and long paths
 * out of it, and the old mount(2) is used because fsconfig(2) takes only 255 bytes; that needs a
 * place to mount on, from which the mount is cloned away at once. There the layers must be mounted
 * somewhere, too, so detached (id-mapped) ones are stacked on the same place for the moment. All
 * that is done by a child with a mount namespace of its own, which shares the descriptors: whoever
 * is killed at whatever moment, nothing stays mounted.
 *
 * Without the host's CAP_SYS_ADMIN nobody may write trusted attributes: an overlay in a user
 * namespace keeps its marks in user.overlay.* ("userxattr", Linux 5.11).
 *
 * Before 6.5 an overlay's context takes every option and complains about none until the mount is
 * created, so that is where it is seen that the kernel is an old one.
 */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "kernel/mount.h"
#include "kernel/ns.h"

#define FSCONFIG_STRING_MAX 255
#define MOUNT_DATA_MAX      4095
#define MAX_LOWER           500 /* the kernel's own limit */

struct held_fds {
    int fd[MAX_LOWER + 2];
    size_t n;
    const char *place; /* where n_placed of them are mounted */
    size_t n_placed;
};

static void held_fds_done(struct held_fds *held)
{
    while (held->n > 0)
        close_fd(held->fd[--held->n]);
    for (; held->n_placed > 0; held->n_placed--)
        umount2(held->place, MNT_DETACH);
}

/* Opens path, through the id maps when wanted, and names it by its descriptor. */
static int hold(struct held_fds *held, const char *path, int user_ns, struct fd_path *ret)
{
    int fd = user_ns >= 0 ? mount_clone(AT_FDCWD, path, false)
                          : open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return user_ns >= 0 ? fd : -errno;
    held->fd[held->n++] = fd;
    *ret = fd_path(fd);
    return user_ns >= 0 ? mount_id_map(fd, user_ns, false) : 0;
}

static int set_path(int fs, struct held_fds *held, const char *key, const char *path)
{
    struct fd_path by_fd;
    if (strlen(path) > FSCONFIG_STRING_MAX) {
        int r = hold(held, path, -EBADF, &by_fd);
        if (r < 0)
            return r;
        path = by_fd.text;
    }
    return fsconfig(fs, FSCONFIG_SET_STRING, key, path, 0) < 0 ? -errno : 0;
}

/* Upper and work directory must be on one mount, so their parent is shifted, not each. */
static int shift_upper(const struct mount_overlay *o, struct held_fds *held, char **ret_upper,
                       char **ret_work)
{
    const char *upper = strrchr(o->upper, '/'), *work = strrchr(o->work, '/');
    struct fd_path by_fd;
    if (!upper || !work || upper - o->upper != work - o->work ||
        memcmp(o->upper, o->work, (size_t)(upper - o->upper)) != 0)
        return -EXDEV;
    _cleanup_free_ char *parent = xstrndup(o->upper, (size_t)(upper - o->upper));
    int r = hold(held, parent, o->user_ns, &by_fd);
    if (r == 0) {
        *ret_upper = path_join(by_fd.text, upper);
        *ret_work = path_join(by_fd.text, work);
    }
    return r;
}

static int set_upper(int fs, struct held_fds *held, const struct mount_overlay *o)
{
    _cleanup_free_ char *upper = NULL, *work = NULL;
    int r = o->user_ns >= 0 ? shift_upper(o, held, &upper, &work) : 0;
    if (r == 0)
        r = set_path(fs, held, "upperdir", upper ? upper : o->upper);
    if (r == 0)
        r = set_path(fs, held, "workdir", work ? work : o->work);
    return r;
}

static int add_lower(int fs, struct held_fds *held, const char *path, int user_ns)
{
    struct fd_path by_fd;
    if (user_ns < 0)
        return set_path(fs, held, "lowerdir+", path);
    int r = hold(held, path, user_ns, &by_fd);
    if (r < 0)
        return r;
    return fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir+", by_fd.text, 0) < 0 ? -errno : 0;
}

/* Whether an overlay's options are not looked at one by one, so that even nonsense is taken. */
static bool takes_anything(void)
{
    _cleanup_close_ int fs = fsopen("overlay", FSOPEN_CLOEXEC);
    return fs >= 0 && fsconfig(fs, FSCONFIG_SET_STRING, "no-such-option", "", 0) == 0;
}

/* -EOPNOTSUPP when this kernel has no "lowerdir+". */
static int overlay_new(const struct mount_overlay *o, size_t n, int *ret_fd, struct error *err)
{
    _cleanup_(held_fds_done) struct held_fds held = {.n = 0};
    _cleanup_close_ int fs = fsopen("overlay", FSOPEN_CLOEXEC);
    if (fs < 0)
        return error_errno(err, errno, "mount overlay");
    (void)!fsconfig(fs, FSCONFIG_SET_STRING, "source", "overlay", 0);
    for (size_t i = n; i-- > 0;) {
        int r = add_lower(fs, &held, o->lower[i], o->user_ns);
        if (r == -EINVAL && i == n - 1)
            return -EOPNOTSUPP;
        if (r < 0)
            return error_errno(err, r, "use the layer %s", o->lower[i]);
    }
    int r = o->upper ? set_upper(fs, &held, o) : 0;
    if (r < 0)
        return error_errno(err, r, "use the upper directory %s", o->upper);
    if (o->upper && o->is_volatile)
        (void)!fsconfig(fs, FSCONFIG_SET_FLAG, "volatile", NULL, 0);
    if (!process_is_host_root() && fsconfig(fs, FSCONFIG_SET_FLAG, "userxattr", NULL, 0) < 0)
        return error_errno(err, errno, "mount overlay with userxattr");
    if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) {
        r = errno;
        return r == EINVAL && takes_anything() ? -EOPNOTSUPP : error_errno(err, r, "mount overlay");
    }
    int fd = fsmount(fs, FSMOUNT_CLOEXEC, 0);
    if (fd < 0)
        return error_errno(err, errno, "mount overlay");
    *ret_fd = fd;
    return 0;
}

static int old_upper(const struct mount_overlay *o, struct held_fds *held, struct buf *data)
{
    _cleanup_free_ char *upper = NULL, *work = NULL;
    struct fd_path upper_fd, work_fd;
    int r;
    if (o->user_ns >= 0) {
        r = shift_upper(o, held, &upper, &work);
    } else if ((r = hold(held, o->upper, -EBADF, &upper_fd)) == 0 &&
               (r = hold(held, o->work, -EBADF, &work_fd)) == 0) {
        upper = xstrdup(upper_fd.text);
        work = xstrdup(work_fd.text);
    }
    return r < 0 ? r
                 : buf_addf(data, ",upperdir=%s,workdir=%s%s", upper, work,
                            o->is_volatile ? ",volatile" : "");
}

static int old_data(const struct mount_overlay *o, size_t n, struct held_fds *held,
                    struct buf *data)
{
    struct fd_path name;
    int r = buf_add_str(data, "lowerdir=");
    for (size_t i = n; i-- > 0 && r == 0;)
        if ((r = hold(held, o->lower[i], o->user_ns, &name)) == 0)
            r = buf_addf(data, "%s%s", i == n - 1 ? "" : ":", name.text);
    if (r == 0 && !process_is_host_root())
        r = buf_add_str(data, ",userxattr");
    return r == 0 && o->upper ? old_upper(o, held, data) : r;
}

/* Mounts all that is held: only then, because whoever walks to the place arrives on top of it. */
static int put_down(struct held_fds *held, const char *place)
{
    held->place = place;
    for (size_t i = 0; i < held->n; i++, held->n_placed++)
        if (move_mount(held->fd[i], "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH) < 0)
            return -errno;
    return 0;
}

static int overlay_old(const struct mount_overlay *o, size_t n, int *ret_fd, struct error *err)
{
    _cleanup_(held_fds_done) struct held_fds held = {.n = 0};
    _cleanup_buf_ struct buf data = BUF_INIT(MOUNT_DATA_MAX);
    int r = old_data(o, n, &held, &data);
    if (r == 0 && o->user_ns >= 0)
        r = put_down(&held, o->scratch);
    if (r == 0 && mount("overlay", o->scratch, "overlay", 0, data.data) < 0)
        r = -errno;
    if (r == -EINVAL && o->user_ns >= 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "this kernel cannot shift the owners of these layers in an overlay");
    if (r < 0)
        return error_errno(err, r, "mount overlay");
    r = mount_clone(AT_FDCWD, o->scratch, false);
    umount2(o->scratch, MNT_DETACH);
    if (r < 0)
        return error_errno(err, r, "take the overlay");
    *ret_fd = r;
    return 0;
}

struct apart {
    int result, fd;
    struct error err;
};

_noreturn_ static void do_apart(const struct mount_overlay *o, size_t n, struct apart *a)
{
    if (mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0)
        a->result = error_errno(&a->err, errno, "separate the mounts");
    else
        a->result = overlay_old(o, n, &a->fd, &a->err);
    _exit(0);
}

static int overlay_apart(const struct mount_overlay *o, size_t n, int *ret_fd, struct error *err)
{
    int status;
    struct apart *a =
        mmap(NULL, sizeof(*a), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (a == MAP_FAILED)
        return error_errno(err, errno, "mount overlay");
    *a = (struct apart){.result = -ECHILD, .fd = -EBADF};
    pid_t pid = ns_clone(CLONE_NEWNS | CLONE_FILES, -EBADF, NULL);
    if (pid == 0)
        do_apart(o, n, a);
    int r = pid < 0 ? pid : process_wait(pid, &status);
    if (r < 0 || a->result == -ECHILD)
        r = error_errno(err, r < 0 ? r : ECHILD, "mount overlay");
    else if ((r = a->result) < 0 && err)
        *err = a->err;
    else if (r == 0)
        *ret_fd = a->fd;
    munmap(a, sizeof(*a));
    return r;
}

/* One directory and nothing to write to is no overlay (the kernel refuses it): the layer itself. */
static int layer_alone(const struct mount_overlay *o, int *ret_fd, struct error *err)
{
    _cleanup_close_ int fd = mount_clone(AT_FDCWD, o->lower[0], false);
    int r = fd < 0 ? fd : 0;
    if (r == 0 && o->user_ns >= 0)
        r = mount_id_map(fd, o->user_ns, false);
    if (r < 0)
        return error_errno(err, r, "use the layer %s", o->lower[0]);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* The kernel marks a volatile overlay's work directory and refuses it afterwards, because a crash
 * may have cost data. Whoever asks for a volatile one says that this does not matter. */
static void forget_volatile(const char *work)
{
    _cleanup_free_ char *mark = xasprintf("%s/work/incompat", work);
    (void)!path_remove_tree(AT_FDCWD, mark);
}

int mount_overlay(const struct mount_overlay *o, int *ret_fd, struct error *err)
{
    size_t n = strv_len(o->lower);
    if (n == 0 || n > MAX_LOWER)
        return error_set(err, ERROR_LIMIT, E2BIG, "an overlay of %zu layers (1 to %d)", n,
                         MAX_LOWER);
    if (n == 1 && !o->upper)
        return layer_alone(o, ret_fd, err);
    if (o->upper && o->is_volatile)
        forget_volatile(o->work);
    int r = overlay_new(o, n, ret_fd, err);
    return r == -EOPNOTSUPP ? overlay_apart(o, n, ret_fd, err) : r;
}
