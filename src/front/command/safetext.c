#include "front/command/safetext.h"

#include <stdint.h>
#include <string.h>

#include "base/alloc.h"

/* Decodes one character: gives its length in bytes, 0 when the bytes are not UTF-8. */
static size_t decode(const char *text, uint32_t *ret)
{
    const unsigned char *s = (const unsigned char *)text;
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (s[0] < 0x80) {
        *ret = s[0];
        return 1;
    }
    size_t n = s[0] >= 0xf0 && s[0] < 0xf5   ? 4
               : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
               : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
                                             : 0;
    if (n == 0)
        return 0;
    uint32_t c = s[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    if (c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    *ret = c;
    return n;
}

static bool is_dangerous(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200e && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

static size_t escape(uint32_t c, char *out, size_t size)
{
    static const char *const short_forms[] = {['\t'] = "\\t", ['\n'] = "\\n", ['\r'] = "\\r"};
    int n;
    if (c < ARRAY_SIZE(short_forms) && short_forms[c])
        n = snprintf(out, size, "%s", short_forms[c]);
    else
        n = snprintf(out, size, c < 0x80 ? "\\x%02x" : "\\u%04x", c);
    return (size_t)n;
}

char *text_safe(const char *s)
{
    char *safe = xcalloc(strlen(s) * 4 + 8, 1),
         *end = safe; /* an escape is 4 bytes for 1, 6 for 2 */
    while (*s) {
        uint32_t c = 0;
        size_t n = decode(s, &c);
        if (n == 0) {
            end += snprintf(end, 5, "\\x%02x", (unsigned char)*s++);
        } else if (is_dangerous(c)) {
            end += escape(c, end, 7);
            s += n;
        } else {
            memcpy(end, s, n);
            end += n;
            s += n;
        }
    }
    return safe;
}

char *text_safe_for(FILE *out, const char *s)
{
    return isatty(fileno(out)) ? text_safe(s) : xstrdup(s);
}

static size_t width_of(uint32_t c)
{
    static const struct {
        uint32_t first, last;
        size_t width;
    } ranges[] = {
        {0x300, 0x36f, 0},     {0x1100, 0x115f, 2},   {0x200b, 0x200d, 0},   {0x20d0, 0x20ff, 0},
        {0x2e80, 0x303e, 2},   {0x3041, 0xa4cf, 2},   {0xac00, 0xd7a3, 2},   {0xf900, 0xfaff, 2},
        {0xfe00, 0xfe0f, 0},   {0xfe30, 0xfe6f, 2},   {0xff00, 0xff60, 2},   {0xffe0, 0xffe6, 2},
        {0x1f300, 0x1f64f, 2}, {0x1f900, 0x1f9ff, 2}, {0x20000, 0x3fffd, 2},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ranges) && c >= ranges[i].first; i++)
        if (c <= ranges[i].last)
            return ranges[i].width;
    return 1;
}

/* Bytes of s that fit in `columns`; *ret_width gets the columns they take. */
static size_t fitting(const char *s, size_t columns, size_t *ret_width)
{
    size_t at = 0, width = 0;
    while (s[at]) {
        uint32_t c = 0;
        size_t n = decode(s + at, &c), w = n ? width_of(c) : 1;
        if (width + w > columns)
            break;
        width += w;
        at += n ? n : 1;
    }
    *ret_width = width;
    return at;
}

size_t text_width(const char *s)
{
    size_t width;
    fitting(s, SIZE_MAX / 2, &width);
    return width;
}

char *text_cut(const char *s, size_t columns)
{
    size_t width, n = fitting(s, columns, &width);
    if (s[n] == '\0')
        return xstrdup(s);
    n = fitting(s, columns > 0 ? columns - 1 : 0, &width);
    return columns > 0 ? xasprintf("%.*s\u2026", (int)n, s) : xstrdup("");
}
