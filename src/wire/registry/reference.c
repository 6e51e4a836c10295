#include "wire/registry/reference.h"

#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "wire/image/digest.h"

#define NAME_MAX_BYTES 255
#define TAG_MAX_BYTES  128
#define HUB            "docker.io"
#define HUB_LIBRARY    "library/"

static int bad_name(const char *name, const char *why, struct error *err)
{
    return error_invalid(err, "\"%.100s\" is no image name: %s", name, why);
}

void reference_done(struct reference *r)
{
    free(r->registry);
    free(r->repository);
    free(r->tag);
    free(r->digest);
    memset(r, 0, sizeof(*r));
}

static bool is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Lower-case letters and digits, with single ".", "_", "__" or dashes between them. */
static bool path_part_ok(const char *p, size_t len)
{
    if (len == 0 || !is_lower_or_digit(p[0]) || !is_lower_or_digit(p[len - 1]))
        return false;
    for (size_t i = 1; i < len; i++) {
        if (is_lower_or_digit(p[i]) || p[i] == '-')
            continue;
        bool second = p[i] == '_' && p[i - 1] == '_' && i >= 2 && p[i - 2] != '_';
        if ((p[i] != '.' && p[i] != '_') || (!is_lower_or_digit(p[i - 1]) && !second))
            return false;
    }
    return true;
}

static bool path_ok(const char *p)
{
    const char *slash;
    while ((slash = strchr(p, '/'))) {
        if (!path_part_ok(p, (size_t)(slash - p)))
            return false;
        p = slash + 1;
    }
    return path_part_ok(p, strlen(p));
}

bool reference_host_ok(const char *p)
{
    size_t len = strlen(p);
    const char *colon = strchr(p, ':');
    size_t host = colon ? (size_t)(colon - p) : len;
    if (host == 0 || (colon && host + 1 == len))
        return false;
    for (size_t i = 0; i < host; i++)
        if (!isalnum((unsigned char)p[i]) && p[i] != '.' && p[i] != '-')
            return false;
    for (size_t i = host + 1; i < len; i++)
        if (!isdigit((unsigned char)p[i]))
            return false;
    return isalnum((unsigned char)p[0]);
}

static bool is_host(const char *p)
{
    return strpbrk(p, ".:") || strcmp(p, "localhost") == 0;
}

bool reference_tag_ok(const char *tag)
{
    size_t len = strlen(tag);
    if (len == 0 || len > TAG_MAX_BYTES || (!isalnum((unsigned char)tag[0]) && tag[0] != '_'))
        return false;
    for (const char *p = tag; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '_' && *p != '.' && *p != '-')
            return false;
    return true;
}

/* Cuts "@DIGEST" and then ":TAG" off the end of the copy. */
static int split_end(const char *text, char *copy, struct reference *r, struct error *err)
{
    char *at = strchr(copy, '@');
    if (at) {
        *at = '\0';
        if (!digest_valid(at + 1))
            return bad_name(text, "after \"@\" comes sha256: and 64 hex digits", err);
        r->digest = xstrdup(at + 1);
    }
    char *slash = strrchr(copy, '/'), *colon = strrchr(copy, ':');
    if (colon && (!slash || colon > slash)) {
        *colon = '\0';
        if (!reference_tag_ok(colon + 1))
            return bad_name(text, "a tag is up to 128 letters, digits and _ . -", err);
        r->tag = xstrdup(colon + 1);
    }
    return 0;
}

static int split_host(const char *text, char *copy, struct reference *r, struct error *err)
{
    char *slash = strchr(copy, '/');
    const char *path = copy;
    if (slash) {
        *slash = '\0';
        if (is_host(copy)) {
            if (!reference_host_ok(copy))
                return bad_name(text, "its registry is no HOST[:PORT]", err);
            r->registry = xstrdup(strcmp(copy, "index." HUB) == 0 ? HUB : copy);
            path = slash + 1;
        } else {
            *slash = '/';
        }
    }
    if (!path_ok(path))
        return bad_name(text, "a repository is lower-case letters, digits and . _ - between them",
                        err);
    bool library = r->registry && strcmp(r->registry, HUB) == 0 && !strchr(path, '/');
    r->repository = xasprintf("%s%s", library ? HUB_LIBRARY : "", path);
    return 0;
}

int reference_parse(const char *text, struct reference *ret, struct error *err)
{
    _cleanup_(reference_done) struct reference r = {0};
    _cleanup_free_ char *copy = xstrdup(text);
    int e = split_end(text, copy, &r, err);
    if (e < 0)
        return e;
    size_t len = strlen(copy);
    if (len == 0 || len > NAME_MAX_BYTES)
        return bad_name(text, len ? "it is too long" : "it is empty", err);
    if ((e = split_host(text, copy, &r, err)) < 0)
        return e;
    *ret = r;
    memset(&r, 0, sizeof(r));
    return 0;
}

/* Without the registry its first part would be taken for one. */
static bool looks_like_host(const char *repository)
{
    size_t first = strcspn(repository, "/");
    _cleanup_free_ char *part = xstrndup(repository, first);
    return repository[first] && is_host(part);
}

char *reference_store_name(const struct reference *r, const char *tag)
{
    bool hub = r->registry && strcmp(r->registry, HUB) == 0 && !looks_like_host(r->repository);
    size_t library = strlen(HUB_LIBRARY);
    const char *path = r->repository;
    if (hub && strncmp(path, HUB_LIBRARY, library) == 0 && !strchr(path + library, '/'))
        path += library;
    return xasprintf("%s%s%s%s%s", r->registry && !hub ? r->registry : "",
                     r->registry && !hub ? "/" : "", path, tag ? ":" : "", tag ? tag : "");
}
