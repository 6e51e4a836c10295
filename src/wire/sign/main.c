/*
 * proa-trust: everything that touches keys and signatures, in a process without privilege (it is
 * confined as proa-layer is). One JSON object on stdin, one on stdout; bytes are in base64.
 *
 *   proa-trust verify    {"keys":[PEM...],"text","signature"} -> {"key"}: which key's signature it
 *                        is, or -1
 *   proa-trust sign      {"key":PEM,"passphrase"?,"text"} -> {"signature","public":PEM}
 *   proa-trust generate  {"type","passphrase"?} -> {"private":PEM,"public":PEM}
 *   proa-trust digest    {"text"} -> {"digest"}
 *
 * An error is one line on stderr, "KIND MESSAGE", KIND being a word of error_kind_name().
 */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <sodium.h>
#include <string.h>

#include "base/base64.h"
#include "base/fd.h"
#include "base/json.h"
#include "wire/confine/compute.h"
#include "wire/sign/key.h"

#define INPUT_MAX_BYTES ((size_t)4 << 20)
#define WHAT            "request"

static int get_text(const json_t *o, const char *key, const char **ret, struct error *err)
{
    int r = json_get_string(o, WHAT, key, ret, err);
    return r == 0 && !*ret ? error_invalid(err, "%s: without \"%s\"", WHAT, key) : r;
}

static int get_bytes(const json_t *o, const char *key, char **ret, size_t *ret_len,
                     struct error *err)
{
    const char *text = NULL;
    int r = get_text(o, key, &text, err);
    if (r == 0 && base64_decode(text, ret, ret_len) < 0)
        r = error_invalid(err, "%s: \"%s\" is no base64", WHAT, key);
    return r;
}

static int run_verify(const json_t *o, json_t **ret, struct error *err)
{
    _cleanup_free_ char *text = NULL, *signature = NULL;
    size_t text_len, signature_len, i;
    json_t *keys = NULL, *key;
    int found = -1, r;
    if ((r = get_bytes(o, "text", &text, &text_len, err)) < 0 ||
        (r = get_bytes(o, "signature", &signature, &signature_len, err)) < 0 ||
        (r = json_get_array(o, WHAT, "keys", &keys, err)) < 0)
        return r;
    json_array_foreach(keys, i, key)
    {
        bool good = false;
        const char *pem = json_string_value(key);
        r = key_verify(pem ? pem : "", (struct key_text){text, text_len},
                       (struct key_text){signature, signature_len}, &good, err);
        if (r < 0)
            return error_prefix(err, "key %zu", i + 1);
        if (good && found < 0)
            found = (int)i;
    }
    *ret = json_pack("{s:i}", "key", found);
    return 0;
}

static int run_sign(const json_t *o, json_t **ret, struct error *err)
{
    _cleanup_free_ char *text = NULL, *signature = NULL, *public = NULL;
    const char *key = NULL, *passphrase = NULL;
    size_t text_len, len;
    int r;
    if ((r = get_bytes(o, "text", &text, &text_len, err)) < 0 ||
        (r = get_text(o, "key", &key, err)) < 0 ||
        (r = json_get_string(o, WHAT, "passphrase", &passphrase, err)) < 0 ||
        (r = key_sign(key, passphrase, (struct key_text){text, text_len}, &signature, &len, &public,
                      err)) < 0)
        return r;
    _cleanup_free_ char *encoded = base64_encode(signature, len);
    *ret = json_pack("{s:s,s:s}", "signature", encoded, "public", public);
    return 0;
}

static int run_generate(const json_t *o, json_t **ret, struct error *err)
{
    _cleanup_free_ char *private = NULL, *public = NULL;
    const char *type = NULL, *passphrase = NULL;
    int r;
    if ((r = get_text(o, "type", &type, err)) < 0 ||
        (r = json_get_string(o, WHAT, "passphrase", &passphrase, err)) < 0 ||
        (r = key_generate(type, passphrase, &private, &public, err)) < 0)
        return r;
    *ret = json_pack("{s:s,s:s}", "private", private, "public", public);
    return 0;
}

static int run_digest(const json_t *o, json_t **ret, struct error *err)
{
    _cleanup_free_ char *text = NULL;
    char digest[KEY_DIGEST_SIZE];
    size_t len;
    int r;
    if ((r = get_bytes(o, "text", &text, &len, err)) < 0 ||
        (r = key_digest((struct key_text){text, len}, digest, err)) < 0)
        return r;
    *ret = json_pack("{s:s}", "digest", digest);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(const json_t *o, json_t **ret, struct error *err);
} commands[] = {
    {"verify", run_verify},
    {"sign", run_sign},
    {"generate", run_generate},
    {"digest", run_digest},
};

static int answer(int (*run)(const json_t *o, json_t **ret, struct error *err), struct error *err)
{
    _cleanup_buf_ struct buf input = BUF_INIT(INPUT_MAX_BYTES);
    _cleanup_json_ json_t *request = NULL, *result = NULL;
    int r = fd_read_to_end(STDIN_FILENO, &input);
    if (r < 0)
        return error_errno(err, r, "read the request");
    r = json_parse(input.data ? input.data : "", input.len, WHAT, &request, err);
    if (r < 0 || (r = run(request, &result, err)) < 0)
        return r;
    _cleanup_free_ char *text = json_to_text(result);
    r = fd_write_all(STDOUT_FILENO, text, strlen(text));
    return r < 0 ? error_errno(err, r, "write the result") : 0;
}

static int run(const char *command, struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (strcmp(command, commands[i].name) != 0)
            continue;
        int r = confine_compute(err);
        return r < 0 ? r : answer(commands[i].run, err);
    }
    return error_invalid(err, "usage: proa-trust verify|sign|generate|digest");
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    /* What the libraries load from files on first use has to be there before no file can be opened.
     */
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    EVP_MD_free(EVP_MD_fetch(NULL, "SHA256", NULL));
    EVP_KDF_free(EVP_KDF_fetch(NULL, OSSL_KDF_NAME_SCRYPT, NULL));
    int r = sodium_init() < 0 ? error_set(&err, ERROR_SYSTEM, EIO, "libsodium does not start")
                              : run(argc == 2 ? argv[1] : "", &err);
    if (r == 0)
        return 0;
    fprintf(stderr, "%s %s\n", error_kind_name(err.kind), err.msg);
    return 1;
}
