#include "service/image/commit.h"

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/image/internal.h"
#include "wire/image/digest.h"

struct image_commit {
    struct image_work work;
    struct image_draft draft;
    char *parent; /* its configuration */
};

void image_commit_free(struct image_commit *c)
{
    if (!c)
        return;
    image_draft_done(&c->draft);
    image_work_end(&c->work);
    free(c->parent);
    free(c);
}

static void take_layers(struct store_image *row, const struct image *parent)
{
    row->layers = xcalloc(parent->n_layers + 1, sizeof(*row->layers));
    for (size_t i = 0; i < parent->n_layers; i++)
        row->layers[row->n_layers++] = (struct store_layer){
            .diff_id = xstrdup(parent->layers[i].diff_id),
            .bytes = parent->layers[i].bytes,
            .tar_bytes = parent->layers[i].tar_bytes,
        };
}

int image_commit_begin(struct store *s, const struct image *parent, struct image_commit **ret,
                       struct error *err)
{
    struct image_commit *c = xnew(struct image_commit);
    c->work.fd = -EBADF;
    int r = image_work_begin(s, &c->work, err);
    if (r < 0) {
        image_commit_free(c);
        return r;
    }
    c->draft.work = &c->work;
    c->parent = xstrdup(parent->config_json);
    c->draft.row.architecture = xstrdup(parent->architecture);
    c->draft.row.os = xstrdup(parent->os);
    take_layers(&c->draft.row, parent);
    *ret = c;
    return 0;
}

int image_commit_layer(struct image_commit *c, int tar_fd, struct error *err)
{
    struct image_helper source = {.in = tar_fd, .need_end = true};
    return image_draft_layer(&c->draft, &source, NULL, NULL, err);
}

static int make_config(const char *parent, const char *diff_id, const struct image_commit_as *as,
                       int64_t now, char **ret, struct error *err)
{
    struct image_config_new n = {
        .parent = parent,
        .diff_id = diff_id,
        .created_by = as->created_by ? as->created_by : "proa commit",
        .author = as->author,
        .message = as->message,
        .changes = as->changes,
        .created_ns = now,
    };
    return image_config_make(&n, ret, err);
}

int image_commit_check(const struct image *parent, const struct image_commit_as *as,
                       struct error *err)
{
    _cleanup_free_ char *unused = NULL, *name = NULL;
    int r = as->name ? image_name_parse(as->name, &name, err) : 0;
    return r < 0 ? r : make_config(parent->config_json, DIGEST_PREFIX, as, 0, &unused, err);
}

int image_commit_finish(struct image_commit *c, const struct image_commit_as *as, char **ret_id,
                        struct error *err)
{
    struct store_image *row = &c->draft.row;
    _cleanup_free_ char *config = NULL, *name = NULL;
    int r = as->name ? image_name_parse(as->name, &name, err) : 0;
    if (r < 0)
        return r;
    row->created_ns = time_now_ns();
    const char *diff_id = row->layers[row->n_layers - 1].diff_id;
    if ((r = make_config(c->parent, diff_id, as, row->created_ns, &config, err)) < 0)
        return r;
    row->id = image_text_digest(config, strlen(config));
    if ((r = image_draft_blob(&c->draft, row->id, config, strlen(config), err)) < 0)
        return r;
    if (name)
        strv_add(&row->names, name);
    if ((r = image_draft_publish(&c->draft, err)) < 0)
        return r;
    *ret_id = xstrdup(row->id);
    return 0;
}
