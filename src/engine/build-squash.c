/* --squash: the layers that a build has made become one, so that what one brought and a later one
 * removed is in neither. */
#include <fcntl.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "engine/build-internal.h"
#include "engine/pipeline.h"
#include "kernel/tree.h"

struct squash {
    struct build_stage *s;
    int *dirs; /* the roots of the new layers, the topmost first */
    size_t n;
    struct build_key key;
    struct image_layer layer;
};

static void squash_done(struct squash *q)
{
    for (size_t i = 0; i < q->n; i++)
        close_fd(q->dirs[i]);
    free(q->dirs);
}

static int open_layers(struct squash *q, struct error *err)
{
    struct build_root *root = &q->s->root;
    _cleanup_strv_ char **mounts = NULL;
    int r = build_root_layers(q->s->build, root, &mounts, err);
    if (r < 0)
        return r;
    q->dirs = xcalloc(root->n_layers, sizeof(*q->dirs));
    for (size_t i = root->n_layers; i-- > q->s->n_base;) {
        int fd = open(mounts[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            return error_errno(err, errno, "open %s", mounts[i]);
        q->dirs[q->n++] = fd;
    }
    return 0;
}

static int send_layers(void *context, int fd, struct error *err)
{
    const struct squash *q = context;
    return tree_send_changes(q->dirs, q->n, q->s->build->newest_ns, fd, err);
}

static int make_layer(void *context, int fd, struct error *err)
{
    struct squash *q = context;
    struct build *b = q->s->build;
    return image_build_layer(&b->image, fd, q->key.text, b->created_ns, &q->layer, err);
}

/* One entry of history has the layer; those of the steps have none any more. */
static void rewrite_history(struct build_stage *s)
{
    json_t *entry;
    size_t i, seen = 0;
    json_array_foreach(s->history, i, entry)
    {
        bool empty = json_is_true(json_object_get(entry, "empty_layer"));
        if (!empty && ++seen > s->n_base)
            json_object_set_new(entry, "empty_layer", json_true());
    }
}

static void replace_layers(struct squash *q, int64_t created_ns)
{
    struct build_root *root = &q->s->root;
    build_root_close(root);
    while (root->n_layers > q->s->n_base) {
        struct image_layer *last = &root->layers[--root->n_layers];
        free(last->diff_id);
        free(last->erofs);
    }
    rewrite_history(q->s);
    build_stage_add(q->s, &q->layer, "squashed", created_ns);
}

int build_squash(struct build_stage *s, struct error *err)
{
    _cleanup_(squash_done) struct squash q = {.s = s};
    struct build *b = s->build;
    int64_t created_ns = b->created_ns;
    bool found = false;
    struct sha256 h;
    int r = 0;
    if (s->root.n_layers < s->n_base + 2)
        return 0;
    build_key_begin(&h, s, "SQUASH");
    sha256_add_u64(&h, s->n_base);
    q.key = build_key_end(&h);
    if (!b->o->no_cache)
        r = image_build_cached(&b->image, q.key.text, &q.layer, &created_ns, &found, err);
    if (r == 0 && !found && (r = open_layers(&q, err)) == 0)
        r = pipeline_run(send_layers, make_layer, &q, err);
    if (r < 0)
        return error_prefix(err, "squash");
    replace_layers(&q, created_ns);
    return 0;
}
