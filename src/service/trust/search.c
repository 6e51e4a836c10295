/*
 * Looking for a good signature. The order is what makes it safe: the registry's manifest of
 * signatures is a list of suggestions, parsed strictly; a suggested text is believed in nothing,
 * not even its own digest, until proa-trust has found that a key signed exactly these bytes; only
 * then is it parsed, and compared with the image.
 *
 * A signature that is not good does not spoil another that is: anybody who may push may add one.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/json.h"
#include "base/strv.h"
#include "service/trust/internal.h"
#include "wire/sign/manifest.h"
#include "wire/sign/payload.h"

struct search {
    const struct trust_requirement *requirement;
    const struct trust_image *image;
    const struct trust_registry *from;
    json_t *keys; /* PEM texts */
    size_t seen;
    struct error why; /* the last one was not good */
};

/* Whether one of the keys made the signature; -ENOENT when none did. */
static int verify(const struct search *s, const char *text, size_t len, const char *signature,
                  struct error *err)
{
    _cleanup_json_ json_t *result = NULL;
    _cleanup_free_ char *decoded = NULL;
    size_t unused;
    int64_t key = -1;
    if (base64_decode(signature, &decoded, &unused) < 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "a signature is no base64");
    json_t *request = json_pack("{s:O,s:o,s:s}", "keys", s->keys, "text", trust_base64(text, len),
                                "signature", signature);
    int r = trust_helper("verify", request, &result, err);
    if (r < 0 || (r = json_get_i64(result, "proa-trust", "key", &key, err)) < 0)
        return r;
    return key >= 0 ? 0 : error_set(err, ERROR_DENIED, ENOENT, "it is signed with another key");
}

/* Documents from outside are not what was asked for, even where a reader calls them invalid. */
static int from_outside(int r, struct error *err)
{
    if (r < 0 && err->kind == ERROR_INVALID)
        err->kind = ERROR_CORRUPT;
    return r;
}

/* digest: of what the signature was found beside. */
static int compare(const struct search *s, const char *digest, const char *text, size_t len,
                   struct error *err)
{
    _cleanup_(sign_payload_done) struct sign_payload p = {0};
    int r = from_outside(sign_payload_parse(text, len, &p, err), err);
    if (r < 0)
        return r;
    if (strcmp(p.digest, digest) != 0)
        return error_set(err, ERROR_DENIED, EACCES, "what is signed is another manifest (%s)",
                         p.digest);
    if (!trust_identity_matches(&s->requirement->identity, s->image->reference, p.reference))
        return error_set(err, ERROR_DENIED, EACCES, "what is signed is %.200s (%s)", p.reference,
                         trust_identity_word(s->requirement->identity.type));
    return 0;
}

static int try_entry(const struct search *s, const char *digest, const struct sign_entry *e,
                     struct error *err)
{
    _cleanup_free_ char *text = NULL;
    size_t len;
    int r = s->from->get_blob(s->from->context, e->digest, e->size, &text, &len, err);
    if (r == 0 && len != e->size)
        r = error_set(err, ERROR_CORRUPT, EBADMSG, "a signed text is not as long as it should be");
    if (r == 0)
        r = verify(s, text, len, e->signature, err);
    return r < 0 ? r : compare(s, digest, text, len, err);
}

/* Failures that say nothing of the signature: of the network, of this host. They end the search. */
static bool is_fatal(const struct error *err)
{
    return err->kind == ERROR_SYSTEM || err->kind == ERROR_INVALID;
}

/* True when a good one was found; otherwise s->why says why not. */
static bool search_digest(struct search *s, const char *digest)
{
    _cleanup_(sign_manifest_done) struct sign_manifest m = {0};
    _cleanup_free_ char *tag = sign_tag(digest), *text = NULL;
    size_t len;
    int r = s->from->get_manifest(s->from->context, tag, &text, &len, &s->why);
    if (r < 0 || !text || from_outside(sign_manifest_parse(text, len, &m, &s->why), &s->why) < 0)
        return false;
    for (size_t i = 0; i < m.n_entries; i++) {
        s->seen++;
        error_clear(&s->why);
        if (try_entry(s, digest, &m.entries[i], &s->why) == 0)
            return true;
        if (is_fatal(&s->why))
            return false;
    }
    return false;
}

static int refuse(const struct search *s, struct error *err)
{
    const struct error *why = &s->why;
    if (!why->code)
        return error_set(err, ERROR_DENIED, EACCES, "it has no signature");
    if (is_fatal(why) || s->seen == 0)
        return error_set(err, why->kind, why->code, "%s", why->msg);
    if (s->seen == 1)
        return error_set(err, ERROR_DENIED, EACCES, "%s", why->msg);
    return error_set(err, ERROR_DENIED, EACCES, "none of %zu signatures will do; of the last, %s",
                     s->seen, why->msg);
}

int trust_search(const struct trust_requirement *q, const struct trust_image *image,
                 const struct trust_registry *from, struct error *err)
{
    _cleanup_strv_ char **keys = NULL;
    struct search s = {q, image, from, NULL, 0, ERROR_INIT};
    bool found = false;
    int r = trust_read_keys(q, &keys, err);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *list = json_from_strv(keys);
    s.keys = list;
    for (size_t i = 0; !found && i < ARRAY_SIZE(image->digests); i++)
        if (image->digests[i] && !is_fatal(&s.why))
            found = search_digest(&s, image->digests[i]);
    return found ? 0 : refuse(&s, err);
}
