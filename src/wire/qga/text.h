/* Words of a guest, cut and made printable, so that a terminal can show them. */
#pragma once

#include <stddef.h>

/* Control characters become "?", what does not fit is left off; never in the middle of UTF-8. */
static inline void qga_text(char *out, size_t size, const char *from)
{
    size_t n = 0;
    for (; from[n] && n + 1 < size; n++) {
        unsigned char c = (unsigned char)from[n];
        out[n] = (char)(c < 0x20 || c == 0x7f ? '?' : c);
    }
    while (from[n] && n > 0 && ((unsigned char)from[n] & 0xc0) == 0x80)
        n--;
    out[n] = '\0';
}
