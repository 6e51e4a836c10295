#include "base/base64.h"

#include <stdint.h>
#include <string.h>

#include "base/alloc.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *data, size_t len)
{
    const unsigned char *in = data;
    char *out = xcalloc(len / 3 + 2, 4), *p = out;
    for (size_t i = 0; i < len; i += 3) {
        size_t n = MIN(len - i, (size_t)3);
        uint32_t v = (uint32_t)in[i] << 16 | (n > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                     (n > 2 ? in[i + 2] : 0);
        for (size_t k = 0; k < 4; k++)
            *p++ = k <= n ? alphabet[v >> (18 - 6 * k) & 63] : '=';
    }
    return out;
}

int base64_decode(const char *text, char **ret, size_t *ret_len)
{
    size_t len = strlen(text), n = 0;
    while (len > 0 && text[len - 1] == '=' && strlen(text) - len < 2)
        len--;
    if (len % 4 == 1)
        return -EBADMSG;
    _cleanup_free_ char *out = xcalloc(len + 1, 1);
    uint32_t v = 0;
    for (size_t i = 0; i < len; i++) {
        const char *at = text[i] ? strchr(alphabet, text[i]) : NULL;
        if (!at)
            return -EBADMSG;
        v = v << 6 | (uint32_t)(at - alphabet);
        if (i % 4 > 0)
            out[n++] = (char)(v >> (6 - 2 * (i % 4)));
    }
    *ret = TAKE_PTR(out);
    *ret_len = n;
    return 0;
}
