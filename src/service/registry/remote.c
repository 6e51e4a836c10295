#include "service/registry/remote.h"

#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "wire/image/digest.h"

#define TAGS_MAX  1000000u
#define PAGES_MAX 10000u

bool registry_may_try_next(const struct registry_endpoint *at, int failure)
{
    return at[1].host &&
           (strcmp(at[0].host, at[1].host) != 0 || failure == -EPROTO || failure == -ECONNREFUSED);
}

static int ask_at(const struct registry_options *o, const struct registry_endpoint *at,
                  const char *repository, registry_question f, void *context, struct error *err)
{
    _cleanup_session_ struct registry_session *s = NULL;
    int r = registry_session_open(o, at, repository, NULL, &s, err);
    return r < 0 ? r : f(s, context, err);
}

int registry_ask(const struct registry_options *o, const char *registry, const char *repository,
                 bool for_writing, registry_question f, void *context, struct error *err)
{
    struct registry_endpoint *list = NULL;
    int r = registry_endpoints(o, registry, for_writing, &list, err);
    for (size_t i = 0; list && list[i].host; i++) {
        error_clear(err);
        r = ask_at(o, &list[i], repository, f, context, err);
        if (r == 0 || !registry_may_try_next(&list[i], r))
            break;
    }
    registry_endpoints_free(list);
    return r;
}

static int ping(struct registry_session *s, void *context, struct error *err)
{
    (void)context;
    return registry_session_call(s, json_pack("{ss}", "op", "ping"), -EBADF, NULL, err);
}

int registry_check(const struct registry_options *o, const char *registry, struct error *err)
{
    return registry_ask(o, registry, NULL, true, ping, NULL, err);
}

static int add_page(const char *text, size_t len, char ***tags, size_t *n, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    _cleanup_strv_ char **page = NULL;
    int r = json_parse(text, len, "list of tags", &o, err);
    if (r < 0 || (r = json_get_strv(o, "list of tags", "tags", &page, err)) < 0)
        return r;
    size_t more = strv_len(page);
    if (*n + more > TAGS_MAX)
        return error_set(err, ERROR_LIMIT, EFBIG, "more than %u tags", TAGS_MAX);
    *tags = xreallocarray(*tags, *n + more + 1, sizeof(char *));
    for (size_t i = 0; i < more; i++) {
        if (!reference_tag_ok(page[i]))
            return error_set(err, ERROR_CORRUPT, EBADMSG, "the list of tags holds what is no tag");
        (*tags)[(*n)++] = TAKE_PTR(page[i]);
        (*tags)[*n] = NULL;
    }
    return 0;
}

/* One page after the other; each must be another one. */
static int get_tags(struct registry_session *s, void *context, struct error *err)
{
    char ***tags = context;
    _cleanup_free_ char *page = NULL;
    size_t n = 0;
    strv_free(*tags);
    *tags = strv_copy(NULL);
    for (unsigned int i = 0; i < PAGES_MAX; i++) {
        _cleanup_json_ json_t *answer = NULL;
        _cleanup_free_ char *text = NULL;
        size_t len;
        json_t *request = json_pack("{ss}", "op", "tags");
        if (page)
            json_object_set_new(request, "page", json_string(page));
        int r = registry_session_document(s, request, &text, &len, &answer, err);
        if (r < 0 || (r = add_page(text, len, tags, &n, err)) < 0)
            return r;
        const char *next = json_string_value(json_object_get(answer, "next"));
        if (!next)
            return 0;
        if (page && strcmp(next, page) == 0)
            break;
        xreplace(&page, next);
    }
    return error_set(err, ERROR_CORRUPT, ELOOP, "the list of tags does not end");
}

int registry_tags(const struct registry_options *o, const struct reference *of, char ***ret,
                  struct error *err)
{
    _cleanup_strv_ char **tags = NULL;
    int r = registry_ask(o, of->registry, of->repository, false, get_tags, &tags, err);
    if (r == 0)
        *ret = TAKE_PTR(tags);
    return r < 0 ? error_prefix(err, "tags of %s/%s", of->registry, of->repository) : 0;
}

struct manifest_question {
    const struct reference *of;
    char *digest;
    json_t *referrers;
};

/* The digest that a tag stands for, as the registry says. */
static int find_digest(struct registry_session *s, struct manifest_question *q, struct error *err)
{
    _cleanup_json_ json_t *answer = NULL;
    const char *tag = q->of->tag ? q->of->tag : "latest";
    xreplace(&q->digest, q->of->digest);
    if (q->digest)
        return 0;
    int r = registry_session_call(s, json_pack("{ssss}", "op", "manifest-head", "reference", tag),
                                  -EBADF, &answer, err);
    if (r < 0)
        return r;
    const char *digest = json_string_value(json_object_get(answer, "digest"));
    if (!digest_valid(digest))
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "%s does not say which digest tag %s has: name the digest",
                         q->of->registry, tag);
    q->digest = xstrdup(digest);
    return 0;
}

static int delete_manifest(struct registry_session *s, void *context, struct error *err)
{
    struct manifest_question *q = context;
    int r = find_digest(s, q, err);
    if (r < 0)
        return r;
    return registry_session_call(s, json_pack("{ssss}", "op", "delete", "reference", q->digest),
                                 -EBADF, NULL, err);
}

int registry_delete(const struct registry_options *o, const struct reference *of, char **ret_digest,
                    struct error *err)
{
    struct manifest_question q = {.of = of};
    int r = registry_ask(o, of->registry, of->repository, true, delete_manifest, &q, err);
    if (r < 0) {
        free(q.digest);
        return error_prefix(err, "remove from %s/%s", of->registry, of->repository);
    }
    *ret_digest = q.digest;
    return 0;
}

static int take_referrers(const char *text, size_t len, struct manifest_question *q,
                          struct error *err)
{
    static const char what[] = "list of referrers";
    _cleanup_json_ json_t *o = NULL;
    json_t *list = NULL, *entry;
    size_t i;
    int r = json_parse(text, len, what, &o, err);
    if (r < 0 || (r = json_get_array(o, what, "manifests", &list, err)) < 0)
        return r;
    json_array_foreach(list, i, entry)
    {
        const char *digest = NULL;
        if ((r = json_get_string(entry, what, "digest", &digest, err)) < 0)
            return r;
        if (!digest_valid(digest))
            return error_set(err, ERROR_CORRUPT, EBADMSG, "the %s holds what is no digest", what);
    }
    q->referrers = list ? json_incref(list) : json_array();
    return 0;
}

static int get_referrers(struct registry_session *s, void *context, struct error *err)
{
    struct manifest_question *q = context;
    _cleanup_free_ char *text = NULL, *tag = NULL;
    struct error why = ERROR_INIT;
    size_t len = 0;
    int r = find_digest(s, q, err);
    if (r < 0)
        return r;
    r = registry_session_document(s, json_pack("{ssss}", "op", "referrers", "digest", q->digest),
                                  &text, &len, NULL, &why);
    if (r < 0 && why.kind == ERROR_NOT_FOUND) {
        tag = xasprintf("sha256-%s", digest_hex(q->digest));
        error_clear(&why);
        r = registry_session_document(s, json_pack("{ssss}", "op", "manifest", "reference", tag),
                                      &text, &len, NULL, &why);
    }
    if (r < 0 && why.kind == ERROR_NOT_FOUND) {
        q->referrers = json_array();
        return 0;
    }
    if (r < 0)
        return error_set(err, why.kind, why.code, "%s", why.msg);
    return take_referrers(text, len, q, err);
}

int registry_referrers(const struct registry_options *o, const struct reference *of, json_t **ret,
                       struct error *err)
{
    struct manifest_question q = {.of = of};
    int r = registry_ask(o, of->registry, of->repository, false, get_referrers, &q, err);
    free(q.digest);
    if (r < 0)
        return error_prefix(err, "referrers of %s/%s", of->registry, of->repository);
    *ret = q.referrers;
    return 0;
}
