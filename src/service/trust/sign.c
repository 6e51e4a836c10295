/* Making signatures and putting them where registries keep them (wire/sign/manifest.h). */
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "service/trust/internal.h"
#include "wire/image/digest.h"
#include "wire/sign/manifest.h"
#include "wire/sign/payload.h"

#define KEY_MAX_BYTES        ((size_t)64 << 10)
#define PASSPHRASE_MAX_BYTES 4096

static void wipe(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

void trust_key_done(struct trust_key *k)
{
    wipe(&k->pem);
    wipe(&k->passphrase);
}

void trust_signature_done(struct trust_signature *s)
{
    free(s->payload);
    free(s->signature);
    free(s->public_key);
    memset(s, 0, sizeof(*s));
}

/* The first line of the file, as an editor leaves it. */
int trust_passphrase_read(const char *file, char **ret, struct error *err)
{
    if (!file) {
        *ret = xstrdup(getenv("COSIGN_PASSWORD"));
        return 0;
    }
    int r = file_read(AT_FDCWD, file, PASSPHRASE_MAX_BYTES, ret);
    if (r < 0)
        return error_errno(err, r, "read the passphrase %s", file);
    (*ret)[strcspn(*ret, "\r\n")] = '\0';
    return 0;
}

int trust_key_read(const char *file, const char *passphrase_file, struct trust_key *ret,
                   struct error *err)
{
    _cleanup_(trust_key_done) struct trust_key k = {0};
    int r = file_read(AT_FDCWD, file, KEY_MAX_BYTES, &k.pem);
    if (r < 0)
        return error_errno(err, r, "read the key %s", file);
    if ((r = trust_passphrase_read(passphrase_file, &k.passphrase, err)) < 0)
        return r;
    *ret = k;
    memset(&k, 0, sizeof(k));
    return 0;
}

/* A member that the helper must give; owned. */
static int take_text(const json_t *result, const char *key, char **ret, struct error *err)
{
    const char *text = NULL;
    int r = json_get_string(result, "proa-trust", key, &text, err);
    if (r == 0 && !text)
        r = error_set(err, ERROR_SYSTEM, EIO, "proa-trust gives no \"%s\"", key);
    if (r == 0)
        *ret = xstrdup(text);
    return r;
}

int trust_sign(const struct trust_key *k, const char *identity, const char *digest,
               struct trust_signature *ret, struct error *err)
{
    _cleanup_(trust_signature_done) struct trust_signature s = {0};
    _cleanup_json_ json_t *result = NULL;
    s.payload = sign_payload_make(identity, digest);
    json_t *request = json_pack("{s:s,s:s*,s:o}", "key", k->pem, "passphrase", k->passphrase,
                                "text", trust_base64(s.payload, strlen(s.payload)));
    int r = trust_helper("sign", request, &result, err);
    if (r < 0 || (r = take_text(result, "signature", &s.signature, err)) < 0 ||
        (r = take_text(result, "public", &s.public_key, err)) < 0)
        return r;
    *ret = s;
    memset(&s, 0, sizeof(s));
    return 0;
}

int trust_digest(const char *text, size_t len, char **ret, struct error *err)
{
    _cleanup_json_ json_t *result = NULL;
    json_t *request = json_pack("{s:o}", "text", trust_base64(text, len));
    int r = trust_helper("digest", request, &result, err);
    if (r == 0)
        r = take_text(result, "digest", ret, err);
    if (r == 0 && !digest_valid(*ret))
        r = error_set(err, ERROR_SYSTEM, EIO, "proa-trust gives no digest");
    return r;
}

/* Blobs first: a registry refuses a manifest of which it has not everything. */
int trust_attach(const struct trust_registry *to, const char *digest,
                 const struct trust_signature *s, struct error *err)
{
    _cleanup_free_ char *tag = sign_tag(digest), *old = NULL, *config = NULL, *manifest = NULL;
    _cleanup_free_ char *payload_digest = NULL, *config_digest = NULL;
    size_t old_len = 0;
    int r;
    if ((r = to->get_manifest(to->context, tag, &old, &old_len, err)) < 0 ||
        (r = trust_digest(s->payload, strlen(s->payload), &payload_digest, err)) < 0 ||
        (r = sign_config_make(old, old_len, payload_digest, &config, err)) < 0 ||
        (r = trust_digest(config, strlen(config), &config_digest, err)) < 0)
        return r;
    const struct sign_entry added = {payload_digest, strlen(s->payload), s->signature};
    if ((r = sign_manifest_make(old, old_len, &added, config, config_digest, &manifest, err)) < 0 ||
        (r = to->put_blob(to->context, payload_digest, s->payload, err)) < 0 ||
        (r = to->put_blob(to->context, config_digest, config, err)) < 0)
        return r;
    return to->put_manifest(to->context, tag, SIGN_MANIFEST_TYPE, manifest, err);
}

int trust_generate(const char *type, const char *passphrase, char **ret_private, char **ret_public,
                   struct error *err)
{
    _cleanup_json_ json_t *result = NULL;
    _cleanup_free_ char *public = NULL;
    json_t *request = json_pack("{s:s,s:s*}", "type", type, "passphrase", passphrase);
    int r = trust_helper("generate", request, &result, err);
    if (r < 0 || (r = take_text(result, "public", &public, err)) < 0 ||
        (r = take_text(result, "private", ret_private, err)) < 0)
        return r;
    *ret_public = TAKE_PTR(public);
    return 0;
}
