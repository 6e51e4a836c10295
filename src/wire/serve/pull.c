/* The end-points that read, and those that delete. */
#include <string.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "wire/serve/exchange.h"

#define TOKEN_SECONDS 300 /* half of a session's life (service/serve/login.c) */

static enum serve_problem get_root(struct exchange *x)
{
    _cleanup_(serve_reply_done) struct serve_reply a = {0};
    struct serve_request q = {.op = SERVE_CHECK};
    /* Clients look here for how to say who they are, and later do not look again. */
    if (exchange_policy.tokens && !exchange_header(x, "Authorization"))
        return PROBLEM_UNAUTHORIZED;
    enum serve_problem p = exchange_ask(x, &q, &a, NULL);
    if (p != PROBLEM_NONE)
        return p;
    answer_empty(x, 200);
    answer_header(x, "Content-Type", "application/json");
    return PROBLEM_NONE;
}

/* Docker's token protocol: the session is the token. What a scope asks for is not looked at: a
 * session has its user's role, whatever is asked. */
static enum serve_problem get_token(struct exchange *x)
{
    const char *token = x->session[0] ? x->session : EXCHANGE_ANONYMOUS;
    if (!exchange_policy.tokens)
        return PROBLEM_PATH;
    _cleanup_json_ json_t *o = json_pack("{ss, ss, si}", "token", token, "access_token", token,
                                         "expires_in", TOKEN_SECONDS);
    answer_text(x, json_to_text(o));
    return PROBLEM_NONE;
}

static enum serve_problem get_manifest(struct exchange *x)
{
    _cleanup_(serve_reply_done) struct serve_reply a = {0};
    struct serve_request q = {
        .op = SERVE_MANIFEST_GET, .reference = x->route.reference, .head = x->head};
    int fd = -EBADF;
    enum serve_problem p = exchange_ask(x, &q, &a, &fd);
    if (p != PROBLEM_NONE)
        return p;
    answer_fd(x, a.media_type ? a.media_type : "application/json", a.size, fd, false);
    if (a.digest) {
        answer_header(x, "Docker-Content-Digest", "%s", a.digest);
        answer_header(x, "ETag", "\"%s\"", a.digest);
    }
    return PROBLEM_NONE;
}

static enum serve_problem get_blob(struct exchange *x)
{
    _cleanup_(serve_reply_done) struct serve_reply a = {0};
    struct serve_request q = {.op = SERVE_BLOB_GET, .digest = x->route.reference, .head = x->head};
    int fd = -EBADF;
    enum serve_problem p = exchange_ask(x, &q, &a, &fd);
    if (p != PROBLEM_NONE)
        return p;
    answer_fd(x, "application/octet-stream", a.size, fd, true);
    answer_header(x, "Docker-Content-Digest", "%s", x->route.reference);
    answer_header(x, "ETag", "\"%s\"", x->route.reference);
    return PROBLEM_NONE;
}

/* The address of the next page, for RFC 8288's header: its words need no escaping. */
static void link_next(struct exchange *x, const char *list, const struct serve_request *q,
                      const struct serve_reply *a)
{
    if (!a->next || q->count == 0)
        return;
    answer_header(x, "Link", "</v2/%s%s?n=%llu&last=%s>; rel=\"next\"", x->route.repository, list,
                  (unsigned long long)(q->count - 1), a->next);
}

static enum serve_problem get_list(struct exchange *x, enum serve_op op, const char *list)
{
    _cleanup_(serve_reply_done) struct serve_reply a = {0};
    struct serve_request q = {.op = op, .last = (char *)exchange_argument(x, "last")};
    const char *n = exchange_argument(x, "n");
    uint64_t count;
    int fd = -EBADF;
    if (n && parse_u64(n, UINT32_MAX, &count) < 0)
        return PROBLEM_RANGE;
    if (q.last && strlen(q.last) > SERVE_REPOSITORY_MAX)
        return PROBLEM_NAME_INVALID;
    q.count = n ? count + 1 : 0;
    enum serve_problem p = exchange_ask(x, &q, &a, &fd);
    if (p != PROBLEM_NONE)
        return p;
    answer_fd(x, "application/json", a.size, fd, false);
    link_next(x, list, &q, &a);
    return PROBLEM_NONE;
}

static enum serve_problem get_tags(struct exchange *x)
{
    return get_list(x, SERVE_TAGS, "/tags/list");
}

static enum serve_problem get_catalog(struct exchange *x)
{
    return get_list(x, SERVE_CATALOG, "_catalog");
}

static enum serve_problem get_referrers(struct exchange *x)
{
    _cleanup_(serve_reply_done) struct serve_reply a = {0};
    struct serve_request q = {.op = SERVE_REFERRERS,
                              .digest = x->route.reference,
                              .artifact_type = (char *)exchange_argument(x, "artifactType")};
    int fd = -EBADF;
    if (q.artifact_type && !serve_type_ok(q.artifact_type))
        return PROBLEM_NAME_INVALID;
    enum serve_problem p = exchange_ask(x, &q, &a, &fd);
    if (p != PROBLEM_NONE)
        return p;
    answer_fd(x, "application/vnd.oci.image.index.v1+json", a.size, fd, false);
    if (a.filtered)
        answer_header(x, "OCI-Filters-Applied", "artifactType");
    return PROBLEM_NONE;
}

static enum serve_problem delete_with(struct exchange *x, struct serve_request *q)
{
    _cleanup_(serve_reply_done) struct serve_reply a = {0};
    enum serve_problem p = exchange_ask(x, q, &a, NULL);
    if (p == PROBLEM_NONE)
        answer_empty(x, 202);
    return p;
}

static enum serve_problem delete_manifest(struct exchange *x)
{
    struct serve_request q = {.op = SERVE_MANIFEST_DELETE, .reference = x->route.reference};
    return delete_with(x, &q);
}

static enum serve_problem delete_blob(struct exchange *x)
{
    struct serve_request q = {.op = SERVE_BLOB_DELETE, .digest = x->route.reference};
    return delete_with(x, &q);
}

const struct way pull_ways[] = {
    {ROUTE_ROOT, "GET", NULL, get_root},          {ROUTE_ROOT, "HEAD", NULL, get_root},
    {ROUTE_TOKEN, "GET", NULL, get_token},        {ROUTE_CATALOG, "GET", NULL, get_catalog},
    {ROUTE_TAGS, "GET", NULL, get_tags},          {ROUTE_MANIFEST, "GET", NULL, get_manifest},
    {ROUTE_MANIFEST, "HEAD", NULL, get_manifest}, {ROUTE_MANIFEST, "DELETE", NULL, delete_manifest},
    {ROUTE_BLOB, "GET", NULL, get_blob},          {ROUTE_BLOB, "HEAD", NULL, get_blob},
    {ROUTE_BLOB, "DELETE", NULL, delete_blob},    {ROUTE_REFERRERS, "GET", NULL, get_referrers},
};
const size_t n_pull_ways = ARRAY_SIZE(pull_ways);
