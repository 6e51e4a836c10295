/*
 * Layers as directories, ROOT/layers/HEX.tree, for who may not mount their EROFS: an ordinary user
 * in a namespace of its own. proa-layer, which has no privilege, reads the file and says what is in
 * it; this process makes it, below one open directory, in a work directory first. Renamed into its
 * place it is whole, and nobody changes it any more.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/process.h"
#include "kernel/tree.h"
#include "service/image/internal.h"

bool image_layers_are_mounted(void)
{
    return process_is_host_root();
}

/* The helper's own words, once it has written everything or found out that nobody reads. */
static int finish(struct image_helper_child *child, struct error *err)
{
    _cleanup_json_ json_t *result = NULL;
    int r = 0;
    while (r == 0) {
        struct pollfd fds[] = {{child->out_fd, POLLIN, 0}, {child->err_fd, POLLIN, 0}};
        if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
            r = error_errno(err, errno, "wait for proa-layer");
        else
            r = image_helper_read(child, err);
    }
    if (r < 0) {
        image_helper_abandon(child);
        return r;
    }
    return image_helper_finish(child, &result, err);
}

/* What went wrong first is the better reason: a helper that finds something tells why, and the
 * stream that was cut off thereby does not. */
static int fill(int erofs, int dir, struct error *err)
{
    struct image_helper_child child = IMAGE_HELPER_CHILD_INIT;
    struct error why = ERROR_INIT;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    _cleanup_close_ int from = ends[0], to = ends[1];
    struct image_helper h = {.command = "unpack", .in = erofs, .out = to};
    int r = image_helper_start(&h, &child, err);
    if (r < 0)
        return r;
    to = close_fd(to);
    int received = tree_receive_layer(dir, process_is_only_user(), from, &why);
    from = close_fd(from);
    r = finish(&child, err);
    if (received < 0 && (r == 0 || why.kind != ERROR_CORRUPT)) {
        if (err)
            *err = why;
        return received;
    }
    return r;
}

int image_unpack(const char *file, int parent, const char *name, struct error *err)
{
    _cleanup_close_ int erofs = open(file, O_RDONLY | O_CLOEXEC), dir = -EBADF;
    if (erofs < 0)
        return error_errno(err, errno, "open %s", file);
    if (mkdirat(parent, name, 0755) < 0)
        return error_errno(err, errno, "make a directory for a layer");
    dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return error_errno(err, errno, "open a layer's directory");
    /* No command's umask is the layer's. */
    if (fchmod(dir, 0755) < 0)
        return error_errno(err, errno, "make a directory for a layer");
    return fill(erofs, dir, err);
}

int image_unpack_layer(struct store *s, const char *hex, const char *file, struct error *err)
{
    _cleanup_work_ struct image_work work = {.fd = -EBADF};
    _cleanup_free_ char *name = xasprintf("%s" IMAGE_TREE, hex);
    _cleanup_close_ int layers = image_open_dir(s, "layers", err);
    if (layers < 0)
        return layers;
    if (faccessat(layers, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    int r = image_work_begin(s, &work, err);
    if (r == 0)
        r = image_unpack(file, work.fd, name, err);
    if (r < 0)
        return error_prefix(err, "unpack layer %.12s", hex);
    /* Another command may have been faster: then ours goes with the work directory. */
    if (renameat(work.fd, name, layers, name) < 0 && errno != ENOTEMPTY && errno != EEXIST)
        return error_errno(err, errno, "put layer %.12s into its place", hex);
    return 0;
}

int image_layer_hold(const char *tree, int *ret_fd, struct error *err)
{
    _cleanup_close_ int fd = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_SH) < 0)
        return error_errno(err, errno, "use the layer %s", tree);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* Out of its place whole, as it came: half a layer must never look like one. */
int image_remove_tree(struct store *s, const char *hex)
{
    _cleanup_work_ struct image_work work = {.fd = -EBADF};
    _cleanup_free_ char *name = xasprintf("%s" IMAGE_TREE, hex);
    _cleanup_close_ int layers = image_open_dir(s, "layers", NULL), tree = -EBADF;
    if (layers < 0)
        return layers;
    tree = openat(layers, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (tree < 0)
        return errno == ENOENT ? 0 : -errno;
    if (flock(tree, LOCK_EX | LOCK_NB) < 0)
        return -EBUSY;
    int r = image_work_begin(s, &work, NULL);
    if (r == 0 && renameat(layers, name, work.fd, name) < 0)
        r = -errno;
    return r;
}
