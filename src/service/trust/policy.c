/* The policy file, and what its rules say of an image. */
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "service/trust/internal.h"

#define KEY_MAX_BYTES ((size_t)64 << 10)

static const char accept_everything[] = "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}";

void trust_close(struct trust *t)
{
    if (!t)
        return;
    trust_policy_done(&t->policy);
    free(t->file);
    free(t);
}

int trust_open(const char *file, struct trust **ret, struct error *err)
{
    _cleanup_trust_ struct trust *t = xnew(struct trust);
    _cleanup_free_ char *text = NULL;
    const char *path = file ? file : TRUST_DEFAULT_FILE;
    int r = file_read(AT_FDCWD, path, TRUST_POLICY_MAX_BYTES, &text);
    if (r == -ENOENT && !file)
        text = xstrdup(accept_everything);
    else if (r < 0)
        return error_errno(err, r, "read the policy %s", path);
    else
        t->file = xstrdup(path);
    if ((r = trust_policy_parse(text, strlen(text), path, &t->policy, err)) < 0)
        return r;
    *ret = TAKE_PTR(t);
    return 0;
}

char *trust_describe(const struct trust_requirement *q)
{
    if (q->type != TRUST_SIGNED)
        return xstrdup(q->word);
    _cleanup_free_ char *paths = q->key_paths ? strv_join(q->key_paths, " or ") : NULL;
    const struct trust_identity *i = &q->identity;
    return xasprintf("%s by %s, %s%s%s%s%s", q->word, paths ? paths : "a key in the policy",
                     trust_identity_word(i->type), i->value ? " " : "", i->value ? i->value : "",
                     i->signed_prefix ? " to " : "", i->signed_prefix ? i->signed_prefix : "");
}

int trust_read_keys(const struct trust_requirement *q, char ***ret, struct error *err)
{
    _cleanup_strv_ char **keys = strv_copy(q->keys);
    for (size_t i = 0; q->key_paths && q->key_paths[i]; i++) {
        char *pem = NULL;
        int r = file_read(AT_FDCWD, q->key_paths[i], KEY_MAX_BYTES, &pem);
        if (r < 0)
            return error_errno(err, r, "read the key %s", q->key_paths[i]);
        strv_take(&keys, pem);
    }
    *ret = TAKE_PTR(keys);
    return 0;
}

static int check_requirement(const struct trust_requirement *q, const struct trust_image *image,
                             const struct trust_registry *from, struct error *err)
{
    switch (q->type) {
    case TRUST_ACCEPT:
        return 0;
    case TRUST_REJECT:
        return error_set(err, ERROR_DENIED, EACCES, "it is rejected");
    case TRUST_DIGEST:
        if (image && image->reference->digest)
            return 0;
        return error_set(err, ERROR_DENIED, EACCES,
                         "it must be named by its digest (NAME@sha256:...)");
    case TRUST_SIGNED:
        if (image)
            return trust_search(q, image, from, err);
        return error_set(err, ERROR_DENIED, EACCES, "it must be signed, and no archive can be");
    case TRUST_UNSUPPORTED:
        break;
    }
    return error_set(err, ERROR_DENIED, EACCES, "it asks for %s, which Proa does not know",
                     q->word);
}

static int check_rule(const struct trust *t, const struct trust_rule *rule,
                      const struct trust_image *image, const struct trust_registry *from,
                      struct error *err)
{
    for (size_t i = 0; i < rule->n_requirements; i++) {
        int r = check_requirement(&rule->requirements[i], image, from, err);
        if (r < 0)
            return error_prefix(err, "refused by %s (%s%s%.150s)", t->file ? t->file : "the policy",
                                rule->transport ? rule->transport : "default",
                                rule->scope && *rule->scope ? " " : "",
                                rule->scope ? rule->scope : "");
    }
    return 0;
}

int trust_check(const struct trust *t, const struct trust_image *image,
                const struct trust_registry *from, struct error *err)
{
    _cleanup_strv_ char **scopes = trust_scopes_of_reference(image->reference);
    return check_rule(t, trust_policy_find(&t->policy, TRUST_TRANSPORT_REGISTRY, scopes), image,
                      from, err);
}

int trust_check_local(const struct store *s, const char *transport, const char *path,
                      struct error *err)
{
    _cleanup_trust_ struct trust *t = NULL;
    _cleanup_strv_ char **scopes = path ? trust_scopes_of_path(path) : NULL;
    int r = trust_open(s->policy, &t, err);
    return r < 0 ? r
                 : check_rule(t, trust_policy_find(&t->policy, transport, scopes), NULL, NULL, err);
}
