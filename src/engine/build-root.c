/*
 * The private mount namespace of a build, and the roots in it: of stages, and of images that are
 * copied from. It is made when the first is wanted; a build that finds everything in the cache
 * never has one. All mounts are below one tmpfs in the work directory, which also holds secrets:
 * nothing of it is ever on a disk, and the kernel takes it away with the process.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/build-internal.h"
#include "kernel/mount.h"

/* What was opened before belongs to the old namespace, from which nothing can be bound. */
static int reopen_context(struct build *b, struct error *err)
{
    struct stat before, now;
    if (b->context.fd < 0)
        return 0;
    _cleanup_close_ int fd = open(b->o->context, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &now) < 0 || fstat(b->context.fd, &before) < 0)
        return error_errno(err, errno, "context %s", b->o->context);
    if (now.st_dev != before.st_dev || now.st_ino != before.st_ino)
        return error_set(err, ERROR_CONFLICT, ESTALE, "context %s: it was replaced meanwhile",
                         b->o->context);
    close_fd(b->context.fd);
    b->context.fd = TAKE_FD(fd);
    return 0;
}

int build_namespace(struct build *b, struct error *err)
{
    if (b->mounts)
        return 0;
    _cleanup_free_ char *path = path_join(b->image.work, "mounts");
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return error_errno(err, errno, "make a mount namespace for the build");
    int r = image_build_reopen(&b->image, err);
    if (r < 0 || (r = reopen_context(b, err)) < 0)
        return r;
    if (mkdir(path, 0700) < 0 ||
        mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=700") < 0)
        return error_errno(err, errno, "mount a tmpfs on %s", path);
    b->mounts = TAKE_PTR(path);
    return 0;
}

int build_mount_point(struct build *b, bool directory, char **ret, struct error *err)
{
    int r = build_namespace(b, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *path = xasprintf("%s/%u", b->mounts, b->n_mounts++);
    if (directory)
        r = mkdir(path, 0755) < 0 ? -errno : 0;
    else
        r = mknod(path, S_IFREG | 0600, 0) < 0 ? -errno : 0;
    if (r < 0)
        return error_errno(err, r, "make %s", path);
    *ret = TAKE_PTR(path);
    return 0;
}

int build_root_layers(struct build *b, struct build_root *r, char ***ret, struct error *err)
{
    const struct image layers = {.layers = r->layers, .n_layers = r->n_layers};
    int rc = build_namespace(b, err);
    return rc < 0 ? rc : image_mount_layers(b->e->store, &layers, ret, err);
}

/* An overlay of the layers over the directory at path. */
static int mount_layers(struct build *b, struct build_root *r, const char *path, struct error *err)
{
    _cleanup_strv_ char **lower = NULL;
    _cleanup_close_ int fd = -EBADF, target = -EBADF;
    int rc = build_root_layers(b, r, &lower, err);
    const struct mount_overlay o = {.lower = lower, .scratch = path, .user_ns = -EBADF};
    if (rc < 0 || (rc = mount_overlay(&o, &fd, err)) < 0)
        return rc;
    target = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if ((rc = target < 0 ? -errno : 0) < 0 ||
        (rc = mount_set(fd, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV, 0, false)) < 0 ||
        (rc = mount_attach(fd, target)) < 0)
        return error_errno(err, rc, "mount the layers");
    return 0;
}

int build_root_open(struct build *b, struct build_root *r, struct error *err)
{
    _cleanup_free_ char *path = NULL;
    if (r->fd >= 0)
        return 0;
    int rc = build_mount_point(b, true, &path, err);
    if (rc == 0 && r->n_layers > 0)
        rc = mount_layers(b, r, path, err);
    if (rc < 0)
        return rc;
    r->fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (r->fd < 0)
        return error_errno(err, errno, "open %s", path);
    r->path = TAKE_PTR(path);
    return 0;
}

void build_root_close(struct build_root *r)
{
    r->fd = close_fd(r->fd);
    if (r->path)
        umount2(r->path, MNT_DETACH | UMOUNT_NOFOLLOW);
    free(r->path);
    r->path = NULL;
}

void build_root_done(struct build_root *r)
{
    build_root_close(r);
    for (size_t i = 0; i < r->n_layers; i++) {
        free(r->layers[i].diff_id);
        free(r->layers[i].erofs);
    }
    free(r->layers);
    free(r->name);
    *r = (struct build_root){.fd = -EBADF};
}

void build_root_copy_layers(struct build_root *to, const struct image_layer *layers, size_t n)
{
    to->layers = xreallocarray(to->layers, to->n_layers + n + 1, sizeof(*to->layers));
    for (size_t i = 0; i < n; i++)
        to->layers[to->n_layers++] = (struct image_layer){
            xstrdup(layers[i].diff_id), xstrdup(layers[i].erofs), layers[i].bytes};
}

static int add_image(struct build *b, const char *name, struct build_root **ret, struct error *err)
{
    _cleanup_image_ struct image *image = NULL;
    int r = build_image_find(b, name, &image, err);
    if (r < 0)
        return r;
    b->images = xreallocarray(b->images, b->n_images + 1, sizeof(*b->images));
    struct build_root *root = &b->images[b->n_images++];
    *root = (struct build_root){.name = xstrdup(name), .fd = -EBADF};
    build_root_copy_layers(root, image->layers, image->n_layers);
    *ret = root;
    return 0;
}

/* A stage by its name or number, or an image. */
int build_root_from(struct build_stage *s, const char *name, struct build_root **ret,
                    struct error *err)
{
    struct build *b = s->build;
    struct build_stage *stage = build_find_stage(b, name, s->index);
    if (stage) {
        *ret = &stage->root;
        return 0;
    }
    for (size_t i = 0; i < b->n_images; i++)
        if (strcmp(b->images[i].name, name) == 0) {
            *ret = &b->images[i];
            return 0;
        }
    return add_image(b, name, ret, err);
}
