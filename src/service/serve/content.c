/*
 * Rows go first, in one transaction for each repository; the files after the commit, where nothing
 * else names them. A work directory marks the time between, as when images are removed.
 */
#include "service/serve/content.h"

#include <fcntl.h>
#include <jansson.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/strv.h"
#include "service/image/work.h"
#include "service/serve/server-internal.h"
#include "service/store/content.h"
#include "service/store/image.h"
#include "wire/image/artifact.h"

static int drop_files(struct store *s, char *const *digests, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && digests[i]; i++)
        r = content_drop(s, digests[i], err);
    return r;
}

/* --- removing --- */

static int remove_all(struct store *s, const char *repository, bool *found, char ***gone,
                      struct error *err)
{
    struct store_content_entry *entries = NULL;
    struct store_content *blobs = NULL;
    bool removed;
    int r = store_content_entries(s, repository, &entries, err);
    if (r == 0)
        r = store_content_blobs(s, repository, INT64_MAX, &blobs, err);
    for (size_t i = 0; r == 0 && entries[i].repository; i++) {
        strv_add(gone, entries[i].digest);
        r = store_content_remove_manifest(s, repository, entries[i].digest, &removed, err);
    }
    for (size_t i = 0; r == 0 && blobs[i].digest; i++) {
        strv_add(gone, blobs[i].digest);
        r = store_content_remove_blob(s, repository, blobs[i].digest, &removed, err);
    }
    *found = strv_len(*gone) > 0;
    store_content_entries_free(entries);
    store_content_list_free(blobs);
    return r;
}

/* The reference in two: what follows '@', or the last ':'. part NULL: neither. */
static void split(const char *reference, char **repository, const char **part, bool *by_digest)
{
    const char *at = strchr(reference, '@'), *colon = strrchr(reference, ':');
    const char *end = at ? at : colon;
    *by_digest = at != NULL;
    *part = end ? end + 1 : NULL;
    *repository = end ? xstrndup(reference, (size_t)(end - reference)) : xstrdup(reference);
}

static int remove_rows(struct store *s, const char *reference, char ***gone, struct error *err)
{
    _cleanup_free_ char *repository = NULL;
    const char *part;
    bool by_digest, found = false;
    int r;
    split(reference, &repository, &part, &by_digest);
    if (!part) {
        r = remove_all(s, repository, &found, gone, err);
    } else if (by_digest) {
        r = store_content_remove_manifest(s, repository, part, &found, err);
        if (r == 0 && found && serve_digest_ok(part))
            strv_add(gone, part);
    } else {
        r = store_content_remove_tag(s, repository, part, &found, err);
    }
    if (r == 0 && !found)
        return error_set(err, ERROR_NOT_FOUND, ENOENT,
                         "nothing was pushed as %.200s; see `proa registry ls`", reference);
    return r;
}

int content_remove(struct store *s, const char *reference, struct error *err)
{
    _cleanup_work_ struct image_work mark = {.fd = -EBADF};
    _cleanup_strv_ char **gone = strv_copy(NULL);
    int r = image_work_begin(s, &mark, err);
    if (r < 0 || (r = store_begin(s, err)) < 0)
        return r;
    r = remove_rows(s, reference, &gone, err);
    int ended = store_end(s, r == 0, r == 0 ? err : NULL);
    if (r < 0 || ended < 0)
        return r < 0 ? r : ended;
    return drop_files(s, gone, err);
}

/* --- pruning --- */

/* One repository: its manifests, which of them stay, and what those need. */
struct view {
    struct store *s;
    struct store_content_entry *entries;
    bool *stays;    /* by entry */
    json_t *needed; /* digests of blobs, as keys */
};

static int read_manifest(struct store *s, const char *digest, struct artifact *ret,
                         struct error *err)
{
    _cleanup_close_ int fd = -EBADF;
    _cleanup_buf_ struct buf text = BUF_INIT(ARTIFACT_MAX_BYTES);
    int r = content_open(s, digest, &fd, err);
    if (r < 0)
        return r;
    if ((r = fd_read_to_end(fd, &text)) < 0)
        return error_errno(err, r, "read %.20s", digest);
    return artifact_parse(text.data ? text.data : "", text.len, NULL, serve_digest_ok, ret, err);
}

/* It stays, and so does what it needs, in any depth. */
static int keep(struct view *v, const char *digest, struct error *err)
{
    _cleanup_(artifact_done) struct artifact a = {0};
    bool news = false;
    for (size_t i = 0; v->entries[i].repository; i++) {
        if (strcmp(v->entries[i].digest, digest) != 0 || v->stays[i])
            continue;
        v->stays[i] = news = true; /* one entry for each tag */
    }
    int r = news ? read_manifest(v->s, digest, &a, err) : 0;
    for (size_t i = 0; r == 0 && i < a.n_needs; i++) {
        if (a.needs[i].manifest)
            r = keep(v, a.needs[i].digest, err);
        else
            json_object_set_new(v->needed, a.needs[i].digest, json_true());
    }
    return r;
}

static bool stays(const struct view *v, const char *digest)
{
    for (size_t i = 0; v->entries[i].repository; i++)
        if (v->stays[i] && strcmp(v->entries[i].digest, digest) == 0)
            return true;
    return false;
}

/* What has a tag or is young; then what belongs to something that stays, until nothing is added. */
static int choose(struct view *v, int64_t before_ns, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && v->entries[i].repository; i++)
        if (v->entries[i].tag || v->entries[i].added_ns >= before_ns)
            r = keep(v, v->entries[i].digest, err);
    for (bool again = true; r == 0 && again;) {
        again = false;
        for (size_t i = 0; r == 0 && v->entries[i].repository; i++) {
            const char *subject = v->entries[i].subject;
            if (v->stays[i] || !subject || !stays(v, subject))
                continue;
            r = keep(v, v->entries[i].digest, err);
            again = true;
        }
    }
    return r;
}

struct sweep {
    char **gone, **done;
    uint64_t bytes;
};

static void note(struct sweep *w, const char *repository, const char *digest, uint64_t bytes)
{
    strv_add(&w->gone, digest);
    strv_addf(&w->done, "%s@%s", repository, digest);
    w->bytes += bytes;
}

static int remove_others(struct view *v, const char *repository, int64_t before_ns, struct sweep *w,
                         struct error *err)
{
    struct store_content *blobs = NULL;
    bool removed;
    int r = store_content_blobs(v->s, repository, before_ns, &blobs, err);
    for (size_t i = 0; r == 0 && v->entries[i].repository; i++) {
        const struct store_content_entry *e = &v->entries[i];
        if (v->stays[i])
            continue;
        note(w, repository, e->digest, e->bytes);
        r = store_content_remove_manifest(v->s, repository, e->digest, &removed, err);
    }
    for (size_t i = 0; r == 0 && blobs[i].digest; i++) {
        if (json_object_get(v->needed, blobs[i].digest))
            continue;
        note(w, repository, blobs[i].digest, blobs[i].bytes);
        r = store_content_remove_blob(v->s, repository, blobs[i].digest, &removed, err);
    }
    store_content_list_free(blobs);
    return r;
}

static int prune_rows(struct store *s, const char *repository, int64_t before_ns, struct sweep *w,
                      struct error *err)
{
    struct view v = {.s = s, .needed = json_object()};
    size_t n = 0;
    int r = store_content_entries(s, repository, &v.entries, err);
    while (r == 0 && v.entries[n].repository)
        n++;
    v.stays = xcalloc(n + 1, sizeof(*v.stays));
    if (r == 0)
        r = choose(&v, before_ns, err);
    if (r == 0)
        r = remove_others(&v, repository, before_ns, w, err);
    store_content_entries_free(v.entries);
    json_decref(v.needed);
    free(v.stays);
    return r;
}

static int prune_repository(struct store *s, const char *repository, int64_t before_ns,
                            struct sweep *w, struct error *err)
{
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = prune_rows(s, repository, before_ns, w, err);
    int ended = store_end(s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? error_prefix(err, "%s", repository) : ended;
}

int content_prune(struct store *s, int64_t before_ns, char ***ret_done, uint64_t *ret_bytes,
                  struct error *err)
{
    _cleanup_work_ struct image_work mark = {.fd = -EBADF};
    _cleanup_strv_ char **repositories = NULL;
    struct sweep w = {strv_copy(NULL), strv_copy(NULL), 0};
    int r = image_work_begin(s, &mark, err);
    if (r == 0)
        r = store_content_repositories(s, &repositories, err);
    for (size_t i = 0; r == 0 && repositories[i]; i++)
        r = prune_repository(s, repositories[i], before_ns, &w, err);
    if (r == 0)
        r = drop_files(s, w.gone, err);
    strv_free(w.gone);
    if (r < 0) {
        strv_free(w.done);
        return r;
    }
    *ret_done = w.done;
    *ret_bytes = w.bytes;
    return 0;
}
