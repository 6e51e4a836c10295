/*
 * The end-points that write. The body of any of them, a manifest's too, goes into the pipe of an
 * upload as it comes; the other half judges what arrived.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "base/text.h"
#include "wire/serve/exchange.h"
#include "wire/serve/range.h"

#define MANIFEST_BYTES_MAX ((uint64_t)4 << 20)

/* --- the pipe --- */

/* Gets the pipe; what the upload has so far is in x->offset. */
static enum serve_problem open_pipe(struct exchange *x)
{
    _cleanup_(serve_reply_done) struct serve_reply a = {0};
    struct serve_request q = {.op = SERVE_UPLOAD_WRITE, .upload = x->upload};
    enum serve_problem p = exchange_ask(x, &q, &a, &x->pipe);
    x->offset = a.offset;
    x->room = a.size;
    return p;
}

/* Says how much went in; afterwards the upload can be used by others. */
static enum serve_problem close_pipe(struct exchange *x)
{
    _cleanup_(serve_reply_done) struct serve_reply a = {0};
    struct serve_request q = {.op = SERVE_UPLOAD_WROTE, .upload = x->upload, .count = x->wrote};
    if (x->pipe < 0)
        return PROBLEM_NONE;
    x->pipe = close_fd(x->pipe);
    enum serve_problem p = exchange_ask(x, &q, &a, NULL);
    if (p == PROBLEM_NONE)
        x->offset = a.offset;
    x->wrote = 0;
    return p;
}

static enum serve_problem begin_upload(struct exchange *x)
{
    _cleanup_(serve_reply_done) struct serve_reply a = {0};
    struct serve_request q = {.op = SERVE_UPLOAD_BEGIN};
    enum serve_problem p = exchange_ask(x, &q, &a, NULL);
    if (p == PROBLEM_NONE)
        snprintf(x->upload, sizeof(x->upload), "%s", a.upload ? a.upload : "");
    return p;
}

static void cancel_upload(struct exchange *x)
{
    _cleanup_(serve_reply_done) struct serve_reply a = {0};
    struct serve_request q = {.op = SERVE_UPLOAD_CANCEL, .upload = x->upload};
    (void)exchange_ask(x, &q, &a, NULL);
    x->upload[0] = '\0';
}

bool push_body(struct exchange *x, const char *data, size_t len)
{
    if (x->pipe < 0 || x->problem != PROBLEM_NONE) {
        x->skipped += len;
        return x->skipped <= PUSH_SKIP_MAX;
    }
    if (len > x->room - x->wrote) {
        x->problem = PROBLEM_TOO_LARGE;
    } else if (fd_write_all(x->pipe, data, len) == 0) {
        x->wrote += len;
    } else { /* its receiver has ended: the other half knows why */
        x->problem = close_pipe(x);
        if (x->problem == PROBLEM_NONE)
            x->problem = PROBLEM_INTERNAL;
    }
    return true;
}

void push_done(struct exchange *x, bool ok)
{
    if (x->pipe >= 0)
        (void)close_pipe(x);
    if (x->own_upload && x->upload[0] && !ok)
        cancel_upload(x);
}

/* --- answers about an upload --- */

static void answer_upload(struct exchange *x, unsigned int status)
{
    answer_empty(x, status);
    answer_header(x, "Location", "/v2/%s/blobs/uploads/%s", x->route.repository, x->upload);
    answer_header(x, "Range", "0-%llu", (unsigned long long)(x->offset ? x->offset - 1 : 0));
    answer_header(x, "Docker-Upload-UUID", "%s", x->upload);
}

static void answer_created(struct exchange *x, const char *what, const char *digest)
{
    answer_empty(x, 201);
    answer_header(x, "Location", "/v2/%s/%s/%s", x->route.repository, what, digest);
    answer_header(x, "Docker-Content-Digest", "%s", digest);
}

/* PROBLEM_NONE when there is none, or a good one. */
static enum serve_problem check_digest(const char *digest)
{
    return !digest || serve_digest_ok(digest) ? PROBLEM_NONE : PROBLEM_DIGEST_INVALID;
}

static enum serve_problem commit(struct exchange *x, const char *digest)
{
    _cleanup_(serve_reply_done) struct serve_reply a = {0};
    struct serve_request q = {
        .op = SERVE_UPLOAD_COMMIT, .upload = x->upload, .digest = (char *)digest};
    enum serve_problem p = close_pipe(x);
    if (p == PROBLEM_NONE)
        p = exchange_ask(x, &q, &a, NULL);
    if (p != PROBLEM_NONE)
        return p;
    x->upload[0] = '\0';
    answer_created(x, "blobs", digest);
    return PROBLEM_NONE;
}

/* --- POST of an upload: mount, whole, or the beginning of one --- */

static enum serve_problem try_mount(struct exchange *x, const char *digest, bool *done)
{
    _cleanup_(serve_reply_done) struct serve_reply a = {0};
    struct serve_request q = {.op = SERVE_BLOB_MOUNT,
                              .digest = (char *)digest,
                              .from = (char *)exchange_argument(x, "from")};
    if (q.from && !serve_repository_ok(q.from))
        return PROBLEM_NAME_INVALID;
    enum serve_problem p = exchange_ask(x, &q, &a, NULL);
    *done = p == PROBLEM_NONE;
    return p == PROBLEM_BLOB_UNKNOWN ? PROBLEM_NONE : p;
}

static enum serve_problem begin_post(struct exchange *x)
{
    const char *digest = exchange_argument(x, "digest"), *mount = exchange_argument(x, "mount");
    const char *algorithm = exchange_argument(x, "digest-algorithm");
    bool done = false;
    enum serve_problem p = check_digest(digest);
    if (p == PROBLEM_NONE)
        p = check_digest(mount);
    if (p != PROBLEM_NONE)
        return p;
    if (algorithm && strcmp(algorithm, "sha256") != 0 && strcmp(algorithm, "sha512") != 0)
        return PROBLEM_DIGEST_INVALID;
    if (mount && ((p = try_mount(x, mount, &done)) != PROBLEM_NONE || done)) {
        if (done)
            answer_created(x, "blobs", mount);
        return p;
    }
    if (!digest || (p = begin_upload(x)) != PROBLEM_NONE)
        return p;
    x->own_upload = true;
    return open_pipe(x);
}

/* An upload that goes on is made last: nobody would know the name of one whose request broke off.
 */
static enum serve_problem end_post(struct exchange *x)
{
    const char *digest = exchange_argument(x, "digest");
    if (x->answer) /* mounted */
        return PROBLEM_NONE;
    if (digest)
        return commit(x, digest);
    enum serve_problem p = begin_upload(x);
    if (p == PROBLEM_NONE)
        answer_upload(x, 202);
    return p;
}

/* --- PATCH and PUT of an upload --- */

/* What Content-Range says must be what comes next, as long as Content-Length says. */
static enum serve_problem check_chunk(const struct exchange *x)
{
    const char *header = exchange_header(x, "Content-Range");
    const char *length = exchange_header(x, "Content-Length");
    struct serve_range chunk;
    uint64_t bytes;
    if (!header)
        return PROBLEM_NONE;
    if (!serve_chunk_parse(header, &chunk))
        return PROBLEM_UPLOAD_INVALID;
    if (chunk.start != x->offset)
        return PROBLEM_UPLOAD_RANGE;
    if (length && (parse_u64(length, INT64_MAX, &bytes) < 0 || bytes != chunk.length))
        return PROBLEM_SIZE_INVALID;
    return PROBLEM_NONE;
}

static enum serve_problem begin_chunk(struct exchange *x)
{
    snprintf(x->upload, sizeof(x->upload), "%.32s", x->route.reference);
    enum serve_problem p = open_pipe(x);
    if (p == PROBLEM_NONE && (p = check_chunk(x)) != PROBLEM_NONE)
        (void)close_pipe(x);
    return p;
}

static enum serve_problem end_patch(struct exchange *x)
{
    enum serve_problem p = close_pipe(x);
    if (p == PROBLEM_NONE)
        answer_upload(x, 202);
    return p;
}

static enum serve_problem begin_put(struct exchange *x)
{
    const char *digest = exchange_argument(x, "digest");
    return digest && serve_digest_ok(digest) ? begin_chunk(x) : PROBLEM_DIGEST_INVALID;
}

static enum serve_problem end_put(struct exchange *x)
{
    return commit(x, exchange_argument(x, "digest"));
}

static enum serve_problem get_upload(struct exchange *x)
{
    _cleanup_(serve_reply_done) struct serve_reply a = {0};
    struct serve_request q = {.op = SERVE_UPLOAD_STATUS, .upload = x->route.reference};
    enum serve_problem p = exchange_ask(x, &q, &a, NULL);
    if (p != PROBLEM_NONE)
        return p;
    snprintf(x->upload, sizeof(x->upload), "%.32s", x->route.reference);
    x->offset = a.offset;
    answer_upload(x, 204);
    return PROBLEM_NONE;
}

static enum serve_problem delete_upload(struct exchange *x)
{
    _cleanup_(serve_reply_done) struct serve_reply a = {0};
    struct serve_request q = {.op = SERVE_UPLOAD_CANCEL, .upload = x->route.reference};
    enum serve_problem p = exchange_ask(x, &q, &a, NULL);
    if (p == PROBLEM_NONE)
        answer_empty(x, 204);
    return p;
}

/* --- PUT of a manifest --- */

static enum MHD_Result add_tag(void *context, enum MHD_ValueKind kind, const char *key,
                               const char *value)
{
    char ***tags = context;
    (void)kind;
    if (strcmp(key, "tag") == 0)
        strv_add(tags, value ? value : "");
    return MHD_YES;
}

/* *ret is owned. */
static enum serve_problem wanted_tags(const struct exchange *x, char ***ret)
{
    _cleanup_strv_ char **tags = strv_copy(NULL);
    MHD_get_connection_values(x->connection, MHD_GET_ARGUMENT_KIND, add_tag, &tags);
    if (strv_len(tags) > SERVE_TAGS_MAX)
        return PROBLEM_TOO_LARGE;
    for (size_t i = 0; tags[i]; i++)
        if (!serve_tag_ok(tags[i]))
            return PROBLEM_MANIFEST_INVALID;
    *ret = TAKE_PTR(tags);
    return PROBLEM_NONE;
}

static enum serve_problem begin_manifest(struct exchange *x)
{
    const char *length = exchange_header(x, "Content-Length");
    _cleanup_strv_ char **tags = NULL;
    uint64_t bytes = 0;
    if (length && (parse_u64(length, INT64_MAX, &bytes) < 0 || bytes > MANIFEST_BYTES_MAX))
        return PROBLEM_TOO_LARGE;
    enum serve_problem p = wanted_tags(x, &tags);
    if (p != PROBLEM_NONE || (p = begin_upload(x)) != PROBLEM_NONE)
        return p;
    x->own_upload = true;
    p = open_pipe(x);
    x->room = MIN(x->room, MANIFEST_BYTES_MAX);
    return p;
}

/* "type/subtype; parameters" without parameters; NULL when it is not given, or no type. */
static char *media_type(const struct exchange *x)
{
    const char *header = exchange_header(x, "Content-Type");
    if (!header)
        return NULL;
    char *type = xstrndup(header, strcspn(header, "; \t"));
    if (!serve_type_ok(type)) {
        free(type);
        return NULL;
    }
    return type;
}

static enum serve_problem end_manifest(struct exchange *x)
{
    _cleanup_(serve_reply_done) struct serve_reply a = {0};
    _cleanup_free_ char *type = media_type(x);
    _cleanup_strv_ char **tags = NULL;
    enum serve_problem p = wanted_tags(x, &tags);
    if (p != PROBLEM_NONE || (p = close_pipe(x)) != PROBLEM_NONE)
        return p;
    struct serve_request q = {.op = SERVE_MANIFEST_PUT,
                              .reference = x->route.reference,
                              .upload = x->upload,
                              .media_type = type,
                              .tags = tags};
    p = exchange_ask(x, &q, &a, NULL);
    x->upload[0] = '\0';
    if (p != PROBLEM_NONE)
        return p;
    answer_created(x, "manifests", a.digest);
    if (a.subject)
        answer_header(x, "OCI-Subject", "%s", a.subject);
    for (size_t i = 0; tags[i]; i++)
        answer_header(x, "OCI-Tag", "%s", tags[i]);
    return PROBLEM_NONE;
}

const struct way push_ways[] = {
    {ROUTE_UPLOADS, "POST", begin_post, end_post},
    {ROUTE_UPLOAD, "PATCH", begin_chunk, end_patch},
    {ROUTE_UPLOAD, "PUT", begin_put, end_put},
    {ROUTE_UPLOAD, "GET", NULL, get_upload},
    {ROUTE_UPLOAD, "DELETE", NULL, delete_upload},
    {ROUTE_MANIFEST, "PUT", begin_manifest, end_manifest},
};
const size_t n_push_ways = ARRAY_SIZE(push_ways);
