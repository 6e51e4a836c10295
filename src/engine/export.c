/*
 * export. A container's root is assembled once more, read-only: its image's layers with its own on
 * top. So nothing that is mounted into it is seen, and a running one is not touched. A machine's
 * own layer is on a disk that only its kernel reads, so its agent sends the root.
 */
#include <fcntl.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "engine/archive.h"
#include "engine/engine-internal.h"
#include "runtime/container/container.h"

int image_open_root(struct engine *e, const struct image *image, size_t n_layers, const char *upper,
                    int *ret_fd, struct error *err)
{
    _cleanup_strv_ char **mounts = NULL;
    _cleanup_(bundle_done) struct bundle b;
    bundle_init(&b);
    int r = image_mount_layers(e->store, image, &mounts, err);
    if (r < 0)
        return r;
    b.layers = xcalloc(n_layers + 1, sizeof(*b.layers));
    for (size_t i = 0; i < n_layers; i++)
        b.layers[b.n_layers++].mount = xstrdup(mounts[i]);
    if (upper)
        b.layers[b.n_layers++].mount = xstrdup(upper);
    return container_mount_root(&b, ret_fd, err);
}

int subject_needs_agent(const struct subject *s, struct error *err)
{
    if (s->record.kind != RUNTIME_VM || s->status.alive)
        return 0;
    return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                     "machine %s is stopped and its disk is read by its own kernel only: start "
                     "it first (proa start %s)",
                     s->record.name, s->record.name);
}

int subject_needs_tree(const struct subject *s, struct error *err)
{
    if (s->options.firmware) /* which every machine that boots a disk has, and no other */
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "machine %s boots a disk, and its files are in there: proa snapshot keeps "
                         "it, proa cp copies files",
                         s->record.name);
    return subject_needs_agent(s, err);
}

static int export_container(struct engine *e, struct subject *s, int fd, struct error *err)
{
    _cleanup_image_ struct image *image = NULL;
    _cleanup_close_ int root = -EBADF;
    _cleanup_free_ char *upper = path_join(s->bundle, "upper");
    int r;
    if ((r = image_find(e->store, s->record.image_id, &image, err)) < 0 ||
        (r = image_open_root(e, image, image->n_layers, upper, &root, err)) < 0)
        return r;
    subject_unlock(s); /* a long export must not hold up a stop */
    return tree_send_all(root, TREE_EXPORT, fd, err);
}

int engine_export(struct engine *e, const char *reference, int fd, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    int r = subject_open(e, reference, SUBJECT_LOCKED, &s, err);
    if (r < 0 || (r = subject_needs_tree(&s, err)) < 0)
        return r;
    if (s.record.kind == RUNTIME_CONTAINER)
        return export_container(e, &s, fd, err);
    subject_unlock(&s);
    return subject_ops(&s)->send_tree(&s.target, TREE_EXPORT, fd, err);
}
