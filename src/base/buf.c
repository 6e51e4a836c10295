#include "base/buf.h"

#include <stdarg.h>

#include "base/alloc.h"

void buf_done(struct buf *b)
{
    free(b->data);
    b->data = NULL;
    b->len = b->capacity = 0;
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    if (b->data)
        b->data[0] = '\0';
}

int buf_reserve(struct buf *b, size_t len, char **ret_space)
{
    if (len > b->max || b->len > b->max - len)
        return -EFBIG;
    size_t need = b->len + len + 1;
    if (need > b->capacity) {
        size_t capacity = MAX(b->capacity, (size_t)64);
        while (capacity < need)
            capacity *= 2;
        char *data = realloc(b->data, capacity);
        if (!data)
            return -ENOMEM;
        b->data = data;
        b->capacity = capacity;
    }
    *ret_space = b->data + b->len;
    return 0;
}

int buf_add(struct buf *b, const void *data, size_t len)
{
    char *space;
    int r = buf_reserve(b, len, &space);
    if (r < 0)
        return r;
    if (len)
        memcpy(space, data, len);
    b->len += len;
    b->data[b->len] = '\0';
    return 0;
}

int buf_add_str(struct buf *b, const char *s)
{
    return buf_add(b, s, strlen(s));
}

int buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    char *space;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    int r = n < 0 ? -EINVAL : buf_reserve(b, (size_t)n, &space);
    if (r == 0) {
        vsnprintf(space, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return r;
}

void buf_consume(struct buf *b, size_t len)
{
    if (len >= b->len) {
        buf_reset(b);
        return;
    }
    memmove(b->data, b->data + len, b->len - len + 1);
    b->len -= len;
}

char *buf_take(struct buf *b)
{
    char *s = b->data ? b->data : xstrdup("");
    b->data = NULL;
    b->len = b->capacity = 0;
    return s;
}
