#include "wire/serve/range.h"

#include <string.h>

#include "base/text.h"

/* Takes digits off *p; false when there are none, or too many. */
static bool number(const char **p, uint64_t *ret)
{
    char digits[24];
    size_t n = strspn(*p, "0123456789");
    if (n == 0 || n >= sizeof(digits))
        return false;
    memcpy(digits, *p, n);
    digits[n] = '\0';
    *p += n;
    return parse_u64(digits, INT64_MAX, ret) == 0;
}

static enum serve_range_found last_bytes(const char *p, uint64_t size, struct serve_range *ret)
{
    uint64_t count;
    if (!number(&p, &count) || *p)
        return RANGE_NONE;
    if (count == 0 || size == 0)
        return RANGE_OUTSIDE;
    ret->length = MIN(count, size);
    ret->start = size - ret->length;
    return RANGE_FOUND;
}

enum serve_range_found serve_range_parse(const char *header, uint64_t size, struct serve_range *ret)
{
    uint64_t start, end = UINT64_MAX;
    if (!header || strncmp(header, "bytes=", 6) != 0)
        return RANGE_NONE;
    const char *p = header + 6;
    if (*p == '-')
        return last_bytes(p + 1, size, ret);
    if (!number(&p, &start) || *p++ != '-')
        return RANGE_NONE;
    if (*p && (!number(&p, &end) || *p))
        return RANGE_NONE;
    if (start >= size || end < start)
        return RANGE_OUTSIDE;
    ret->start = start;
    ret->length = MIN(end, size - 1) - start + 1;
    return RANGE_FOUND;
}

bool serve_chunk_parse(const char *header, struct serve_range *ret)
{
    uint64_t start, end, size;
    const char *p = header;
    if (strncmp(p, "bytes ", 6) == 0)
        p += 6;
    if (!number(&p, &start) || *p++ != '-' || !number(&p, &end) || end < start)
        return false;
    if (*p == '/' && strcmp(p, "/*") != 0) {
        p++;
        if (!number(&p, &size) || *p || end >= size)
            return false;
    } else if (*p && strcmp(p, "/*") != 0) {
        return false;
    }
    ret->start = start;
    ret->length = end - start + 1;
    return true;
}
