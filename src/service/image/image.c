/* Finding images, and what is known of one: the store's row joined with its configuration. */
#include "service/image/image.h"

#include <fcntl.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/strv.h"
#include "service/image/internal.h"
#include "service/store/disk.h"
#include "service/store/registry.h"
#include "wire/image/digest.h"
#include "wire/registry/reference.h"

#define ID_PREFIX_MIN 4

void image_free(struct image *i)
{
    if (!i)
        return;
    char **vectors[] = {i->names, i->digests,       i->entrypoint, i->cmd,
                        i->env,   i->exposed_ports, i->volumes,    i->labels};
    for (size_t n = 0; n < ARRAY_SIZE(vectors); n++)
        strv_free(vectors[n]);
    for (size_t n = 0; n < i->n_layers; n++) {
        free(i->layers[n].diff_id);
        free(i->layers[n].erofs);
    }
    free(i->layers);
    free(i->id);
    free(i->manifest);
    free(i->architecture);
    free(i->os);
    free(i->user);
    free(i->working_dir);
    free(i->stop_signal);
    free(i->config_json);
    free(i);
}

void image_list_free(struct image **list)
{
    for (size_t i = 0; list && list[i]; i++)
        image_free(list[i]);
    free(list);
}

const char *image_kind_name(enum image_kind kind)
{
    return kind == IMAGE_DISK ? "disk" : "application";
}

int image_need_kind(const struct image *i, enum image_kind kind, struct error *err)
{
    static const char *const what[] = {
        [IMAGE_APPLICATION] = "an application image", [IMAGE_DISK] = "a disk image"};
    if (i->kind == kind)
        return 0;
    return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "image %.200s is %s, not %s",
                     i->names && i->names[0] ? i->names[0] : i->id, what[i->kind], what[kind]);
}

static void take_config(struct image *i, struct image_config *c)
{
    i->entrypoint = TAKE_PTR(c->entrypoint);
    i->cmd = TAKE_PTR(c->cmd);
    i->env = TAKE_PTR(c->env);
    i->exposed_ports = TAKE_PTR(c->exposed_ports);
    i->volumes = TAKE_PTR(c->volumes);
    i->labels = TAKE_PTR(c->labels);
    i->user = TAKE_PTR(c->user);
    i->working_dir = TAKE_PTR(c->working_dir);
    i->stop_signal = TAKE_PTR(c->stop_signal);
}

static int read_config(struct store *s, struct image *i, struct error *err)
{
    _cleanup_(image_config_done) struct image_config c = {0};
    _cleanup_free_ char *path = xasprintf("%s/blobs/sha256/%s", s->root, digest_hex(i->id));
    int r = file_read(AT_FDCWD, path, JSON_MAX_BYTES, &i->config_json);
    if (r < 0)
        return error_errno(err, r, "read %s", path);
    if (i->kind == IMAGE_DISK) /* it speaks of chunks only */
        return 0;
    if ((r = image_config_parse(i->config_json, strlen(i->config_json), &c, err)) < 0)
        return r;
    take_config(i, &c);
    return 0;
}

static int add_disk(struct store *s, struct image *i, struct error *err)
{
    bool found = false;
    uint64_t bytes = 0;
    int r = store_disk_get(s, i->id, &found, &i->disk_bytes, &bytes, err);
    if (r < 0 || !found)
        return r;
    i->kind = IMAGE_DISK;
    i->bytes = bytes;
    return 0;
}

/* Takes what it uses out of the row. */
static int from_row(struct store *s, struct store_image *row, struct image **ret, struct error *err)
{
    _cleanup_image_ struct image *i = xnew(struct image);
    i->id = TAKE_PTR(row->id);
    i->names = TAKE_PTR(row->names);
    i->manifest = TAKE_PTR(row->manifest);
    i->architecture = TAKE_PTR(row->architecture);
    i->os = TAKE_PTR(row->os);
    i->created_ns = row->created_ns;
    i->layers = xcalloc(row->n_layers, sizeof(*i->layers));
    i->n_layers = row->n_layers;
    for (size_t n = 0; n < row->n_layers; n++) {
        struct image_layer *l = &i->layers[n];
        l->diff_id = TAKE_PTR(row->layers[n].diff_id);
        l->bytes = row->layers[n].bytes;
        l->tar_bytes = row->layers[n].tar_bytes;
        l->erofs = xasprintf("%s/layers/%s.erofs", s->root, digest_hex(l->diff_id));
        i->bytes += l->bytes;
    }
    int r = store_digest_list(s, i->id, &i->digests, err);
    if (r < 0 || (r = add_disk(s, i, err)) < 0 || (r = read_config(s, i, err)) < 0)
        return r;
    *ret = TAKE_PTR(i);
    return 0;
}

/* "repository@sha256:...", as pulled. A tag between them is not looked at. */
static int find_by_digest(struct store *s, const char *text, struct store_image *ret,
                          struct error *err)
{
    _cleanup_(reference_done) struct reference ref = {0};
    _cleanup_free_ char *repository = NULL, *id = NULL;
    int r = reference_parse(text, &ref, err);
    if (r < 0)
        return r;
    repository = reference_store_name(&ref, NULL);
    if ((r = store_digest_find(s, repository, ref.digest, NULL, &id, err)) < 0)
        return r;
    if (!id)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "no such image: %.200s", text);
    return store_image_by_id(s, id, ret, err);
}

static int find_row(struct store *s, const char *reference, struct store_image *ret,
                    struct error *err)
{
    _cleanup_free_ char *name = NULL;
    struct error not_a_name = ERROR_INIT;
    bool full = strncmp(reference, DIGEST_PREFIX, strlen(DIGEST_PREFIX)) == 0;
    const char *hex = full ? strchr(reference, ':') + 1 : reference;
    size_t len = strlen(hex);
    bool may_be_id = len >= ID_PREFIX_MIN && len <= 64 && is_hex(hex, len);
    int r = -ENOENT;
    if (!full && strchr(reference, '@'))
        return find_by_digest(s, reference, ret, err);
    if (!full) {
        r = image_name_parse(reference, &name, &not_a_name);
        if (r == 0)
            r = store_image_by_name(s, name, ret, err);
        else if (!may_be_id)
            return error_set(err, not_a_name.kind, not_a_name.code, "%s", not_a_name.msg);
    }
    if (r == -ENOENT && may_be_id) {
        _cleanup_free_ char *prefix = xasprintf(DIGEST_PREFIX "%s", hex);
        r = store_image_by_id(s, prefix, ret, err);
    }
    if (r == -ENOENT)
        return error_set(err, ERROR_NOT_FOUND, ENOENT,
                         "no such image: %.200s; see `proa images`, or get it with `proa pull`, "
                         "`proa load` or `proa import`",
                         name ? name : reference);
    return r;
}

int image_find(struct store *s, const char *reference, struct image **ret, struct error *err)
{
    _cleanup_(store_image_done) struct store_image row = {0};
    int r = find_row(s, reference, &row, err);
    return r < 0 ? r : from_row(s, &row, ret, err);
}

int image_list(struct store *s, struct image ***ret, struct error *err)
{
    struct store_image *rows = NULL;
    size_t n = 0;
    int r = store_image_list(s, &rows, err);
    if (r < 0)
        return r;
    while (rows[n].id)
        n++;
    struct image **list = xcalloc(n + 1, sizeof(*list));
    size_t kept = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        r = from_row(s, &rows[i], &list[kept], err);
        if (r == 0)
            kept++;
        else if (r == -ENOENT) /* removed since its row was read */
            r = 0;
    }
    for (size_t i = 0; i < n; i++)
        store_image_done(&rows[i]);
    free(rows);
    if (r < 0)
        image_list_free(list);
    else
        *ret = list;
    return r;
}

int image_tag(struct store *s, const char *reference, const char *name, struct error *err)
{
    _cleanup_(store_image_done) struct store_image row = {0};
    _cleanup_free_ char *canonical = NULL;
    int r = image_name_parse(name, &canonical, err);
    if (r < 0 || (r = store_begin(s, err)) < 0)
        return r;
    r = find_row(s, reference, &row, err);
    if (r == 0)
        r = store_image_set_name(s, row.id, canonical, err);
    int ended = store_end(s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : ended;
}
