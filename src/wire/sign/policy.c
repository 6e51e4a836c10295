#include "wire/sign/policy.h"

#include <string.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/json.h"
#include "base/strv.h"

#define SCOPE_MAX_BYTES 512

enum scope_kind {
    SCOPES_OF_REGISTRIES,
    SCOPES_OF_PATHS,
    SCOPES_NONE,
    SCOPES_ANY, /* of transports that Proa has not */
};

static const struct {
    const char *name;
    enum scope_kind scopes;
} transports[] = {
    {TRUST_TRANSPORT_REGISTRY, SCOPES_OF_REGISTRIES},
    {TRUST_TRANSPORT_ARCHIVE, SCOPES_NONE},
    {TRUST_TRANSPORT_OCI_DIR, SCOPES_OF_PATHS},
    {TRUST_TRANSPORT_OCI_FILE, SCOPES_OF_PATHS},
    {TRUST_TRANSPORT_TAR, SCOPES_NONE},
    {"atomic", SCOPES_ANY},
    {"containers-storage", SCOPES_ANY},
    {"dir", SCOPES_ANY},
    {"docker-daemon", SCOPES_ANY},
    {"ostree", SCOPES_ANY},
    {"sif", SCOPES_ANY},
};

static const struct {
    const char *word;
    enum trust_requirement_type type;
    const char *members; /* besides "type"; NULL: whatever there is */
} requirement_words[] = {
    {"insecureAcceptAnything", TRUST_ACCEPT, ""},
    {"reject", TRUST_REJECT, ""},
    {"requireDigest", TRUST_DIGEST, ""},
    {"sigstoreSigned", TRUST_SIGNED, "keyPath keyPaths keyData keyDatas signedIdentity"},
    {"signedBy", TRUST_UNSUPPORTED, NULL},
    {"signedBaseLayer", TRUST_UNSUPPORTED, NULL},
};

/* Members of sigstoreSigned that ask for what is not checked here. */
static const char *const unsupported_members[] = {
    "fulcio",
    "pki",
    "rekorPublicKeyPath",
    "rekorPublicKeyPaths",
    "rekorPublicKeyData",
    "rekorPublicKeyDatas",
};

static const struct {
    const char *word;
    enum trust_identity_type type;
    const char *value, *members;
} identity_words[] = {
    {"matchRepoDigestOrExact", TRUST_MATCH_REPOSITORY_DIGEST_OR_EXACT, NULL, "type"},
    {"matchExact", TRUST_MATCH_EXACT, NULL, "type"},
    {"matchRepository", TRUST_MATCH_REPOSITORY, NULL, "type"},
    {"exactReference", TRUST_EXACT_REFERENCE, "dockerReference", "type dockerReference"},
    {"exactRepository", TRUST_EXACT_REPOSITORY, "dockerRepository", "type dockerRepository"},
    {"remapIdentity", TRUST_REMAP_IDENTITY, "prefix", "type prefix signedPrefix"},
};

const char *trust_identity_word(enum trust_identity_type type)
{
    for (size_t i = 0; i < ARRAY_SIZE(identity_words); i++)
        if (identity_words[i].type == type)
            return identity_words[i].word;
    return "";
}

static void requirement_done(struct trust_requirement *q)
{
    free(q->word);
    strv_free(q->key_paths);
    strv_free(q->keys);
    free(q->identity.value);
    free(q->identity.signed_prefix);
}

void trust_policy_done(struct trust_policy *p)
{
    for (size_t i = 0; i < p->n_rules; i++) {
        struct trust_rule *rule = &p->rules[i];
        for (size_t k = 0; k < rule->n_requirements; k++)
            requirement_done(&rule->requirements[k]);
        free(rule->requirements);
        free(rule->transport);
        free(rule->scope);
    }
    free(p->rules);
    memset(p, 0, sizeof(*p));
}

/* Every member is one of the words; words are parted by spaces. */
static int check_members(const json_t *o, const char *where, const char *words, struct error *err)
{
    _cleanup_strv_ char **known = strv_split(words, ' ');
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)o, key, value)
    {
        if (!strv_has(known, key))
            return error_invalid(err, "%s: \"%.100s\" is not known", where, key);
    }
    return 0;
}

static int require_reference(const char *text, bool exact, const char *where, struct error *err)
{
    _cleanup_(reference_done) struct reference r = {0};
    int e = reference_parse(text, &r, err);
    if (e < 0)
        return error_prefix(err, "%s", where);
    if (exact != (r.tag || r.digest))
        return error_invalid(err, "%s: \"%.200s\" must name %s", where, text,
                             exact ? "a tag or a digest" : "a repository only");
    return 0;
}

static int parse_identity(const json_t *o, const char *where, struct trust_identity *ret,
                          struct error *err)
{
    const char *word = NULL, *value = NULL, *prefix = NULL;
    size_t i = 0;
    int r = json_get_string(o, where, "type", &word, err);
    if (r < 0)
        return r;
    while (i < ARRAY_SIZE(identity_words) && (!word || strcmp(identity_words[i].word, word) != 0))
        i++;
    if (i == ARRAY_SIZE(identity_words))
        return error_invalid(err, "%s: signedIdentity \"%.100s\" is not known", where,
                             word ? word : "");
    const char *key = identity_words[i].value;
    ret->type = identity_words[i].type;
    if ((r = check_members(o, where, identity_words[i].members, err)) < 0)
        return r;
    if (!key)
        return 0;
    if ((r = json_get_string(o, where, key, &value, err)) < 0 ||
        (r = json_get_string(o, where, "signedPrefix", &prefix, err)) < 0)
        return r;
    if (!value || !*value || (ret->type == TRUST_REMAP_IDENTITY && (!prefix || !*prefix)))
        return error_invalid(err, "%s: %s needs \"%s\"%s", where, word, key,
                             ret->type == TRUST_REMAP_IDENTITY ? " and \"signedPrefix\"" : "");
    ret->value = xstrdup(value);
    ret->signed_prefix = xstrdup(prefix);
    if (ret->type == TRUST_REMAP_IDENTITY)
        return 0;
    return require_reference(value, ret->type == TRUST_EXACT_REFERENCE, where, err);
}

static int add_key_path(const char *path, const char *where, struct trust_requirement *q,
                        struct error *err)
{
    if (path[0] != '/')
        return error_invalid(err, "%s: the key's path \"%.200s\" is not absolute", where, path);
    strv_add(&q->key_paths, path);
    return 0;
}

static int add_key_data(const char *data, const char *where, struct trust_requirement *q,
                        struct error *err)
{
    _cleanup_free_ char *pem = NULL;
    size_t len;
    if (base64_decode(data, &pem, &len) < 0 || len == 0 || strlen(pem) != len)
        return error_invalid(err, "%s: a key's data is no base64 of a PEM text", where);
    strv_take(&q->keys, TAKE_PTR(pem));
    return 0;
}

static int parse_keys(const json_t *o, const char *where, struct trust_requirement *q,
                      struct error *err)
{
    static const struct {
        const char *one, *many;
        int (*add)(const char *text, const char *where, struct trust_requirement *q,
                   struct error *err);
    } kinds[] = {{"keyPath", "keyPaths", add_key_path}, {"keyData", "keyDatas", add_key_data}};
    unsigned int given = 0;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const char *one = NULL;
        _cleanup_strv_ char **many = NULL;
        int r;
        if ((r = json_get_string(o, where, kinds[i].one, &one, err)) < 0 ||
            (r = json_get_strv(o, where, kinds[i].many, &many, err)) < 0)
            return r;
        given += (one != NULL) + (many != NULL);
        if (one && (r = kinds[i].add(one, where, q, err)) < 0)
            return r;
        for (size_t k = 0; many && many[k]; k++)
            if ((r = kinds[i].add(many[k], where, q, err)) < 0)
                return r;
    }
    size_t n = strv_len(q->key_paths) + strv_len(q->keys);
    if (given != 1 || n == 0)
        return error_invalid(err,
                             "%s: exactly one of keyPath, keyPaths, keyData, keyDatas names "
                             "at least one key",
                             where);
    if (n > TRUST_KEYS_MAX)
        return error_invalid(err, "%s: more than %u keys", where, TRUST_KEYS_MAX);
    return 0;
}

static int parse_signed(const json_t *o, const char *where, struct trust_requirement *q,
                        struct error *err)
{
    json_t *identity = NULL;
    int r = json_get_object(o, where, "signedIdentity", &identity, err);
    if (r == 0 && identity)
        r = parse_identity(identity, where, &q->identity, err);
    return r < 0 ? r : parse_keys(o, where, q, err);
}

static int parse_requirement(const json_t *o, const char *where, struct trust_requirement *q,
                             struct error *err)
{
    const char *word = NULL;
    size_t i = 0;
    int r;
    if (!json_is_object(o))
        return error_invalid(err, "%s: a requirement must be an object", where);
    if ((r = json_get_string(o, where, "type", &word, err)) < 0)
        return r;
    while (i < ARRAY_SIZE(requirement_words) &&
           (!word || strcmp(requirement_words[i].word, word) != 0))
        i++;
    if (i == ARRAY_SIZE(requirement_words))
        return error_invalid(err, "%s: the requirement \"%.100s\" is not known", where,
                             word ? word : "");
    q->word = xstrdup(word);
    q->type = requirement_words[i].type;
    for (size_t k = 0; q->type == TRUST_SIGNED && k < ARRAY_SIZE(unsupported_members); k++)
        if (json_object_get(o, unsupported_members[k])) {
            free(q->word);
            q->word = xasprintf("%s with %s", word, unsupported_members[k]);
            q->type = TRUST_UNSUPPORTED;
        }
    if (q->type == TRUST_UNSUPPORTED)
        return 0;
    _cleanup_free_ char *words = xasprintf("type %s", requirement_words[i].members);
    if ((r = check_members(o, where, words, err)) < 0)
        return r;
    return q->type == TRUST_SIGNED ? parse_signed(o, where, q, err) : 0;
}

/* What the name in a policy must look like to ever fit something. */
static int check_scope(enum scope_kind kind, const char *scope, const char *where,
                       struct error *err)
{
    if (strlen(scope) > SCOPE_MAX_BYTES)
        return error_invalid(err, "%.100s: a scope is too long", where);
    if (scope[0] == '\0' || kind == SCOPES_ANY)
        return 0;
    if (kind == SCOPES_NONE)
        return error_invalid(err, "%s: this transport knows no scopes", where);
    if (kind == SCOPES_OF_PATHS && scope[0] != '/')
        return error_invalid(err, "%s: the path must be absolute", where);
    if (kind == SCOPES_OF_PATHS)
        return 0;
    for (const char *c = scope; *c && *c != ':'; c++)
        if (*c >= 'A' && *c <= 'Z')
            return error_invalid(err, "%s: names are written in small letters", where);
    if (strncmp(scope, "*.", 2) == 0)
        return reference_host_ok(scope + 2) && !strchr(scope, ':')
                   ? 0
                   : error_invalid(err, "%s: after \"*.\" comes a domain and nothing else", where);
    if (reference_host_ok(scope))
        return strpbrk(scope, ".:") || strcmp(scope, "localhost") == 0
                   ? 0
                   : error_invalid(err, "%s: begin with the registry, as in docker.io/%s", where,
                                   scope);
    _cleanup_(reference_done) struct reference r = {0};
    int e = reference_parse(scope, &r, err);
    if (e < 0)
        return error_prefix(err, "%s", where);
    if (!r.registry)
        return error_invalid(err, "%s: begin with the registry, as in docker.io/%s", where, scope);
    return 0;
}

static int add_rule(struct trust_policy *p, const char *transport, const char *scope,
                    const json_t *requirements, const char *where, struct error *err)
{
    size_t n = json_array_size(requirements), i;
    json_t *o;
    if (!json_is_array(requirements) || n == 0 || n > TRUST_REQUIREMENTS_MAX)
        return error_invalid(err, "%s: must be a list of 1 to %u requirements", where,
                             TRUST_REQUIREMENTS_MAX);
    p->rules = xreallocarray(p->rules, p->n_rules + 1, sizeof(*p->rules));
    struct trust_rule *rule = &p->rules[p->n_rules++];
    *rule = (struct trust_rule){
        .transport = xstrdup(transport),
        .scope = xstrdup(scope),
        .requirements = xcalloc(n, sizeof(*rule->requirements)),
    };
    json_array_foreach(requirements, i, o)
    {
        rule->n_requirements = i + 1;
        int r = parse_requirement(o, where, &rule->requirements[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int parse_transport(const char *name, const json_t *scopes, const char *what,
                           struct trust_policy *p, struct error *err)
{
    const char *scope;
    json_t *requirements;
    size_t i = 0;
    while (i < ARRAY_SIZE(transports) && strcmp(transports[i].name, name) != 0)
        i++;
    if (i == ARRAY_SIZE(transports))
        return error_invalid(err, "%s: the transport \"%.100s\" is not known", what, name);
    if (!json_is_object(scopes))
        return error_invalid(err, "%s: \"%s\" must be an object", what, name);
    json_object_foreach((json_t *)scopes, scope, requirements)
    {
        _cleanup_free_ char *where = xasprintf("%s: %s \"%.200s\"", what, name, scope);
        int r = check_scope(transports[i].scopes, scope, where, err);
        if (r < 0 || (r = add_rule(p, name, scope, requirements, where, err)) < 0)
            return r;
    }
    return 0;
}

static int parse_document(const json_t *o, const char *what, struct trust_policy *p,
                          struct error *err)
{
    _cleanup_free_ char *where = xasprintf("%s: \"default\"", what);
    json_t *names = NULL, *scopes;
    const char *name;
    int r;
    if (!json_is_object(o))
        return error_invalid(err, "%s: must be an object", what);
    if ((r = check_members(o, what, "default transports", err)) < 0 ||
        (r = add_rule(p, NULL, NULL, json_object_get(o, "default"), where, err)) < 0 ||
        (r = json_get_object(o, what, "transports", &names, err)) < 0)
        return r;
    json_object_foreach(names, name, scopes)
    {
        if ((r = parse_transport(name, scopes, what, p, err)) < 0)
            return r;
    }
    return 0;
}

int trust_policy_parse(const char *text, size_t len, const char *what, struct trust_policy *ret,
                       struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    _cleanup_(trust_policy_done) struct trust_policy p = {0};
    if (len > TRUST_POLICY_MAX_BYTES)
        return error_set(err, ERROR_LIMIT, EFBIG, "%s: larger than %zu bytes", what,
                         TRUST_POLICY_MAX_BYTES);
    int r = json_parse(text, len, what, &o, err);
    if (r < 0 || (r = parse_document(o, what, &p, err)) < 0)
        return r;
    *ret = p;
    memset(&p, 0, sizeof(p));
    return 0;
}
