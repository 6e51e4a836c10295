/*
 * A pull: the manifest (through indexes, to the one for the platform), the configuration, the
 * layers, and then all of it at once into the store. Every document's digest is computed here (by
 * proa-layer), whatever the registry or its helper say. A registry may be reached in several ways
 * (mirrors, plain http where that is allowed): each is tried, and the last one's complaint is told.
 */
#include "service/image/pull.h"

#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "service/image/disk-pull.h"
#include "service/image/fetch.h"
#include "service/image/internal.h"
#include "service/registry/remote.h"
#include "service/store/registry.h"
#include "service/trust/remote.h"
#include "wire/image/digest.h"
#include "wire/image/manifest.h"

#define NESTING_MAX   3
#define PUBLISH_TRIES 3
#define OLD_S         ((int64_t)7 * 24 * 3600)

struct document {
    char *text, *digest, *type;
    size_t len;
};

struct pull {
    struct store *store;
    const struct image_pull *how;
    struct image_platform platform;
    struct registry_session *session;
    char *repository; /* as names in the store have it */
    char *tag;        /* NULL: by digest */
    struct document top, manifest;
    struct manifest parsed; /* of manifest */
};

static void document_done(struct document *d)
{
    free(d->text);
    free(d->digest);
    free(d->type);
    memset(d, 0, sizeof(*d));
}

void image_pulled_done(struct image_pulled *p)
{
    free(p->id);
    free(p->name);
    free(p->digest);
    memset(p, 0, sizeof(*p));
}

static void forget(struct pull *p)
{
    document_done(&p->top);
    document_done(&p->manifest);
    manifest_done(&p->parsed);
}

/* By tag or digest; wanted NULL or what it must be. */
static int get_manifest(struct pull *p, const char *reference, const struct manifest_descriptor *d,
                        struct document *ret, struct error *err)
{
    _cleanup_json_ json_t *answer = NULL;
    document_done(ret);
    int r = registry_session_document(p->session,
                                      json_pack("{ssss}", "op", "manifest", "reference", reference),
                                      &ret->text, &ret->len, &answer, err);
    if (r < 0)
        return r;
    ret->digest = image_text_digest(ret->text, ret->len);
    ret->type = xstrdup(json_string_value(json_object_get(answer, "type")));
    if (digest_valid(reference) && strcmp(reference, ret->digest) != 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "manifest %.19s: it is %s instead", reference,
                         ret->digest);
    if (d && d->size != ret->len)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "manifest %.19s: it has %zu bytes where the index says %llu", reference,
                         ret->len, (unsigned long long)d->size);
    return 0;
}

/* Servers of files say what they like: only the types of such documents count. */
static const char *known_type(const struct document *d)
{
    return d->type && strncmp(d->type, "application/vnd.", 16) == 0 ? d->type : NULL;
}

/* From what the name stands for down to the manifest for the platform. */
static int find_manifest(struct pull *p, struct error *err)
{
    const char *reference = p->how->from->digest ? p->how->from->digest : p->tag;
    int r = get_manifest(p, reference, NULL, &p->top, err);
    if (r < 0)
        return r;
    p->manifest = (struct document){xstrdup(p->top.text), xstrdup(p->top.digest),
                                    xstrdup(p->top.type), p->top.len};
    for (int depth = 0;; depth++) {
        const struct manifest_descriptor *chosen;
        if ((r = manifest_parse(p->manifest.text, p->manifest.len, known_type(&p->manifest),
                                p->manifest.digest, &p->parsed, err)) < 0 ||
            !p->parsed.index)
            return r;
        if (depth == NESTING_MAX)
            return error_set(err, ERROR_CORRUPT, EBADMSG, "indexes nest deeper than %d",
                             NESTING_MAX);
        if ((r = manifest_choose_for(&p->parsed, &p->platform, &chosen, err)) < 0)
            return r;
        _cleanup_free_ char *digest = xstrdup(chosen->digest);
        const struct manifest_descriptor size = {.size = chosen->size};
        if ((r = get_manifest(p, digest, &size, &p->manifest, err)) < 0)
            return r;
        manifest_done(&p->parsed);
    }
}

static int get_config(struct pull *p, char **ret_text, struct error *err)
{
    const struct manifest_descriptor *d = &p->parsed.config;
    _cleanup_free_ char *text = NULL, *digest = NULL;
    size_t len = 0;
    if (d->size == 0 || d->size > JSON_MAX_BYTES)
        return error_set(err, ERROR_LIMIT, EFBIG, "a configuration of %llu bytes",
                         (unsigned long long)d->size);
    int r =
        registry_session_document(p->session,
                                  json_pack("{sssssIsI}", "op", "blob", "digest", d->digest, "size",
                                            (json_int_t)d->size, "offset", (json_int_t)0),
                                  &text, &len, NULL, err);
    if (r < 0)
        return r;
    digest = image_text_digest(text, len);
    if (len != d->size || strcmp(digest, d->digest) != 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "configuration %.19s: it is %s instead",
                         d->digest, digest);
    *ret_text = TAKE_PTR(text);
    return 0;
}

/* The names of the store for what was pulled: with the image's rows, in their transaction. */
static int add_rows(struct image_draft *draft, void *context, struct error *err)
{
    struct pull *p = context;
    int r = store_digest_add(p->store, draft->row.id, p->repository, p->top.digest, err);
    if (r == 0)
        r = store_digest_add(p->store, draft->row.id, p->repository, p->manifest.digest, err);
    for (size_t i = 0; r == 0 && !p->parsed.disk && i < p->parsed.n_items; i++) {
        const struct manifest_descriptor *d = &p->parsed.items[i];
        const struct store_layer_blob b = {.digest = d->digest,
                                           .bytes = d->size,
                                           .media_type = d->media_type,
                                           .repository = p->repository};
        r = store_layer_blob_add(p->store, draft->row.layers[i].diff_id, &b, err);
    }
    return r;
}

/* From the store, or from what was fetched. */
static int take_layer(struct pull *p, struct image_draft *draft, int partial, size_t i,
                      const char *diff_id, struct error *err)
{
    struct store_layer l = {0};
    bool known = false;
    const char *hex = digest_hex(p->parsed.items[i].digest);
    int r = image_draft_known(draft, diff_id, &known, err);
    if (r < 0 || known)
        return r;
    if (!image_partial_finished(partial, hex, &l))
        return error_set(err, ERROR_CONFLICT, ESTALE, "layer %.19s was taken away meanwhile",
                         p->parsed.items[i].digest);
    r = image_partial_link(partial, hex, draft->work->fd, digest_hex(l.diff_id), err);
    if (r == 0)
        image_draft_add(draft, &l);
    free(l.diff_id);
    return r;
}

static int publish_layers(struct pull *p, struct image_draft *draft, char *const *diff_ids,
                          struct error *err)
{
    _cleanup_close_ int partial = image_partial_open(p->store, err);
    int r = partial < 0 ? partial : 0;
    for (size_t i = 0; r == 0 && i < p->parsed.n_items; i++)
        r = take_layer(p, draft, partial, i, diff_ids[i], err);
    draft->more_rows = add_rows;
    draft->context = p;
    if (r < 0 || (r = image_draft_publish(draft, err)) < 0)
        return r;
    for (size_t i = 0; i < p->parsed.n_items; i++)
        image_partial_release(partial, digest_hex(p->parsed.items[i].digest));
    return 0;
}

static int make_draft(struct pull *p, struct image_draft *draft, const char *config,
                      char ***ret_diff_ids, struct error *err)
{
    const struct manifest_descriptor *d = &p->parsed.config;
    int r =
        image_draft_config(draft, d->digest, config, d->size, p->parsed.n_items, ret_diff_ids, err);
    if (r < 0)
        return error_prefix(err, "configuration %.19s", d->digest);
    if (p->how->platform && strcmp(draft->row.architecture, p->platform.architecture) != 0)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "the image is for %s/%s, not for %s",
                         draft->row.os, draft->row.architecture, p->how->platform);
    draft->row.manifest = xstrdup(p->manifest.digest);
    if (p->tag)
        strv_take(&draft->row.names, xasprintf("%s:%s", p->repository, p->tag));
    return image_draft_blob(draft, p->manifest.digest, p->manifest.text, p->manifest.len, err);
}

static int get_image(struct pull *p, const char *config, char **ret_id, struct error *err)
{
    _cleanup_work_ struct image_work work = {.fd = -EBADF};
    _cleanup_(image_draft_done) struct image_draft draft = {.work = &work};
    _cleanup_strv_ char **diff_ids = NULL;
    int r = image_work_begin(p->store, &work, err);
    if (r < 0 || (r = make_draft(p, &draft, config, &diff_ids, err)) < 0)
        return r;
    const struct image_fetch fetch = {.store = p->store,
                                      .session = p->session,
                                      .how = p->how,
                                      .layers = p->parsed.items,
                                      .diff_ids = diff_ids,
                                      .n = p->parsed.n_items};
    if ((r = image_fetch_run(&fetch, err)) < 0 ||
        (r = publish_layers(p, &draft, diff_ids, err)) < 0)
        return r;
    *ret_id = xstrdup(draft.row.id);
    return 0;
}

static int get_disk(struct pull *p, const char *config, char **ret_id, struct error *err)
{
    _cleanup_work_ struct image_work work = {.fd = -EBADF};
    _cleanup_(image_draft_done) struct image_draft draft = {
        .work = &work, .more_rows = add_rows, .context = p};
    const struct disk_pull how = {
        .session = p->session, .how = p->how, .manifest = &p->parsed, .config = config};
    int r = image_work_begin(p->store, &work, err);
    if (r < 0)
        return r;
    draft.row.manifest = xstrdup(p->manifest.digest);
    if (p->tag)
        strv_take(&draft.row.names, xasprintf("%s:%s", p->repository, p->tag));
    if ((r = image_draft_blob(&draft, p->manifest.digest, p->manifest.text, p->manifest.len, err)) <
            0 ||
        (r = disk_pull(&how, &draft, err)) < 0)
        return r;
    *ret_id = xstrdup(draft.row.id);
    return 0;
}

/* A removal may take away a layer between our finding it and our naming it: then once more. */
static int get_image_steadily(struct pull *p, const char *config, char **ret_id, struct error *err)
{
    int r = get_image(p, config, ret_id, err);
    for (int i = 1; i < PUBLISH_TRIES && r == -ESTALE; i++) {
        error_clear(err);
        r = get_image(p, config, ret_id, err);
    }
    return r;
}

/* Asked each time, also of what is here already: the policy may be a new one. */
static int check_trust(const struct pull *p, struct error *err)
{
    struct reference named = *p->how->from;
    _cleanup_trust_ struct trust *t = NULL;
    int r = trust_open(p->store->policy, &t, err);
    if (r < 0)
        return r;
    if (!named.digest)
        named.tag = p->tag;
    bool indexed = strcmp(p->top.digest, p->manifest.digest) != 0;
    const struct trust_image image = {&named, {p->manifest.digest, indexed ? p->top.digest : NULL}};
    const struct trust_registry from = trust_registry_of_session(p->session);
    return trust_check(t, &image, &from, err);
}

/* What the registry names now is here already: only the name may be new. */
static int find_known(struct pull *p, struct image_pulled *ret, struct error *err)
{
    _cleanup_free_ char *id = NULL;
    _cleanup_(store_image_done) struct store_image row = {0};
    int r = store_digest_find(p->store, p->repository, p->manifest.digest, p->platform.architecture,
                              &id, err);
    if (r < 0 || !id)
        return r;
    if ((r = store_image_by_id(p->store, id, &row, err)) < 0)
        return r == -ENOENT ? 0 : r;
    ret->changed = ret->name && !strv_has(row.names, ret->name);
    if (ret->changed && (r = store_image_set_name(p->store, id, ret->name, err)) < 0)
        return r;
    if ((r = store_digest_add(p->store, id, p->repository, p->top.digest, err)) < 0)
        return r;
    ret->id = TAKE_PTR(id);
    return 0;
}

static int pull_from_session(struct pull *p, struct image_pulled *ret, struct error *err)
{
    _cleanup_free_ char *config = NULL;
    int r;
    if ((r = find_manifest(p, err)) < 0 || (r = check_trust(p, err)) < 0)
        return r;
    ret->digest = xstrdup(p->top.digest);
    ret->name = p->tag ? xasprintf("%s:%s", p->repository, p->tag) : NULL;
    if ((r = store_begin(p->store, err)) < 0)
        return r;
    r = find_known(p, ret, err);
    int ended = store_end(p->store, r == 0, r == 0 ? err : NULL);
    r = r < 0 ? r : ended;
    if (r < 0 || ret->id)
        return r;
    ret->changed = true;
    if ((r = get_config(p, &config, err)) < 0)
        return r;
    return p->parsed.disk ? get_disk(p, config, &ret->id, err)
                          : get_image_steadily(p, config, &ret->id, err);
}

static int pull_from(struct pull *p, const struct registry_endpoint *at, struct image_pulled *ret,
                     struct error *err)
{
    int r = registry_session_open(p->how->registry, at, p->how->from->repository, NULL, &p->session,
                                  err);
    if (r == 0)
        r = pull_from_session(p, ret, err);
    registry_session_close(p->session);
    p->session = NULL;
    forget(p);
    if (r < 0)
        image_pulled_done(ret);
    return r;
}

int image_pull(struct store *s, const struct image_pull *how, struct image_pulled *ret,
               struct error *err)
{
    const struct reference *from = how->from;
    struct pull p = {.store = s, .how = how};
    struct registry_endpoint *endpoints = NULL;
    int r = platform_parse(how->platform, &p.platform, err);
    if (r < 0 ||
        (r = registry_endpoints(how->registry, from->registry, false, &endpoints, err)) < 0)
        return r;
    image_partial_prune(s, OLD_S);
    p.repository = reference_store_name(from, NULL);
    p.tag = from->digest ? NULL : xstrdup(from->tag ? from->tag : "latest");
    memset(ret, 0, sizeof(*ret));
    for (size_t i = 0; endpoints[i].host; i++) {
        error_clear(err);
        r = pull_from(&p, &endpoints[i], ret, err);
        if (r == 0 || !registry_may_try_next(&endpoints[i], r))
            break;
    }
    registry_endpoints_free(endpoints);
    if (r < 0)
        error_prefix(err, "pull %s%s%s", p.repository, from->digest ? "@" : ":",
                     from->digest ? from->digest : p.tag);
    free(p.repository);
    free(p.tag);
    return r;
}
