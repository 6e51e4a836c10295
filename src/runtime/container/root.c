/*
 * The root: an overlay of the bundle's layers, or the directory root.path. It is made detached,
 * attached somewhere, filled, and made the root at the end.
 *
 * The engine's is laid over the old "/" (lookups of this process still start below it, so sources
 * of bind mounts stay reachable). The command line's is where the configuration says, because hooks
 * that add to it look there.
 *
 * A configuration without a mount namespace inherits the caller's: then nothing is attached and
 * nothing pivoted, the root is only entered. Its mounts are the caller's to undo.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "kernel/mount.h"
#include "runtime/container/internal.h"

/* overlayfs takes a directory once; what a layer has and hides counts where it is topmost. */
static bool comes_again(const struct bundle *b, size_t at)
{
    for (size_t i = at + 1; i < b->n_layers; i++)
        if (b->layers[i].mount && strcmp(b->layers[i].mount, b->layers[at].mount) == 0)
            return true;
    return false;
}

static int overlay_root(const struct bundle *b, const char *scratch, int user_ns, int *ret_fd,
                        struct error *err)
{
    _cleanup_strv_ char **lower = NULL;
    for (size_t i = 0; i < b->n_layers; i++) {
        if (!b->layers[i].mount)
            return error_invalid(err, "layer %zu of the bundle is not mounted", i);
        if (!comes_again(b, i))
            strv_add(&lower, b->layers[i].mount);
    }
    struct mount_overlay o = {
        .lower = lower,
        .upper = b->upper,
        .work = b->work,
        .scratch = scratch,
        .is_volatile = b->ephemeral,
        .user_ns = user_ns,
    };
    if (b->upper && !b->work)
        return error_invalid(err, "the bundle has an upper directory and no work directory");
    return mount_overlay(&o, ret_fd, err);
}

static char *root_path(const struct container *c)
{
    const char *path = c->config->root_path;
    return path[0] == '/' ? xstrdup(path) : path_join(c->start->bundle, path);
}

static int directory_root(const struct container *c, int *ret_fd, struct error *err)
{
    const char *path = c->config->root_path;
    if (!path || !*path)
        return error_invalid(err, "the configuration has no root");
    _cleanup_free_ char *full = root_path(c);
    bool inherited = !oci_config_namespace(c->config, CLONE_NEWNS);
    int fd = inherited ? open(full, O_PATH | O_DIRECTORY | O_CLOEXEC)
                       : mount_clone(AT_FDCWD, full, true);
    if (fd < 0)
        return error_errno(err, inherited ? errno : fd, "open the root %s", full);
    *ret_fd = fd;
    return 0;
}

int container_make_root(const struct container *c, int user_ns, int *ret_fd, struct error *err)
{
    return c->bundle.n_layers > 0 ? overlay_root(&c->bundle, c->start->bundle, user_ns, ret_fd, err)
                                  : directory_root(c, ret_fd, err);
}

/* Where the root is attached: owned, -errno. The way to where the configuration says may be closed
 * to the root of a user namespace; then it is over the old "/" too. */
static int open_place(const struct container *c)
{
    _cleanup_free_ char *path = c->start->oci ? root_path(c) : NULL;
    int fd = path ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd < 0)
        fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int container_root(struct container *c, struct error *err)
{
    unsigned long old = c->config->linux_.rootfs_propagation;
    if (!oci_config_namespace(c->config, CLONE_NEWNS))
        return container_make_root(c, -EBADF, &c->root, err);
    /* What happens here must never reach the host; what happens on the host only where asked. */
    bool follow = old & (MS_SLAVE | MS_SHARED);
    if (mount(NULL, "/", NULL, (follow ? MS_SLAVE : MS_PRIVATE) | MS_REC, NULL) < 0)
        return error_errno(err, errno, "separate the mounts");
    int r = c->root >= 0 ? 0 : container_make_root(c, -EBADF, &c->root, err);
    if (r < 0)
        return r;
    _cleanup_close_ int place = open_place(c);
    r = place < 0 ? place : mount_attach(c->root, place);
    return r < 0 ? error_errno(err, r, "attach the root") : 0;
}

/* Without a pivot the old root stays below the new one, out of reach of a path, but not of somebody
 * with CAP_SYS_CHROOT: that is why it must be asked for. */
static int enter(bool moved, struct error *err)
{
    if (moved && mount(".", "/", NULL, MS_MOVE, NULL) < 0)
        return error_errno(err, errno, "move the root");
    if (chroot(".") < 0 || chdir("/") < 0)
        return error_errno(err, errno, "enter the root");
    return 0;
}

int container_pivot(struct container *c, struct error *err)
{
    unsigned long propagation = c->config->linux_.rootfs_propagation;
    bool inherited = !oci_config_namespace(c->config, CLONE_NEWNS);
    int r = 0;
    if (fchdir(c->root) < 0)
        return error_errno(err, errno, "change to the root");
    if (inherited || (c->start->oci && !c->start->oci->pivot)) {
        r = enter(!inherited, err);
    } else {
        if (syscall(SYS_pivot_root, ".", ".") < 0)
            return error_errno(err, errno, "change to the root");
        /* The old root now lies on the new one; "." is still the old. */
        if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
            return error_errno(err, errno, "leave the old root");
    }
    struct mount_options o = {.propagation = propagation};
    if (r < 0 || !propagation || inherited)
        return r;
    r = mount_apply(c->root, &o);
    return r < 0 ? error_errno(err, r, "set the propagation of the root") : 0;
}

int container_mount_root(const struct bundle *b, int *ret_rootfd, struct error *err)
{
    if (b->n_layers == 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "the bundle has no layers");
    return overlay_root(b, b->upper ? b->upper : b->layers[0].mount, -EBADF, ret_rootfd, err);
}
