/*
 * Layers on the host: RUN/layers/HEX, mounted once and used by all containers. EROFS is mounted
 * straight from the file where the kernel can (6.12 and later), otherwise from a loop device that
 * goes away with the mount.
 *
 * An ordinary user may mount neither: its layers are unpacked (unpack.c).
 *
 * RUN/layers itself is locked while something is mounted or unmounted there; that a directory is a
 * mount point already is seen without the lock, which is the case that every start but the first
 * meets. Only layers of images that no instance is made from are unmounted, and a plain umount
 * refuses what is busy.
 */
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "service/image/build.h"
#include "service/image/internal.h"
#include "wire/image/digest.h"

#define LOOP_TRIES 64

static int lock_layers(struct store *s, struct error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/layers", s->run);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && mkdir(path, 0700) == 0)
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX) < 0)
        return error_errno(err, errno, "lock %s", path);
    return TAKE_FD(fd);
}

static bool is_mounted(int dirfd, const char *path)
{
    struct statx st;
    return statx(dirfd, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &st) == 0 &&
           (st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* A detached mount of an EROFS source, or -errno. */
static int mount_erofs(const char *source)
{
    _cleanup_close_ int fs = fsopen("erofs", FSOPEN_CLOEXEC);
    if (fs < 0)
        return -errno;
    if (fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0) < 0 ||
        fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 ||
        fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -errno;
    int fd = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV);
    return fd < 0 ? -errno : fd;
}

/* A free loop device over the file; the device frees itself when its last user is gone. */
static int open_loop(int file, char **ret_path, struct error *err)
{
    struct loop_config config = {
        .fd = (uint32_t)file,
        .block_size = 4096,
        .info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
    };
    _cleanup_close_ int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0)
        return error_errno(err, errno, "open /dev/loop-control");
    for (int tries = 0; tries < LOOP_TRIES; tries++) {
        int n = ioctl(control, LOOP_CTL_GET_FREE);
        if (n < 0)
            return error_errno(err, errno, "find a free loop device");
        _cleanup_free_ char *path = xasprintf("/dev/loop%d", n);
        _cleanup_close_ int loop = open(path, O_RDONLY | O_CLOEXEC);
        if (loop < 0)
            return error_errno(err, errno, "open %s", path);
        if (ioctl(loop, LOOP_CONFIGURE, &config) == 0) {
            *ret_path = TAKE_PTR(path);
            return TAKE_FD(loop);
        }
        if (errno != EBUSY) /* somebody else was faster */
            return error_errno(err, errno, "set up %s", path);
    }
    return error_set(err, ERROR_CONFLICT, EBUSY, "no loop device stays free long enough");
}

static int mount_by_loop(const char *file, struct error *err)
{
    _cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, "open %s", file);
    _cleanup_free_ char *device = NULL;
    _cleanup_close_ int loop = open_loop(fd, &device, err);
    if (loop < 0)
        return loop;
    int r = mount_erofs(device);
    if (r == -ENODEV)
        return error_set(err, ERROR_UNSUPPORTED, ENODEV, "this kernel has no EROFS");
    return r < 0 ? error_errno(err, r, "mount %s", file) : r;
}

int image_layer_mount(const char *file, struct error *err)
{
    int fd = mount_erofs(file);
    if (fd >= 0 || fd == -ENOENT || fd == -EPERM)
        return fd >= 0 ? fd : error_errno(err, fd, "mount %s", file);
    return mount_by_loop(file, err); /* ENOTBLK from kernels that want a device, and the like */
}

/* The lock is held. */
static int mount_layer(int layers, const char *hex, const char *file, struct error *err)
{
    if (is_mounted(layers, hex))
        return 0;
    if (mkdirat(layers, hex, 0700) < 0 && errno != EEXIST)
        return error_errno(err, errno, "create a mount point");
    _cleanup_close_ int fd = image_layer_mount(file, err);
    if (fd < 0)
        return fd;
    if (move_mount(fd, "", layers, hex, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return error_errno(err, errno, "mount layer %.12s", hex);
    return 0;
}

static int unpack_layers(struct store *s, const struct image *image, char ***ret_trees,
                         struct error *err)
{
    _cleanup_strv_ char **trees = strv_copy(NULL);
    for (size_t i = 0; i < image->n_layers; i++) {
        const struct image_layer *l = &image->layers[i];
        const char *hex = digest_hex(l->diff_id);
        strv_addf(&trees, "%s/layers/%s" IMAGE_TREE, s->root, hex);
        int r = access(trees[i], F_OK) == 0 ? 0 : image_unpack_layer(s, hex, l->erofs, err);
        if (r < 0)
            return r;
    }
    *ret_trees = TAKE_PTR(trees);
    return 0;
}

int image_mount_layers(struct store *s, const struct image *image, char ***ret_mounts,
                       struct error *err)
{
    _cleanup_strv_ char **mounts = strv_copy(NULL);
    _cleanup_close_ int layers = -EBADF;
    if (!image_layers_are_mounted())
        return unpack_layers(s, image, ret_mounts, err);
    for (size_t i = 0; i < image->n_layers; i++) {
        const struct image_layer *l = &image->layers[i];
        const char *hex = digest_hex(l->diff_id);
        strv_addf(&mounts, "%s/layers/%s", s->run, hex);
        if (is_mounted(AT_FDCWD, mounts[i]))
            continue;
        if (layers < 0 && (layers = lock_layers(s, err)) < 0)
            return layers;
        int r = mount_layer(layers, hex, l->erofs, err);
        if (r < 0)
            return r;
    }
    *ret_mounts = TAKE_PTR(mounts);
    return 0;
}

int image_unmount_layer(struct store *s, const char *hex)
{
    _cleanup_free_ char *path = xasprintf("%s/layers/%s", s->run, hex);
    if (!image_layers_are_mounted())
        return image_remove_tree(s, hex);
    if (access(path, F_OK) < 0)
        return 0;
    _cleanup_close_ int layers = lock_layers(s, NULL);
    if (layers < 0)
        return layers;
    if (is_mounted(layers, hex) && umount2(path, UMOUNT_NOFOLLOW) < 0)
        return -errno;
    return unlinkat(layers, hex, AT_REMOVEDIR) < 0 ? -errno : 0;
}
