/*
 * Manifests. A tag that was pushed and a name that an image of the store has may be the same word:
 * the pushed manifest is what the tag means, until the name has been given to another image.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "service/serve/server-internal.h"
#include "service/store/content.h"
#include "service/store/image.h"
#include "wire/image/artifact.h"
#include "wire/image/manifest-make.h"

/* --- reading --- */

/* The image that has the name now; NULL when none does. */
static int image_of_name(struct server *s, const char *repository, const char *tag, char **ret_id,
                         struct error *err)
{
    _cleanup_(store_image_done) struct store_image row = {0};
    _cleanup_free_ char *name = xasprintf("%s:%s", repository, tag);
    struct error none = ERROR_INIT;
    int r = store_image_by_name(s->store, name, &row, &none);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return error_set(err, none.kind, none.code, "%s", none.msg);
    *ret_id = TAKE_PTR(row.id);
    return 0;
}

/* *ret_digest: of the pushed manifest that the tag means; NULL when it means none. */
static int pushed_by_tag(struct server *s, const char *repository, const char *tag,
                         char **ret_digest, struct error *err)
{
    _cleanup_free_ char *digest = NULL, *became = NULL, *named = NULL;
    int r = store_content_find_tag(s->store, repository, tag, &digest, &became, err);
    if (r < 0 || !digest)
        return r;
    if (became && (r = image_of_name(s, repository, tag, &named, err)) < 0)
        return r;
    if (!named || strcmp(named, became) == 0)
        *ret_digest = TAKE_PTR(digest);
    return 0;
}

static int find_pushed(struct call *c, bool *ret_found, struct store_manifest *ret,
                       struct error *err)
{
    struct server *s = c->server;
    _cleanup_free_ char *by_tag = NULL;
    const char *digest = c->q.reference;
    int r;
    if (!serve_digest_ok(digest)) {
        if ((r = pushed_by_tag(s, c->q.repository, c->q.reference, &by_tag, err)) < 0 || !by_tag)
            return r;
        digest = by_tag;
    }
    return store_content_find_manifest(s->store, c->q.repository, digest, ret_found, ret, err);
}

static enum call_state send_manifest(struct call *c)
{
    struct error err = ERROR_INIT;
    if (!c->q.head && content_open(c->server->store, c->a.digest, &c->fd, &err) < 0)
        return call_failed(c, &err);
    return CALL_DONE;
}

enum call_state manifest_get_call(struct call *c)
{
    _cleanup_(store_manifest_done) struct store_manifest m = {0};
    struct error err = ERROR_INIT;
    bool found = false;
    int r;
    if (find_pushed(c, &found, &m, &err) < 0)
        return call_failed(c, &err);
    if (found) {
        c->a.digest = TAKE_PTR(m.digest);
        c->a.media_type = TAKE_PTR(m.media_type);
        c->a.size = m.bytes;
        return send_manifest(c);
    }
    r = local_manifest(c->server, c->q.repository, c->q.reference, &c->a.digest, &c->a.size, &err);
    if (r == -EOPNOTSUPP)
        return call_refuse_why(c, PROBLEM_MANIFEST_UNKNOWN, err.msg);
    if (r < 0)
        return call_failed(c, &err);
    if (!c->a.digest)
        return call_refuse(c, PROBLEM_MANIFEST_UNKNOWN);
    c->a.media_type = xstrdup(MEDIA_TYPE_OCI_MANIFEST);
    return send_manifest(c);
}

/* --- putting --- */

static int read_upload(struct upload *u, char **ret_text, size_t *ret_len, struct error *err)
{
    _cleanup_close_ int fd = openat(u->server->work.fd, u->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_errno(err, errno, "open a manifest");
    _cleanup_free_ char *text = xcalloc((size_t)u->bytes + 1, 1);
    ssize_t n = fd_read_full(fd, text, (size_t)u->bytes);
    if (n < 0 || (uint64_t)n != u->bytes)
        return error_errno(err, n < 0 ? (int)n : EIO, "read a manifest");
    *ret_len = (size_t)n;
    *ret_text = TAKE_PTR(text);
    return 0;
}

/* Whether the repository has what the manifest names; *ret_missing is borrowed. What only an image
 * of the store has may go with that image, so it does not count. */
static int check_needs(struct call *c, const struct artifact *a, const char **ret_missing,
                       struct error *err)
{
    struct store *store = c->server->store;
    for (size_t i = 0; i < a->n_needs; i++) {
        const struct artifact_need *need = &a->needs[i];
        _cleanup_(store_manifest_done) struct store_manifest m = {0};
        bool found = false;
        uint64_t bytes = 0;
        int r = need->manifest ? store_content_find_manifest(store, c->q.repository, need->digest,
                                                             &found, &m, err)
                               : store_content_find_blob(store, c->q.repository, need->digest,
                                                         &found, &bytes, err);
        if (r < 0)
            return r;
        if (!found || need->size != (need->manifest ? m.bytes : bytes)) {
            *ret_missing = need->digest;
            return 0;
        }
    }
    return 0;
}

static int add_rows(struct call *c, const struct upload *u, const struct artifact *a,
                    char *const *tags, struct error *err)
{
    struct store *store = c->server->store;
    const struct store_manifest m = {.digest = (char *)u->digest,
                                     .media_type = a->media_type,
                                     .subject = a->subject,
                                     .artifact_type = a->artifact_type,
                                     .annotations = a->annotations,
                                     .bytes = u->bytes};
    int r = store_content_add_manifest(store, c->q.repository, &m, err);
    for (size_t i = 0; r == 0 && tags[i]; i++)
        r = store_content_set_tag(store, c->q.repository, tags[i], u->digest, NULL, err);
    return r;
}

/* What is needed is looked for in the same transaction, so that nobody removes it meanwhile. */
static int keep(struct call *c, struct upload *u, const struct artifact *a, char *const *tags,
                const char **ret_missing, struct error *err)
{
    struct store *store = c->server->store;
    int r = store_begin(store, err);
    if (r < 0)
        return r;
    r = check_needs(c, a, ret_missing, err);
    bool go = r == 0 && !*ret_missing;
    if (go && (r = content_place(u, err)) == 0)
        r = add_rows(c, u, a, tags, err);
    int ended = store_end(store, go && r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : ended;
}

/* The reference when it is a tag, and those given beside it; owned. */
static char **wanted_tags(const struct call *c)
{
    char **tags = strv_copy(c->q.tags);
    if (serve_tag_ok(c->q.reference))
        strv_add(&tags, c->q.reference);
    return tags;
}

static enum call_state put(struct upload *u, struct call *c)
{
    _cleanup_(artifact_done) struct artifact a = {0};
    _cleanup_free_ char *text = NULL;
    _cleanup_strv_ char **tags = wanted_tags(c);
    struct error err = ERROR_INIT;
    const char *missing = NULL;
    size_t len = 0;
    if (serve_digest_ok(c->q.reference) && strcmp(c->q.reference, u->digest) != 0)
        return call_refuse(c, PROBLEM_DIGEST_INVALID);
    if (u->bytes > ARTIFACT_MAX_BYTES)
        return call_refuse(c, PROBLEM_TOO_LARGE);
    if (read_upload(u, &text, &len, &err) < 0)
        return call_failed(c, &err);
    if (artifact_parse(text, len, c->q.media_type, serve_digest_ok, &a, &err) < 0)
        return call_refuse_why(c, PROBLEM_MANIFEST_INVALID, err.msg);
    if (keep(c, u, &a, tags, &missing, &err) < 0)
        return call_failed(c, &err);
    if (missing)
        return call_refuse_why(c, PROBLEM_MANIFEST_BLOB_UNKNOWN, missing);
    c->a.digest = xstrdup(u->digest);
    c->a.subject = TAKE_PTR(a.subject);
    server_note(c->server, "pushed %s@%.19s", c->q.repository, u->digest);
    return tags[0] ? local_import(c, u->digest, u->bytes, tags) : CALL_DONE;
}

enum call_state manifest_put_call(struct call *c)
{
    const char *algorithm = serve_digest_algorithm(c->q.reference);
    return upload_finish(c, algorithm ? algorithm : "sha256", put);
}

/* --- deleting --- */

static enum call_state delete_tag(struct call *c)
{
    struct server *s = c->server;
    struct error err = ERROR_INIT;
    bool removed = false, untagged = false;
    if (store_content_remove_tag(s->store, c->q.repository, c->q.reference, &removed, &err) < 0 ||
        local_untag(s, c->q.repository, c->q.reference, &untagged, &err) < 0)
        return call_failed(c, &err);
    return removed || untagged ? CALL_DONE : call_refuse(c, PROBLEM_MANIFEST_UNKNOWN);
}

/* The names of the image that a manifest was made for. */
static int untag_made(struct server *s, const char *repository, const char *digest, bool *removed,
                      struct error *err)
{
    _cleanup_(store_image_done) struct store_image row = {0};
    _cleanup_free_ char *id = NULL;
    size_t len = strlen(repository);
    int r = store_content_made_image(s->store, repository, digest, &id, err);
    if (r < 0 || !id || (r = store_image_by_id(s->store, id, &row, err)) < 0)
        return r;
    for (size_t i = 0; r == 0 && row.names[i]; i++)
        if (strncmp(row.names[i], repository, len) == 0 && row.names[i][len] == ':' &&
            serve_tag_ok(row.names[i] + len + 1))
            r = local_untag(s, repository, row.names[i] + len + 1, removed, err);
    return r;
}

static enum call_state delete_digest(struct call *c)
{
    struct server *s = c->server;
    _cleanup_strv_ char **tags = NULL;
    struct error err = ERROR_INIT;
    bool removed = false, untagged = false;
    int r = store_content_tags(s->store, c->q.repository, c->q.reference, &tags, &err);
    if (r == 0)
        r = store_content_remove_manifest(s->store, c->q.repository, c->q.reference, &removed,
                                          &err);
    for (size_t i = 0; r == 0 && tags[i]; i++)
        r = local_untag(s, c->q.repository, tags[i], &untagged, &err);
    if (r == 0)
        r = untag_made(s, c->q.repository, c->q.reference, &untagged, &err);
    if (r == 0 && removed)
        r = content_drop(s->store, c->q.reference, &err);
    if (r < 0)
        return call_failed(c, &err);
    return removed || untagged ? CALL_DONE : call_refuse(c, PROBLEM_MANIFEST_UNKNOWN);
}

enum call_state manifest_delete_call(struct call *c)
{
    return serve_digest_ok(c->q.reference) ? delete_digest(c) : delete_tag(c);
}
