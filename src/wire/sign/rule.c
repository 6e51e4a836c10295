/* Which rule of a policy is meant, and whether a signature's identity fits an image's. */
#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "wire/sign/policy.h"

const struct trust_rule *trust_policy_find(const struct trust_policy *p, const char *transport,
                                           char *const *scopes)
{
    for (size_t s = 0; scopes && scopes[s]; s++)
        for (size_t i = 1; i < p->n_rules; i++)
            if (strcmp(p->rules[i].transport, transport) == 0 &&
                strcmp(p->rules[i].scope, scopes[s]) == 0)
                return &p->rules[i];
    for (size_t i = 1; i < p->n_rules; i++)
        if (strcmp(p->rules[i].transport, transport) == 0 && p->rules[i].scope[0] == '\0')
            return &p->rules[i];
    return &p->rules[0];
}

/* Adds path and every directory above it, down to (not with) the empty text. */
static void add_parents(char ***v, const char *path)
{
    _cleanup_free_ char *copy = xstrdup(path);
    char *slash;
    strv_add(v, copy);
    while ((slash = strrchr(copy, '/')) && slash > copy) {
        *slash = '\0';
        strv_add(v, copy);
    }
}

/* Other spellings of a host ("Evil.example", "evil.example.:443") lead to the same one. */
static char *plain_host(const char *registry)
{
    char *host = xstrdup(registry ? registry : "");
    for (char *p = host; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    size_t len = strcspn(host, ":"), end = len;
    while (len > 1 && host[len - 1] == '.')
        len--;
    memmove(host + len, host + end, strlen(host + end) + 1);
    return host;
}

char **trust_scopes_of_reference(const struct reference *r)
{
    char **v = NULL;
    _cleanup_free_ char *host = plain_host(r->registry);
    _cleanup_free_ char *repository = xasprintf("%s/%s", host, r->repository);
    if (r->digest)
        strv_addf(&v, "%s@%s", repository, r->digest);
    if (r->tag)
        strv_addf(&v, "%s:%s", repository, r->tag);
    add_parents(&v, repository);
    /* A port is not part of a domain. */
    char *colon = strchr(host, ':');
    if (colon)
        *colon = '\0';
    for (const char *dot = strchr(host, '.'); dot; dot = strchr(dot + 1, '.'))
        strv_addf(&v, "*%s", dot);
    return v;
}

char **trust_scopes_of_path(const char *path)
{
    char **v = NULL;
    _cleanup_free_ char *normal = path_normalize(path);
    add_parents(&v, normal);
    if (strcmp(normal, "/") != 0)
        strv_add(&v, "/");
    return v;
}

/* With the registry that a name without one means. */
static int parse_whole(const char *text, struct reference *ret)
{
    _cleanup_(reference_done) struct reference r = {0};
    int e = reference_parse(text, &r, NULL);
    if (e < 0)
        return e;
    if (!r.registry) {
        _cleanup_free_ char *whole = xasprintf("docker.io/%s", text);
        return reference_parse(whole, ret, NULL);
    }
    *ret = r;
    memset(&r, 0, sizeof(r));
    return 0;
}

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_repository(const struct reference *a, const struct reference *b)
{
    return same(a->registry, b->registry) && same(a->repository, b->repository);
}

static bool same_exactly(const struct reference *a, const struct reference *b)
{
    return (a->tag || a->digest) && same_repository(a, b) && same(a->tag, b->tag) &&
           same(a->digest, b->digest);
}

/* An image named by its digest has been compared with that already; which of the repository's tags
 * was signed does not matter then. */
static bool digest_or_exact(const struct reference *image, const struct reference *claimed)
{
    if (!claimed->tag && !claimed->digest)
        return false;
    return image->digest ? same_repository(image, claimed) : same_exactly(image, claimed);
}

static bool matches_text(const char *text, bool exact, const struct reference *claimed)
{
    _cleanup_(reference_done) struct reference wanted = {0};
    return parse_whole(text, &wanted) == 0 &&
           (exact ? same_exactly(&wanted, claimed) : same_repository(&wanted, claimed));
}

static bool matches_remapped(const struct trust_identity *i, const struct reference *image,
                             const struct reference *claimed)
{
    _cleanup_(reference_done) struct reference r = {0};
    _cleanup_free_ char *name = xasprintf("%s/%s", image->registry, image->repository);
    size_t len = strlen(i->value);
    if (strncmp(name, i->value, len) != 0 || (name[len] != '\0' && name[len] != '/'))
        return digest_or_exact(image, claimed);
    _cleanup_free_ char *whole = xasprintf(
        "%s%s%s%s%s%s", i->signed_prefix, name + len, image->tag ? ":" : "",
        image->tag ? image->tag : "", image->digest ? "@" : "", image->digest ? image->digest : "");
    return parse_whole(whole, &r) == 0 && digest_or_exact(&r, claimed);
}

bool trust_identity_matches(const struct trust_identity *i, const struct reference *image,
                            const char *claimed)
{
    _cleanup_(reference_done) struct reference c = {0};
    if (parse_whole(claimed, &c) < 0)
        return false;
    switch (i->type) {
    case TRUST_MATCH_REPOSITORY_DIGEST_OR_EXACT:
        return digest_or_exact(image, &c);
    case TRUST_MATCH_EXACT:
        return same_exactly(image, &c);
    case TRUST_MATCH_REPOSITORY:
        return same_repository(image, &c);
    case TRUST_EXACT_REFERENCE:
        return matches_text(i->value, true, &c);
    case TRUST_EXACT_REPOSITORY:
        return matches_text(i->value, false, &c);
    case TRUST_REMAP_IDENTITY:
        return matches_remapped(i, image, &c);
    }
    return false;
}
