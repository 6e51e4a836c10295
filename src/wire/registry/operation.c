/* What can be asked of a registry: the distribution specification's end points, one function each.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "wire/registry/client.h"
#include "wire/registry/protocol.h"

static const char what[] = "request";

/* A member that must be there; borrowed. */
static int need(const json_t *request, const char *key, const char **ret, struct error *err)
{
    *ret = NULL;
    int r = json_get_string(request, what, key, ret, err);
    if (r == 0 && !*ret)
        r = error_invalid(err, "%s: \"%s\" is missing", what, key);
    return r;
}

static int need_size(const json_t *request, const char *key, uint64_t *ret, struct error *err)
{
    int64_t n = -1;
    int r = json_get_i64(request, what, key, &n, err);
    if (r == 0 && n < 0)
        r = error_invalid(err, "%s: \"%s\" is missing", what, key);
    if (r == 0)
        *ret = (uint64_t)n;
    return r;
}

/* URL/v2/REPOSITORY/KIND/NAME */
static int set_place(struct transfer *t, const char *kind, const char *name, struct error *err)
{
    const struct client *c = t->client;
    if (!c->repository)
        return error_invalid(err, "%s: this session has no repository", what);
    t->first_url = xasprintf("%s/v2/%s/%s/%s", c->url, c->repository, kind, name);
    return 0;
}

static int prepare_ping(struct transfer *t, const json_t *request, struct error *err)
{
    (void)request;
    (void)err;
    t->first_url = xasprintf("%s/v2/", t->client->url);
    return 0;
}

static int prepare_manifest(struct transfer *t, const json_t *request, struct error *err)
{
    const char *reference;
    int r = need(request, "reference", &reference, err);
    if (r < 0)
        return r;
    strv_add(&t->headers, "Accept: application/vnd.oci.image.manifest.v1+json, "
                          "application/vnd.oci.image.index.v1+json, "
                          "application/vnd.docker.distribution.manifest.v2+json, "
                          "application/vnd.docker.distribution.manifest.list.v2+json");
    t->max = REGISTRY_DOCUMENT_MAX;
    return set_place(t, "manifests", reference, err);
}

static int prepare_delete(struct transfer *t, const json_t *request, struct error *err)
{
    const char *reference;
    int r = need(request, "reference", &reference, err);
    return r < 0 ? r : set_place(t, "manifests", reference, err);
}

static int prepare_blob(struct transfer *t, const json_t *request, struct error *err)
{
    const char *digest;
    int r;
    if ((r = need(request, "digest", &digest, err)) < 0 ||
        (r = need_size(request, "size", &t->size, err)) < 0 ||
        (r = need_size(request, "offset", &t->offset, err)) < 0)
        return r;
    if (t->offset >= t->size)
        return error_invalid(err, "%s: nothing is missing of %s", what, digest);
    t->exact = true;
    t->max = t->size;
    t->progress_mark = t->offset;
    return set_place(t, "blobs", digest, err);
}

static int prepare_blob_head(struct transfer *t, const json_t *request, struct error *err)
{
    const char *digest;
    int r = need(request, "digest", &digest, err);
    return r < 0 ? r : set_place(t, "blobs", digest, err);
}

static int prepare_upload(struct transfer *t, const json_t *request, struct error *err)
{
    const char *digest;
    int r;
    if ((r = need(request, "digest", &digest, err)) < 0 ||
        (r = need_size(request, "size", &t->size, err)) < 0)
        return r;
    t->uploads = t->posts = true;
    t->upload_digest = xstrdup(digest);
    strv_add(&t->headers, "Content-Type: application/octet-stream");
    return set_place(t, "blobs", "uploads/", err);
}

/* 201 when it worked; 202 opens an upload instead, which is left alone. */
static int prepare_mount(struct transfer *t, const json_t *request, struct error *err)
{
    const char *digest, *from;
    int r;
    if ((r = need(request, "digest", &digest, err)) < 0 ||
        (r = need(request, "from", &from, err)) < 0)
        return r;
    t->posts = true;
    _cleanup_free_ char *place = xasprintf("uploads/?mount=%s&from=%s", digest, from);
    return set_place(t, "blobs", place, err);
}

/* Where to send it to was said. */
static bool send_upload(struct transfer *t)
{
    struct error err = ERROR_INIT;
    _cleanup_free_ char *url = NULL;
    if (t->step > 0)
        return false;
    if (!t->response.location)
        error_set(&err, ERROR_CORRUPT, EBADMSG, "%s does not say where to upload to",
                  t->client->name);
    else
        (void)!url_resolve(t->client, t->url, t->response.location, &url, &err);
    if (err.code) {
        transfer_fail(t, &err);
        return true;
    }
    free(t->url);
    t->url = xasprintf("%s%cdigest=%s", url, strchr(url, '?') ? '&' : '?', t->upload_digest);
    t->foreign = !url_same_origin(t->client->url, t->url);
    t->step = 1;
    t->method = "PUT";
    transfer_start(t);
    return true;
}

static int prepare_manifest_put(struct transfer *t, const json_t *request, struct error *err)
{
    const char *reference, *type;
    int r;
    if ((r = need(request, "reference", &reference, err)) < 0 ||
        (r = need(request, "type", &type, err)) < 0 ||
        (r = need_size(request, "size", &t->size, err)) < 0)
        return r;
    strv_addf(&t->headers, "Content-Type: %s", type);
    t->uploads = true;
    t->step = 1;
    return set_place(t, "manifests", reference, err);
}

static int prepare_tags(struct transfer *t, const json_t *request, struct error *err)
{
    const char *page = NULL;
    int r = json_get_string(request, what, "page", &page, err);
    t->max = REGISTRY_DOCUMENT_MAX;
    if (r < 0 || (r = set_place(t, "tags", "list?n=1000", err)) < 0 || !page)
        return r;
    _cleanup_free_ char *first = TAKE_PTR(t->first_url);
    if ((r = url_resolve(t->client, first, page, &t->first_url, err)) < 0)
        return r;
    if (!url_same_origin(t->client->url, t->first_url))
        return error_set(err, ERROR_CORRUPT, EBADMSG, "%s: the next page is on another host",
                         t->client->name);
    return 0;
}

static int prepare_referrers(struct transfer *t, const json_t *request, struct error *err)
{
    const char *digest;
    int r = need(request, "digest", &digest, err);
    t->max = REGISTRY_DOCUMENT_MAX;
    return r < 0 ? r : set_place(t, "referrers", digest, err);
}

static const struct operation operations[] = {
    {"ping", "GET", prepare_ping, 0, NULL},
    {"manifest", "GET", prepare_manifest, 1, NULL},
    {"manifest-head", "HEAD", prepare_manifest, 0, NULL},
    {"blob", "GET", prepare_blob, 1, NULL},
    {"blob-head", "HEAD", prepare_blob_head, 0, NULL},
    {"mount", "POST", prepare_mount, 0, NULL},
    {"upload", "POST", prepare_upload, 1, send_upload},
    {"manifest-put", "PUT", prepare_manifest_put, 1, NULL},
    {"tags", "GET", prepare_tags, 1, NULL},
    {"delete", "DELETE", prepare_delete, 0, NULL},
    {"referrers", "GET", prepare_referrers, 1, NULL},
};

const struct operation *operation_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(operations); i++)
        if (strcmp(operations[i].name, name) == 0)
            return &operations[i];
    return NULL;
}
