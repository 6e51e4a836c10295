/*
 * cosign's encrypted private key: a PEM text whose body is not DER but JSON,
 *
 *   {"kdf":{"name":"scrypt","params":{"N":32768,"r":8,"p":1},"salt":BASE64},
 *    "cipher":{"name":"nacl/secretbox","nonce":BASE64},"ciphertext":BASE64}
 *
 * scrypt makes a key of the passphrase, with which NaCl's secretbox (XSalsa20, Poly1305) is opened;
 * in it is a PKCS #8 key. Readers of this form refuse other parameters of scrypt than those they
 * know, so that we write exactly these and read others up to a limit.
 */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <sodium.h>
#include <string.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/json.h"
#include "wire/sign/key.h"

#define WHAT             "encrypted key"
#define SALT_SIZE        32
#define SCRYPT_N         32768
#define SCRYPT_R         8
#define SCRYPT_P         1
#define SCRYPT_MAX_BYTES ((uint64_t)512 << 20)

struct scrypt {
    uint64_t n;
    uint32_t r, p;
    const unsigned char *salt;
    size_t salt_len;
};

void key_free(void *secret, size_t len)
{
    if (secret)
        OPENSSL_cleanse(secret, len);
    free(secret);
}

static int derive(const struct scrypt *s, const char *passphrase,
                  unsigned char key[static crypto_secretbox_KEYBYTES], struct error *err)
{
    struct scrypt c = *s;
    uint64_t most = SCRYPT_MAX_BYTES + ((uint64_t)1 << 20);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PASSWORD, (void *)passphrase,
                                          strlen(passphrase)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)c.salt, c.salt_len),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &c.n),
        OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_R, &c.r),
        OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_P, &c.p),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &most),
        OSSL_PARAM_construct_end(),
    };
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_SCRYPT, NULL);
    EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    bool ok = context && EVP_KDF_derive(context, key, crypto_secretbox_KEYBYTES, params) == 1;
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return ok ? 0 : error_set(err, ERROR_SYSTEM, EIO, "%s: scrypt failed", WHAT);
}

static int get_bytes(const json_t *o, const char *key, char **ret, size_t *ret_len,
                     struct error *err)
{
    const char *text = NULL;
    int r = json_get_string(o, WHAT, key, &text, err);
    if (r < 0)
        return r;
    if (!text || base64_decode(text, ret, ret_len) < 0)
        return error_invalid(err, "%s: \"%s\" is no base64", WHAT, key);
    return 0;
}

/* The object of that name whose own "name" is the one that we know. */
static int get_named(const json_t *o, const char *key, const char *name, json_t **ret,
                     struct error *err)
{
    const char *is = NULL;
    json_t *found = NULL;
    int r;
    if ((r = json_get_object(o, WHAT, key, &found, err)) < 0 ||
        (r = json_get_string(found, WHAT, "name", &is, err)) < 0)
        return r;
    if (!is || strcmp(is, name) != 0)
        return error_invalid(err, "%s: \"%s\" is \"%.50s\", not \"%s\"", WHAT, key, is ? is : "",
                             name);
    *ret = found;
    return 0;
}

static int parse_scrypt(const json_t *kdf, struct scrypt *s, struct error *err)
{
    json_t *params = NULL;
    uint32_t n = 0;
    int r;
    if ((r = json_get_object(kdf, WHAT, "params", &params, err)) < 0 ||
        (r = json_get_u32(params, WHAT, "N", &n, err)) < 0 ||
        (r = json_get_u32(params, WHAT, "r", &s->r, err)) < 0 ||
        (r = json_get_u32(params, WHAT, "p", &s->p, err)) < 0)
        return r;
    bool sound = n >= 2 && (n & (n - 1)) == 0 && s->r >= 1 && s->p >= 1 && s->p <= 16;
    if (!sound || (uint64_t)n * s->r > SCRYPT_MAX_BYTES / 128)
        return error_invalid(err, "%s: parameters of scrypt out of range", WHAT);
    s->n = n;
    return 0;
}

static int open_box(const json_t *o, const char *passphrase, unsigned char **ret, size_t *ret_len,
                    struct error *err)
{
    json_t *kdf, *cipher;
    _cleanup_free_ char *salt = NULL, *nonce = NULL, *box = NULL;
    size_t salt_len, nonce_len, box_len;
    unsigned char key[crypto_secretbox_KEYBYTES];
    struct scrypt s = {0};
    int r;
    if ((r = get_named(o, "kdf", "scrypt", &kdf, err)) < 0 ||
        (r = get_named(o, "cipher", "nacl/secretbox", &cipher, err)) < 0 ||
        (r = parse_scrypt(kdf, &s, err)) < 0 ||
        (r = get_bytes(kdf, "salt", &salt, &salt_len, err)) < 0 ||
        (r = get_bytes(cipher, "nonce", &nonce, &nonce_len, err)) < 0 ||
        (r = get_bytes(o, "ciphertext", &box, &box_len, err)) < 0)
        return r;
    if (nonce_len != crypto_secretbox_NONCEBYTES || box_len <= crypto_secretbox_MACBYTES)
        return error_invalid(err, "%s: nonce or text of a wrong length", WHAT);
    s.salt = (const unsigned char *)salt;
    s.salt_len = salt_len;
    if ((r = derive(&s, passphrase, key, err)) < 0)
        return r;
    size_t len = box_len - crypto_secretbox_MACBYTES;
    unsigned char *text = xcalloc(len, 1);
    bool opened = crypto_secretbox_open_easy(text, (const unsigned char *)box, box_len,
                                             (const unsigned char *)nonce, key) == 0;
    OPENSSL_cleanse(key, sizeof(key));
    if (!opened) {
        key_free(text, len);
        return error_set(err, ERROR_DENIED, EACCES,
                         "the passphrase is wrong, or the key is damaged");
    }
    *ret = text;
    *ret_len = len;
    return 0;
}

int key_box_open(struct key_text body, const char *passphrase, unsigned char **ret_der,
                 size_t *ret_len, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    int r = json_parse(body.data, body.len, WHAT, &o, err);
    return r < 0 ? r : open_box(o, passphrase, ret_der, ret_len, err);
}

int key_box_close(struct key_text der, const char *passphrase, char **ret_body, struct error *err)
{
    unsigned char salt[SALT_SIZE], nonce[crypto_secretbox_NONCEBYTES];
    unsigned char key[crypto_secretbox_KEYBYTES];
    const struct scrypt s = {SCRYPT_N, SCRYPT_R, SCRYPT_P, salt, sizeof(salt)};
    size_t len = der.len + crypto_secretbox_MACBYTES;
    if (RAND_bytes(salt, sizeof(salt)) != 1 || RAND_bytes(nonce, sizeof(nonce)) != 1)
        return error_set(err, ERROR_SYSTEM, EIO, "no random numbers");
    int r = derive(&s, passphrase, key, err);
    if (r < 0)
        return r;
    _cleanup_free_ unsigned char *box = xcalloc(len, 1);
    bool closed = crypto_secretbox_easy(box, der.data, der.len, nonce, key) == 0;
    OPENSSL_cleanse(key, sizeof(key));
    if (!closed)
        return error_set(err, ERROR_SYSTEM, EIO, "%s: encryption failed", WHAT);
    _cleanup_free_ char *salt64 = base64_encode(salt, sizeof(salt)),
                        *nonce64 = base64_encode(nonce, sizeof(nonce)),
                        *box64 = base64_encode(box, len);
    _cleanup_json_ json_t *o =
        json_pack("{s:{s:s,s:{s:i,s:i,s:i},s:s},s:{s:s,s:s},s:s}", "kdf", "name", "scrypt",
                  "params", "N", SCRYPT_N, "r", SCRYPT_R, "p", SCRYPT_P, "salt", salt64, "cipher",
                  "name", "nacl/secretbox", "nonce", nonce64, "ciphertext", box64);
    *ret_body = json_to_text(o);
    return 0;
}
