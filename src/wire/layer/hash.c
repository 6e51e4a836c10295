/* SHA-256 through OpenSSL, in our error idiom. */
#include <openssl/evp.h>
#include <string.h>

#include "base/text.h"
#include "wire/layer/decompress.h"

/* The library's context by another name: nothing else knows it. */
static EVP_MD_CTX *context(struct layer_hash *h)
{
    return (EVP_MD_CTX *)h;
}

struct layer_hash *layer_hash_new(void)
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    if (c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(c);
        return NULL;
    }
    return (struct layer_hash *)c;
}

void layer_hash_free(struct layer_hash *h)
{
    EVP_MD_CTX_free(context(h));
}

int layer_hash_add(struct layer_hash *h, const void *data, size_t len, struct error *err)
{
    if (EVP_DigestUpdate(context(h), data, len) != 1)
        return error_set(err, ERROR_SYSTEM, EIO, "compute a digest");
    return 0;
}

int layer_hash_text(struct layer_hash *h, char *ret, struct error *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (EVP_DigestFinal_ex(context(h), digest, NULL) != 1)
        return error_set(err, ERROR_SYSTEM, EIO, "compute a digest");
    memcpy(ret, "sha256:", 7);
    hex_encode(digest, 32, ret + 7);
    return 0;
}
