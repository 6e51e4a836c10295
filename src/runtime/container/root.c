/*
 * The root: an overlay of the bundle's layers, or the directory root.path. It is made detached,
 * laid over the old "/" (lookups of this process still start below it, so sources of bind mounts
 * stay reachable), filled, and made the root at the end.
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

static int overlay_root(const struct bundle *b, const char *scratch, int user_ns, int *ret_fd,
                        struct error *err)
{
    _cleanup_strv_ char **lower = NULL;
    for (size_t i = 0; i < b->n_layers; i++) {
        if (!b->layers[i].mount)
            return error_invalid(err, "layer %zu of the bundle is not mounted", i);
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

static int directory_root(const struct container *c, int *ret_fd, struct error *err)
{
    const char *path = c->config->root_path;
    if (!path || !*path)
        return error_invalid(err, "the configuration has no root");
    _cleanup_free_ char *full = path[0] == '/' ? xstrdup(path) : path_join(c->start->bundle, path);
    int fd = mount_clone(AT_FDCWD, full, true);
    if (fd < 0)
        return error_errno(err, fd, "open the root %s", full);
    *ret_fd = fd;
    return 0;
}

int container_make_root(const struct container *c, int user_ns, int *ret_fd, struct error *err)
{
    return c->bundle.n_layers > 0 ? overlay_root(&c->bundle, c->start->bundle, user_ns, ret_fd, err)
                                  : directory_root(c, ret_fd, err);
}

int container_root(struct container *c, struct error *err)
{
    unsigned long old = c->config->linux_.rootfs_propagation;
    /* What happens here must never reach the host; what happens on the host only where asked. */
    bool follow = old & (MS_SLAVE | MS_SHARED);
    if (mount(NULL, "/", NULL, (follow ? MS_SLAVE : MS_PRIVATE) | MS_REC, NULL) < 0)
        return error_errno(err, errno, "separate the mounts");
    int r = c->root >= 0 ? 0 : container_make_root(c, -EBADF, &c->root, err);
    if (r < 0)
        return r;
    _cleanup_close_ int slash = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    r = slash < 0 ? -errno : mount_attach(c->root, slash);
    return r < 0 ? error_errno(err, r, "attach the root") : 0;
}

int container_pivot(struct container *c, struct error *err)
{
    unsigned long propagation = c->config->linux_.rootfs_propagation;
    if (fchdir(c->root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
        return error_errno(err, errno, "change to the root");
    /* The old root now lies on the new one; "." is still the old. */
    if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return error_errno(err, errno, "leave the old root");
    struct mount_options o = {.propagation = propagation};
    int r = propagation ? mount_apply(c->root, &o) : 0;
    return r < 0 ? error_errno(err, r, "set the propagation of the root") : 0;
}

int container_mount_root(const struct bundle *b, int *ret_rootfd, struct error *err)
{
    if (b->n_layers == 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "the bundle has no layers");
    return overlay_root(b, b->upper ? b->upper : b->layers[0].mount, -EBADF, ret_rootfd, err);
}
