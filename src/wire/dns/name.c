/* Names as text, and patterns of names. */
#include <string.h>

#include "wire/dns/dns-internal.h"

#define LABEL_MAX 63

/* Small letters, and no dot at the end. */
static bool normalize(const char *text, char *ret)
{
    size_t len = strlen(text);
    if (len > 0 && text[len - 1] == '.')
        len--;
    if (len == 0 || len >= DNS_NAME_SIZE)
        return false;
    for (size_t i = 0; i < len; i++)
        ret[i] = dns_byte_small(text[i]);
    ret[len] = '\0';
    return true;
}

static bool good_labels(const char *name)
{
    size_t labels = 1, len = 0;
    for (const char *c = name; *c; c++) {
        if (*c == '.') {
            if (len == 0)
                return false;
            labels++;
            len = 0;
        } else if (!dns_byte_is_plain(*c) || ++len > LABEL_MAX) {
            return false;
        }
    }
    return len > 0 && labels >= 2;
}

bool dns_name_parse(const char *text, char *ret)
{
    return normalize(text, ret) && good_labels(ret);
}

bool dns_pattern_parse(const char *text, char *ret)
{
    return normalize(text, ret) && good_labels(strncmp(ret, "*.", 2) == 0 ? ret + 2 : ret);
}

bool dns_pattern_fits(const char *pattern, const char *name)
{
    if (*pattern != '*')
        return strcmp(pattern, name) == 0;
    size_t len = strlen(name), tail = strlen(pattern + 1); /* ".example.com" */
    return len > tail && strcmp(name + len - tail, pattern + 1) == 0;
}
