/* HMAC-SHA-256 (RFC 2104). */
#include <string.h>

#include "wire/peers/peers.h"

#define BLOCK 64

void peers_hmac_begin(struct peers_hmac *h, const void *key, size_t len)
{
    uint8_t inner_key[BLOCK] = {0};
    memset(h->outer_key, 0, BLOCK);
    if (len > 0) {
        memcpy(inner_key, key, len);
        memcpy(h->outer_key, key, len);
    }
    for (size_t i = 0; i < BLOCK; i++) {
        inner_key[i] ^= 0x36;
        h->outer_key[i] ^= 0x5c;
    }
    sha256_init(&h->inner);
    sha256_add(&h->inner, inner_key, BLOCK);
}

void peers_hmac_add(struct peers_hmac *h, const void *data, size_t len)
{
    sha256_add(&h->inner, data, len);
}

void peers_hmac_end(struct peers_hmac *h, uint8_t ret[static PEERS_TAG_SIZE])
{
    uint8_t sum[SHA256_SIZE];
    struct sha256 outer;
    sha256_end(&h->inner, sum);
    sha256_init(&outer);
    sha256_add(&outer, h->outer_key, BLOCK);
    sha256_add(&outer, sum, sizeof(sum));
    sha256_end(&outer, ret);
}

bool peers_tag_equal(const uint8_t a[static PEERS_TAG_SIZE], const uint8_t b[static PEERS_TAG_SIZE])
{
    uint8_t differs = 0;
    for (size_t i = 0; i < PEERS_TAG_SIZE; i++)
        differs |= a[i] ^ b[i];
    return differs == 0;
}
