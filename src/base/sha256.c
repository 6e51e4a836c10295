#include "base/sha256.h"

#include <string.h>

#include "base/macro.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

static const uint32_t rounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t rotate(uint32_t x, unsigned int n)
{
    return x >> n | x << (32 - n);
}

static void schedule(const unsigned char *p, uint32_t w[static 64])
{
    for (int i = 0; i < 16; i++, p += 4)
        w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) +
               (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
}

static void add_blocks_plain(uint32_t state[static 8], const unsigned char *p, size_t n)
{
    for (; n > 0; n--, p += 64) {
        uint32_t w[64], s[8];
        schedule(p, w);
        memcpy(s, state, sizeof(s));
        for (int i = 0; i < 64; i++) {
            uint32_t sum1 = rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25);
            uint32_t sum0 = rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22);
            uint32_t t1 = s[7] + sum1 + ((s[4] & s[5]) ^ (~s[4] & s[6])) + rounds[i] + w[i];
            uint32_t t2 = sum0 + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
            memmove(&s[1], &s[0], 7 * sizeof(s[0]));
            s[4] += t1;
            s[0] = t1 + t2;
        }
        for (int i = 0; i < 8; i++)
            state[i] += s[i];
    }
}

#if defined(__x86_64__)
/*
 * The processor's own instructions: each sha256rnds2 does two rounds on the state in the order that
 * it wants (ABEF, CDGH), and the message words are made four at a time.
 */
__attribute__((target("sha,sse4.1,ssse3"))) static void
add_blocks_fast(uint32_t state[static 8], const unsigned char *p, size_t n)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i low = _mm_loadu_si128((const __m128i *)&state[0]);  /* DCBA */
    __m128i high = _mm_loadu_si128((const __m128i *)&state[4]); /* HGFE */
    low = _mm_shuffle_epi32(low, 0xb1);
    high = _mm_shuffle_epi32(high, 0x1b);
    __m128i abef = _mm_alignr_epi8(low, high, 8), cdgh = _mm_blend_epi16(high, low, 0xf0);
    for (; n > 0; n--, p += 64) {
        __m128i w[4], was_abef = abef, was_cdgh = cdgh;
        for (int i = 0; i < 4; i++)
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 16 * i)), swap);
        for (int i = 0; i < 16; i++) {
            __m128i k = _mm_loadu_si128((const __m128i *)&rounds[4 * i]);
            __m128i sum = _mm_add_epi32(w[0], k);
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
            __m128i next =
                _mm_add_epi32(_mm_sha256msg1_epu32(w[0], w[1]), _mm_alignr_epi8(w[3], w[2], 4));
            next = _mm_sha256msg2_epu32(next, w[3]);
            w[0] = w[1];
            w[1] = w[2];
            w[2] = w[3];
            w[3] = next;
        }
        abef = _mm_add_epi32(abef, was_abef);
        cdgh = _mm_add_epi32(cdgh, was_cdgh);
    }
    low = _mm_shuffle_epi32(abef, 0x1b);
    high = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)&state[0], _mm_blend_epi16(low, high, 0xf0));
    _mm_storeu_si128((__m128i *)&state[4], _mm_alignr_epi8(high, low, 8));
}

static int has_instructions(void)
{
    unsigned int a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1))
        return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}
#endif

static void add_blocks(uint32_t state[static 8], const unsigned char *p, size_t n)
{
#if defined(__x86_64__)
    static int fast = -1;
    if (fast < 0)
        fast = has_instructions();
    if (fast) {
        add_blocks_fast(state, p, n);
        return;
    }
#endif
    add_blocks_plain(state, p, n);
}

void sha256_init(struct sha256 *h)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(h->state, start, sizeof(start));
    h->bytes = 0;
}

void sha256_add(struct sha256 *h, const void *data, size_t len)
{
    const unsigned char *p = data;
    size_t have = h->bytes & 63;
    h->bytes += len;
    if (have > 0) {
        size_t n = MIN(len, 64 - have);
        memcpy(h->block + have, p, n);
        p += n;
        len -= n;
        if (have + n < 64)
            return;
        add_blocks(h->state, h->block, 1);
    }
    if (len >= 64)
        add_blocks(h->state, p, len / 64);
    if (len & 63)
        memcpy(h->block, p + (len & ~(size_t)63), len & 63);
}

void sha256_end(struct sha256 *h, unsigned char ret[static SHA256_SIZE])
{
    static const unsigned char padding[64] = {0x80};
    unsigned char length[8];
    uint64_t bits = h->bytes * 8;
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)(bits >> (56 - 8 * i));
    sha256_add(h, padding, 1 + ((119 - (h->bytes & 63)) & 63));
    sha256_add(h, length, sizeof(length));
    for (int i = 0; i < 8; i++)
        for (int k = 0; k < 4; k++)
            ret[4 * i + k] = (unsigned char)(h->state[i] >> (24 - 8 * k));
}

void sha256_add_text(struct sha256 *h, const char *text)
{
    sha256_add_u64(h, text ? strlen(text) + 1 : 0);
    if (text)
        sha256_add(h, text, strlen(text));
}

void sha256_add_u64(struct sha256 *h, uint64_t value)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
    sha256_add(h, bytes, sizeof(bytes));
}
