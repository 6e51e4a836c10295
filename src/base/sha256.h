/*
 * SHA-256 (FIPS 180-4), for names by content: of layers' ingredients, of small documents. Large
 * streams from outside are hashed where they are parsed, in proa-layer.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE 32

struct sha256 {
    uint32_t state[8];
    uint64_t bytes;
    unsigned char block[64];
};

void sha256_init(struct sha256 *h);
void sha256_add(struct sha256 *h, const void *data, size_t len);
void sha256_end(struct sha256 *h, unsigned char ret[static SHA256_SIZE]);

/* A text and its end, so that two texts in a row are not those of another split. NULL is told from
 * "". */
void sha256_add_text(struct sha256 *h, const char *text);
void sha256_add_u64(struct sha256 *h, uint64_t value);
