/*
 * From a work directory into the store. Everything is made and checked in the work directory first;
 * then, inside one write transaction of the database, the files are renamed into their places and
 * the rows are added. Files of layers and blobs are moved in and removed only inside such a
 * transaction (here, remove.c, repair.c), so no command removes what another one just found. A kill
 * before the commit leaves files without rows, which repair.c removes.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/strv.h"
#include "service/image/internal.h"
#include "service/store/build.h"
#include "wire/image/digest.h"

void image_draft_done(struct image_draft *d)
{
    store_image_done(&d->row);
}

/* A layer's files, in ROOT/layers and in a work directory; the file system comes last, so that it
 * is there only with what gives its tar back. */
static const char *const endings[] = {"split", "erofs"};

void image_draft_add(struct image_draft *d, const struct store_layer *l)
{
    struct store_image *i = &d->row;
    i->layers = xreallocarray(i->layers, i->n_layers + 1, sizeof(*i->layers));
    i->layers[i->n_layers] = *l;
    i->layers[i->n_layers++].diff_id = xstrdup(l->diff_id);
}

int image_check_layer(const json_t *result, const char *expected, const char *expected_archive,
                      struct store_layer *ret, struct error *err)
{
    const char *diff_id = NULL, *archive = NULL, *what = "proa-layer";
    int64_t bytes = 0, tar_bytes = 0;
    int r;
    if ((r = json_get_string(result, what, "diff_id", &diff_id, err)) < 0 ||
        (r = json_get_string(result, what, "digest", &archive, err)) < 0 ||
        (r = json_get_i64(result, what, "erofs_bytes", &bytes, err)) < 0 ||
        (r = json_get_i64(result, what, "tar_bytes", &tar_bytes, err)) < 0)
        return r;
    if (!digest_valid(diff_id) || !digest_valid(archive))
        return error_set(err, ERROR_SYSTEM, EIO, "proa-layer gives no digest");
    if (expected_archive && strcmp(expected_archive, archive) != 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "it should be %s but is %s", expected_archive,
                         archive);
    if (expected && strcmp(expected, diff_id) != 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "unpacked it should be %s but is %s",
                         expected, diff_id);
    *ret = (struct store_layer){
        .diff_id = xstrdup(diff_id),
        .bytes = (uint64_t)bytes,
        .tar_bytes = (uint64_t)tar_bytes,
    };
    return 0;
}

static int open_new(struct image_draft *d, const char *name, struct error *err)
{
    int fd = openat(d->work->fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0400);
    return fd < 0 ? error_errno(err, errno, "create a file in %s/tmp", d->work->store->root) : fd;
}

static int name_new(struct image_draft *d, const char *diff_id, struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
        _cleanup_free_ char *from = xasprintf("new.%s", endings[i]);
        _cleanup_free_ char *to = xasprintf("%s.%s", digest_hex(diff_id), endings[i]);
        if (renameat(d->work->fd, from, d->work->fd, to) < 0)
            return error_errno(err, errno, "rename a layer");
    }
    return 0;
}

int image_draft_layer(struct image_draft *d, const struct image_helper *source,
                      const char *expected, const char *expected_archive, struct error *err)
{
    _cleanup_json_ json_t *result = NULL;
    struct image_helper h = *source;
    struct store_layer layer = {0};
    _cleanup_close_ int out = open_new(d, "new.erofs", err);
    if (out < 0)
        return out;
    _cleanup_close_ int split = open_new(d, "new.split", err);
    if (split < 0)
        return split;
    h.command = "convert";
    h.out = out;
    h.has_split = true;
    h.split = split;
    int r = image_helper_run(&h, &result, err);
    if (r == 0)
        r = image_check_layer(result, expected, expected_archive, &layer, err);
    if (r < 0) {
        unlinkat(d->work->fd, "new.erofs", 0);
        unlinkat(d->work->fd, "new.split", 0);
        return r;
    }
    r = name_new(d, layer.diff_id, err);
    if (r == 0)
        image_draft_add(d, &layer);
    free(layer.diff_id);
    return r;
}

/* A layer that the store has under its diff id is not read again. */
int image_draft_known(struct image_draft *d, const char *diff_id, bool *ret_known,
                      struct error *err)
{
    uint64_t bytes = 0;
    int r = image_layer_known(d->work->store, diff_id, ret_known, &bytes, err);
    if (r == 0 && *ret_known) {
        struct store_layer l = {.diff_id = (char *)diff_id, .bytes = bytes};
        image_draft_add(d, &l);
    }
    return r;
}

int image_draft_config(struct image_draft *d, const char *digest, const char *text, size_t len,
                       size_t n_layers, char ***ret_diff_ids, struct error *err)
{
    _cleanup_(image_config_done) struct image_config c = {0};
    int r = image_config_parse(text, len, &c, err);
    if (r < 0)
        return r;
    if (strcmp(c.os, "linux") != 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "the image is for %.40s, not for linux", c.os);
    if (strv_len(c.diff_ids) != n_layers)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "the configuration has %zu layers, the manifest %zu", strv_len(c.diff_ids),
                         n_layers);
    d->row.id = xstrdup(digest);
    d->row.architecture = TAKE_PTR(c.architecture);
    d->row.os = TAKE_PTR(c.os);
    d->row.variant = TAKE_PTR(c.variant);
    d->row.created_ns = c.created_ns;
    *ret_diff_ids = TAKE_PTR(c.diff_ids);
    return image_draft_blob(d, digest, text, len, err);
}

int image_draft_blob(struct image_draft *d, const char *digest, const char *text, size_t len,
                     struct error *err)
{
    int r = file_write_atomic(d->work->fd, digest_hex(digest), text, len, 0400);
    return r < 0 ? error_errno(err, r, "write %s", digest) : 0;
}

static int cannot_move(const struct image_draft *d, const char *name, struct error *err)
{
    if (errno == ENOENT) /* it was in its place, and another command has removed it since */
        return error_set(err, ERROR_CONFLICT, ESTALE, "%s was removed meanwhile", name);
    return error_errno(err, errno, "put %s into %s", name, d->work->store->root);
}

/* Into place, unless a file of that content is there already. */
static int move_in(struct image_draft *d, int to, const char *name, struct error *err)
{
    if (faccessat(to, name, F_OK, 0) == 0)
        return 0;
    return renameat(d->work->fd, name, to, name) < 0 ? cannot_move(d, name, err) : 0;
}

/* Both files or neither: they belong together even if two versions of proa made them. A layer known
 * before has none in the work directory. */
static int move_layer(struct image_draft *d, int to, const char *diff_id, struct error *err)
{
    bool there = true;
    for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
        _cleanup_free_ char *name = xasprintf("%s.%s", digest_hex(diff_id), endings[i]);
        there = there && faccessat(to, name, F_OK, 0) == 0;
    }
    for (size_t i = 0; !there && i < ARRAY_SIZE(endings); i++) {
        _cleanup_free_ char *name = xasprintf("%s.%s", digest_hex(diff_id), endings[i]);
        if (renameat(d->work->fd, name, to, name) < 0)
            return cannot_move(d, name, err);
    }
    return 0;
}

static int move_layers(struct image_draft *d, struct error *err)
{
    int r = 0;
    _cleanup_close_ int layers = image_open_dir(d->work->store, "layers", err);
    if (layers < 0)
        return layers;
    for (size_t i = 0; r == 0 && i < d->row.n_layers; i++)
        r = move_layer(d, layers, d->row.layers[i].diff_id, err);
    return r;
}

static int move_files(struct image_draft *d, struct error *err)
{
    _cleanup_close_ int blobs = image_open_dir(d->work->store, "blobs/sha256", err);
    if (blobs < 0)
        return blobs;
    int r = move_layers(d, err);
    if (r == 0)
        r = move_in(d, blobs, digest_hex(d->row.id), err);
    if (r == 0 && d->row.manifest)
        r = move_in(d, blobs, digest_hex(d->row.manifest), err);
    return r;
}

int image_draft_publish(struct image_draft *d, struct error *err)
{
    struct store *s = d->work->store;
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = move_files(d, err);
    if (r == 0)
        r = store_image_add(s, &d->row, err);
    if (r == 0 && d->more_rows)
        r = d->more_rows(d, d->context, err);
    int ended = store_end(s, r == 0, r == 0 ? err : NULL);
    if (r < 0 || ended < 0)
        (void)!image_remove_orphans(s, NULL);
    return r < 0 ? r : ended;
}

int image_draft_keep(struct image_draft *d, const char *key, int64_t created_ns, struct error *err)
{
    struct store *s = d->work->store;
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = move_layers(d, err);
    if (r == 0)
        r = store_step_add(s, key, &d->row.layers[0], created_ns, err);
    int ended = store_end(s, r == 0, r == 0 ? err : NULL);
    if (r < 0 || ended < 0)
        (void)!image_remove_orphans(s, NULL);
    return r < 0 ? r : ended;
}
