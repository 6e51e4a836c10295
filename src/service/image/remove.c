/*
 * Removing names and images. Rows go first; the files they named are removed after the commit by
 * image_remove_orphans, which looks again inside a transaction whether another command has brought
 * them back meanwhile. A work directory marks the time between the two: killed there, the next
 * command finds the mark and does the rest.
 */
#include "base/alloc.h"
#include "base/strv.h"
#include "service/image/internal.h"
#include "service/image/pull.h"
#include "service/store/disk.h"
#include "wire/image/digest.h"

static int in_use(struct store *s, const struct image *i, struct error *err)
{
    _cleanup_free_ char *user = NULL;
    int r = store_image_user(s, i->id, &user, err);
    if (r < 0 || !user)
        return r;
    return error_set(err, ERROR_CONFLICT, EBUSY,
                     "image %.200s is used by %s: remove it first, or use --force",
                     i->names[0] ? i->names[0] : i->id, user);
}

/* The rows; *bytes grows by what the layers that went held. */
static int drop_image(struct store *s, const struct image *i, char ***done, uint64_t *bytes,
                      struct error *err)
{
    struct store_layer *layers = NULL;
    uint64_t disk_bytes = 0;
    int r = store_disk_remove(s, i->id, &disk_bytes, err);
    if (r < 0 || (r = store_image_remove(s, i->id, &layers, err)) < 0)
        return r;
    *bytes += disk_bytes;
    for (size_t n = 0; i->names[n]; n++)
        strv_addf(done, "Untagged: %s", i->names[n]);
    strv_addf(done, "Deleted: %s", i->id);
    for (size_t n = 0; layers[n].diff_id; n++) {
        strv_addf(done, "Deleted: %s", layers[n].diff_id);
        *bytes += layers[n].bytes;
    }
    store_layer_list_free(layers);
    return 0;
}

static int remove_found(struct store *s, const char *reference, bool force, char ***done,
                        struct error *err)
{
    _cleanup_image_ struct image *i = NULL;
    _cleanup_free_ char *name = NULL;
    uint64_t bytes = 0;
    int r = image_find(s, reference, &i, err);
    if (r < 0)
        return r;
    size_t n = strv_len(i->names);
    bool by_name = image_name_parse(reference, &name, NULL) == 0 && strv_has(i->names, name);
    if (by_name && n > 1) {
        strv_addf(done, "Untagged: %s", name);
        return store_image_drop_name(s, name, err);
    }
    if (!by_name && n > 1 && !force)
        return error_set(err, ERROR_CONFLICT, EBUSY,
                         "image %.19s has %zu names: remove them one by one, or use --force", i->id,
                         n);
    if (!force && (r = in_use(s, i, err)) < 0)
        return r;
    return drop_image(s, i, done, &bytes, err);
}

static int prune_found(struct store *s, bool all, char ***done, uint64_t *bytes, struct error *err)
{
    struct store_image *rows = NULL;
    int r = store_image_list(s, &rows, err);
    if (r < 0)
        return r;
    for (size_t n = 0; r == 0 && rows[n].id; n++) {
        _cleanup_free_ char *user = NULL;
        if (rows[n].names[0] && !all)
            continue;
        r = store_image_user(s, rows[n].id, &user, err);
        struct image i = {.id = rows[n].id, .names = rows[n].names};
        if (r == 0 && !user)
            r = drop_image(s, &i, done, bytes, err);
    }
    store_image_list_free(rows);
    return r;
}

struct removal {
    const char *reference; /* NULL: prune */
    bool force, all;
};

static int remove_rows(struct store *s, const struct removal *what, char ***done, uint64_t *bytes,
                       struct error *err)
{
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = what->reference ? remove_found(s, what->reference, what->force, done, err)
                        : prune_found(s, what->all, done, bytes, err);
    int ended = store_end(s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : ended;
}

static int run_removal(struct store *s, const struct removal *what, char ***ret_done,
                       uint64_t *ret_bytes, struct error *err)
{
    _cleanup_work_ struct image_work mark = {.fd = -EBADF};
    _cleanup_strv_ char **done = strv_copy(NULL);
    uint64_t bytes = 0;
    int r = image_work_begin(s, &mark, err);
    if (r < 0 || (r = remove_rows(s, what, &done, &bytes, err)) < 0 ||
        (r = image_remove_orphans(s, err)) < 0)
        return r;
    *ret_done = TAKE_PTR(done);
    if (ret_bytes)
        *ret_bytes = bytes;
    return 0;
}

int image_remove(struct store *s, const char *reference, bool force, char ***ret_done,
                 struct error *err)
{
    struct removal what = {.reference = reference, .force = force};
    return run_removal(s, &what, ret_done, NULL, err);
}

int image_prune(struct store *s, bool all, char ***ret_done, uint64_t *ret_bytes, struct error *err)
{
    image_partial_prune(s, 0);
    struct removal what = {.all = all};
    return run_removal(s, &what, ret_done, ret_bytes, err);
}
