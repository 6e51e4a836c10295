#include "wire/sign/key.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"

#define RSA_MIN_BITS 2048

DEFINE_CLEANUP(BIO *, BIO_free_all)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)
#define _cleanup_bio_    _cleanup_(BIO_free_all_cleanup)
#define _cleanup_key_    _cleanup_(EVP_PKEY_free_cleanup)
#define _cleanup_digest_ _cleanup_(EVP_MD_CTX_free_cleanup)

static int failed(struct error *err, const char *what)
{
    const char *why = ERR_reason_error_string(ERR_peek_last_error());
    int r = error_set(err, ERROR_SYSTEM, EIO, "%s: %s", what, why ? why : "OpenSSL failed");
    ERR_clear_error();
    return r;
}

static int check_key(EVP_PKEY *key, struct error *err)
{
    static const char *const curves[] = {"prime256v1", "secp384r1", "secp521r1"};
    char curve[64];
    size_t len;
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_ED25519:
        return 0;
    case EVP_PKEY_RSA:
        return EVP_PKEY_get_bits(key) >= RSA_MIN_BITS
                   ? 0
                   : error_invalid(err, "the RSA key is shorter than %d bits", RSA_MIN_BITS);
    case EVP_PKEY_EC:
        if (EVP_PKEY_get_group_name(key, curve, sizeof(curve), &len) == 1)
            for (size_t i = 0; i < ARRAY_SIZE(curves); i++)
                if (strcmp(curve, curves[i]) == 0)
                    return 0;
        return error_invalid(err, "the key's curve is none of P-256, P-384, P-521");
    default:
        return error_invalid(err, "the key is none of ECDSA, Ed25519, RSA");
    }
}

/* What is hashed before it is signed: Ed25519 does that itself. */
static const EVP_MD *digest_for(EVP_PKEY *key)
{
    return EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256();
}

static int read_public(const char *pem, EVP_PKEY **ret, struct error *err)
{
    _cleanup_bio_ BIO *bio = BIO_new_mem_buf(pem, -1);
    _cleanup_key_ EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    ERR_clear_error();
    if (!key)
        return error_invalid(err, "it is no public key in PEM");
    int r = check_key(key, err);
    if (r == 0)
        *ret = TAKE_PTR(key);
    return r;
}

int key_verify(const char *public_pem, struct key_text text, struct key_text signature,
               bool *ret_good, struct error *err)
{
    _cleanup_key_ EVP_PKEY *key = NULL;
    _cleanup_digest_ EVP_MD_CTX *context = EVP_MD_CTX_new();
    int r = read_public(public_pem, &key, err);
    if (r < 0)
        return r;
    if (!context || EVP_DigestVerifyInit(context, NULL, digest_for(key), NULL, key) != 1)
        return failed(err, "verify a signature");
    /* Below zero is a signature that is not even well formed. */
    *ret_good = EVP_DigestVerify(context, signature.data, signature.len, text.data, text.len) == 1;
    ERR_clear_error();
    return 0;
}

static int give_passphrase(char *out, int size, int writing, void *passphrase)
{
    (void)writing;
    if (!passphrase || strlen(passphrase) > (size_t)size)
        return -1;
    memcpy(out, passphrase, strlen(passphrase));
    return (int)strlen(passphrase);
}

static int read_box(struct key_text body, const char *passphrase, EVP_PKEY **ret, struct error *err)
{
    unsigned char *der = NULL;
    size_t len = 0;
    int r = key_box_open(body, passphrase, &der, &len, err);
    if (r < 0)
        return r;
    const unsigned char *p = der;
    *ret = d2i_AutoPrivateKey(NULL, &p, (long)len);
    key_free(der, len);
    return *ret ? 0 : error_invalid(err, "there is no private key in the encrypted text");
}

static bool is_box(const char *name)
{
    return strcmp(name, KEY_BOX_COSIGN) == 0 || strcmp(name, KEY_BOX_SIGSTORE) == 0;
}

static int need_passphrase(struct error *err)
{
    return error_set(err, ERROR_DENIED, EACCES,
                     "it is encrypted: a passphrase is needed (--passphrase-file or "
                     "COSIGN_PASSWORD)");
}

static int decode_private(const char *pem, const char *passphrase, const char *name,
                          struct key_text body, EVP_PKEY **ret, struct error *err)
{
    if (is_box(name))
        return passphrase ? read_box(body, passphrase, ret, err) : need_passphrase(err);
    bool encrypted = strcmp(name, "ENCRYPTED PRIVATE KEY") == 0;
    if (encrypted && !passphrase)
        return need_passphrase(err);
    _cleanup_bio_ BIO *bio = BIO_new_mem_buf(pem, -1);
    *ret = bio ? PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, (void *)passphrase) : NULL;
    ERR_clear_error();
    if (*ret)
        return 0;
    if (encrypted)
        return error_set(err, ERROR_DENIED, EACCES,
                         "the passphrase is wrong, or the key is damaged");
    return error_invalid(err, "it is a \"%.50s\", not a private key in PEM", name);
}

static int read_private(const char *pem, const char *passphrase, EVP_PKEY **ret, struct error *err)
{
    char *name = NULL, *header = NULL;
    unsigned char *data = NULL;
    long len = 0;
    _cleanup_key_ EVP_PKEY *key = NULL;
    _cleanup_bio_ BIO *bio = BIO_new_mem_buf(pem, -1);
    if (!bio || PEM_read_bio(bio, &name, &header, &data, &len) != 1) {
        ERR_clear_error();
        return error_invalid(err, "it is no private key in PEM");
    }
    const struct key_text body = {data, (size_t)len};
    int r = decode_private(pem, passphrase, name, body, &key, err);
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_clear_free(data, (size_t)len);
    if (r == 0)
        r = check_key(key, err);
    if (r == 0)
        *ret = TAKE_PTR(key);
    return r;
}

/* Everything that was written to it, as an owned text. */
static char *bio_text(BIO *bio)
{
    char *data = NULL;
    long len = BIO_get_mem_data(bio, &data);
    return xstrndup(data ? data : "", len > 0 ? (size_t)len : 0);
}

static int write_public(EVP_PKEY *key, char **ret, struct error *err)
{
    _cleanup_bio_ BIO *bio = BIO_new(BIO_s_mem());
    if (!bio || PEM_write_bio_PUBKEY(bio, key) != 1)
        return failed(err, "write the public key");
    *ret = bio_text(bio);
    return 0;
}

int key_sign(const char *private_pem, const char *passphrase, struct key_text text,
             char **ret_signature, size_t *ret_len, char **ret_public, struct error *err)
{
    _cleanup_key_ EVP_PKEY *key = NULL;
    _cleanup_digest_ EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t len = 0;
    int r = read_private(private_pem, passphrase, &key, err);
    if (r < 0)
        return r;
    if (!context || EVP_DigestSignInit(context, NULL, digest_for(key), NULL, key) != 1 ||
        EVP_DigestSign(context, NULL, &len, text.data, text.len) != 1)
        return failed(err, "sign");
    _cleanup_free_ char *signature = xcalloc(len, 1);
    if (EVP_DigestSign(context, (unsigned char *)signature, &len, text.data, text.len) != 1)
        return failed(err, "sign");
    if ((r = write_public(key, ret_public, err)) < 0)
        return r;
    *ret_signature = TAKE_PTR(signature);
    *ret_len = len;
    return 0;
}

static int write_private(EVP_PKEY *key, const char *passphrase, char **ret, struct error *err)
{
    unsigned char *der = NULL;
    _cleanup_free_ char *body = NULL;
    _cleanup_bio_ BIO *bio = BIO_new(BIO_s_secmem());
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    int len = info ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : -1;
    PKCS8_PRIV_KEY_INFO_free(info);
    if (!bio || len <= 0)
        return failed(err, "write the private key");
    const struct key_text text = {der, (size_t)len};
    int r = passphrase ? key_box_close(text, passphrase, &body, err) : 0;
    if (r == 0) {
        const char *name = passphrase ? KEY_BOX_COSIGN : PEM_STRING_PKCS8INF;
        const void *data = passphrase ? (const void *)body : der;
        long size = passphrase ? (long)strlen(body) : len;
        if (PEM_write_bio(bio, name, "", data, size) <= 0)
            r = failed(err, "write the private key");
    }
    OPENSSL_clear_free(der, (size_t)len);
    if (r == 0)
        *ret = bio_text(bio);
    return r;
}

int key_generate(const char *type, const char *passphrase, char **ret_private, char **ret_public,
                 struct error *err)
{
    _cleanup_key_ EVP_PKEY *key = NULL;
    _cleanup_free_ char *public = NULL;
    if (strcmp(type, "ecdsa-p256") == 0)
        key = EVP_EC_gen("P-256");
    else if (strcmp(type, "ecdsa-p384") == 0)
        key = EVP_EC_gen("P-384");
    else if (strcmp(type, "ed25519") == 0)
        key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    else
        return error_invalid(err, "\"%.50s\" is no type of key: ecdsa-p256, ecdsa-p384, ed25519",
                             type);
    if (!key)
        return failed(err, "make a key");
    int r = write_public(key, &public, err);
    if (r == 0)
        r = write_private(key, passphrase, ret_private, err);
    if (r == 0)
        *ret_public = TAKE_PTR(public);
    return r;
}

int key_digest(struct key_text text, char ret[static KEY_DIGEST_SIZE], struct error *err)
{
    unsigned char digest[32];
    if (EVP_Digest(text.data, text.len, digest, NULL, EVP_sha256(), NULL) != 1)
        return failed(err, "compute a digest");
    memcpy(ret, "sha256:", 8);
    hex_encode(digest, sizeof(digest), ret + 7);
    return 0;
}
