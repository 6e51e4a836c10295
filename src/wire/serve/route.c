/*
 * A repository may hold any words, "blobs" and "manifests" too: an address is read from its end,
 * where the end-point's own words are.
 */
#include "wire/serve/route.h"

#include <string.h>

/* In this order: "uploads" is no digest. */
static const struct {
    const char *marker; /* before the last part; NULL: at the end, with no part after it */
    const char *end;
    enum serve_route_kind kind;
    bool (*reference_ok)(const char *reference);
    enum serve_problem otherwise;
} forms[] = {
    {NULL, "/tags/list", ROUTE_TAGS, NULL, PROBLEM_NONE},
    {NULL, "/blobs/uploads/", ROUTE_UPLOADS, NULL, PROBLEM_NONE},
    {NULL, "/blobs/uploads", ROUTE_UPLOADS, NULL, PROBLEM_NONE},
    {"/blobs/uploads/", NULL, ROUTE_UPLOAD, serve_id_ok, PROBLEM_UPLOAD_UNKNOWN},
    {"/manifests/", NULL, ROUTE_MANIFEST, serve_reference_ok, PROBLEM_MANIFEST_INVALID},
    {"/blobs/", NULL, ROUTE_BLOB, serve_digest_ok, PROBLEM_DIGEST_INVALID},
    {"/referrers/", NULL, ROUTE_REFERRERS, serve_digest_ok, PROBLEM_DIGEST_INVALID},
};

/* Where the form's own words begin in rest, or NULL; *ret_reference is what follows them. */
static const char *match(const char *rest, size_t form, const char **ret_reference)
{
    const char *marker = forms[form].marker, *end = forms[form].end;
    size_t len = strlen(rest), n = strlen(marker ? marker : end);
    if (!marker) {
        *ret_reference = "";
        return len > n && strcmp(rest + len - n, end) == 0 ? rest + len - n : NULL;
    }
    const char *last = strrchr(rest, '/');
    if (!last || (size_t)(last - rest) + 1 <= n || strncmp(last + 1 - n, marker, n) != 0)
        return NULL;
    *ret_reference = last + 1;
    return last + 1 - n;
}

static enum serve_problem fill(size_t form, const char *rest, const char *words,
                               const char *reference, struct serve_route *ret)
{
    size_t len = (size_t)(words - rest);
    if (len > SERVE_REPOSITORY_MAX)
        return PROBLEM_NAME_INVALID;
    ret->kind = forms[form].kind;
    memcpy(ret->repository, rest, len);
    ret->repository[len] = '\0';
    if (!serve_repository_ok(ret->repository))
        return PROBLEM_NAME_INVALID;
    if (forms[form].reference_ok && !forms[form].reference_ok(reference))
        return strchr(reference, ':') ? PROBLEM_DIGEST_INVALID : forms[form].otherwise;
    snprintf(ret->reference, sizeof(ret->reference), "%s", reference);
    return PROBLEM_NONE;
}

enum serve_problem serve_route_parse(const char *path, struct serve_route *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (strcmp(path, "/v2") == 0 || strcmp(path, "/v2/") == 0) {
        ret->kind = ROUTE_ROOT;
        return PROBLEM_NONE;
    }
    if (strcmp(path, "/token") == 0) {
        ret->kind = ROUTE_TOKEN;
        return PROBLEM_NONE;
    }
    if (strncmp(path, "/v2/", 4) != 0)
        return PROBLEM_PATH;
    const char *rest = path + 4, *reference;
    if (strcmp(rest, "_catalog") == 0) {
        ret->kind = ROUTE_CATALOG;
        return PROBLEM_NONE;
    }
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        const char *words = match(rest, i, &reference);
        if (words)
            return fill(i, rest, words, reference, ret);
    }
    return PROBLEM_PATH;
}
