/* One line of the log: a flat JSON object of strings; members that are not known are passed over.
 * Text is decoded in place, which always fits: no escape is shorter than what it stands for. */
#include <string.h>

#include "base/text.h"
#include "runtime/monitor/log.h"

struct cursor {
    char *p, *end;
};

static bool eat(struct cursor *c, char wanted)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\r'))
        c->p++;
    if (c->p == c->end || *c->p != wanted)
        return false;
    c->p++;
    return true;
}

static int hex4(const struct cursor *c, uint32_t *ret)
{
    uint32_t value = 0;
    if (c->end - c->p < 4)
        return -EBADMSG;
    for (int i = 0; i < 4; i++) {
        char d = c->p[i];
        int digit = d >= '0' && d <= '9'   ? d - '0'
                    : d >= 'a' && d <= 'f' ? d - 'a' + 10
                    : d >= 'A' && d <= 'F' ? d - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -EBADMSG;
        value = value << 4 | (uint32_t)digit;
    }
    *ret = value;
    return 0;
}

static char *put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (char)c;
        return out;
    }
    if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *out++ = (char)(0xe0 | c >> 12);
        } else {
            *out++ = (char)(0xf0 | c >> 18);
            *out++ = (char)(0x80 | (c >> 12 & 0x3f));
        }
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
    }
    *out++ = (char)(0x80 | (c & 0x3f));
    return out;
}

/* After "\u": a code point, of two escapes when they are a surrogate pair. */
static int unicode(struct cursor *c, char **out)
{
    uint32_t high, low;
    if (hex4(c, &high) < 0)
        return -EBADMSG;
    c->p += 4;
    if (high >= 0xd800 && high < 0xdc00 && c->end - c->p >= 6 && c->p[0] == '\\' &&
        c->p[1] == 'u') {
        struct cursor second = {c->p + 2, c->end};
        if (hex4(&second, &low) == 0 && low >= 0xdc00 && low < 0xe000) {
            high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            c->p += 6;
        }
    }
    *out = put_utf8(*out, high >= 0xd800 && high < 0xe000 ? 0xfffd : high);
    return 0;
}

static int escape(struct cursor *c, char **out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (c->p == c->end)
        return -EBADMSG;
    char kind = *c->p++;
    if (kind == 'u')
        return unicode(c, out);
    const char *known = memchr(from, kind, sizeof(from) - 1);
    if (!known)
        return -EBADMSG;
    *(*out)++ = to[known - from];
    return 0;
}

static int string(struct cursor *c, char **ret, size_t *ret_len)
{
    if (!eat(c, '"'))
        return -EBADMSG;
    char *start = c->p, *out = c->p;
    while (c->p < c->end && *c->p != '"') {
        char ch = *c->p++;
        if (ch != '\\')
            *out++ = ch;
        else if (escape(c, &out) < 0)
            return -EBADMSG;
    }
    if (c->p == c->end)
        return -EBADMSG;
    c->p++;
    *ret = start;
    *ret_len = (size_t)(out - start);
    return 0;
}

static bool is(const char *s, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(s, word, len) == 0;
}

int log_parse_line(char *line, size_t len, struct log_entry *ret)
{
    struct cursor c = {line, line + len};
    struct log_entry e = {0};
    bool has_time = false;
    if (!eat(&c, '{'))
        return -EBADMSG;
    do {
        char *key, *value, text[64];
        size_t key_len, value_len;
        if (string(&c, &key, &key_len) < 0 || !eat(&c, ':') || string(&c, &value, &value_len) < 0)
            return -EBADMSG;
        if (is(key, key_len, "log")) {
            e.text = value;
            e.len = value_len;
        } else if (is(key, key_len, "stream")) {
            e.is_stderr = is(value, value_len, "stderr");
        } else if (is(key, key_len, "time") && value_len < sizeof(text)) {
            memcpy(text, value, value_len);
            text[value_len] = '\0';
            /* Only the full form: time_parse would take a duration for one, too. */
            has_time = value_len >= 20 && value[10] == 'T' && time_parse(text, &e.time_ns) == 0;
        }
    } while (eat(&c, ','));
    if (!eat(&c, '}') || c.p != c.end || !e.text || !has_time)
        return -EBADMSG;
    *ret = e;
    return 0;
}
