/*
 * A growing byte buffer with a stated maximum. Bytes are always followed by a NUL that is not
 * counted, so that text can be used as a string.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct buf {
    char *data;      /* NULL while empty and never used */
    size_t len;      /* bytes in use */
    size_t capacity; /* bytes allocated, the NUL included */
    size_t max;      /* len never exceeds this */
};

#define BUF_INIT(max_bytes)                                                                        \
    {                                                                                              \
        NULL, 0, 0, (max_bytes)                                                                    \
    }
#define _cleanup_buf_ _cleanup_(buf_done)

void buf_done(struct buf *b);
void buf_reset(struct buf *b); /* empties, keeps the memory */

/* Appends. -EFBIG when the maximum would be exceeded, -ENOMEM when memory is gone. */
int buf_add(struct buf *b, const void *data, size_t len) _must_check_;
int buf_add_str(struct buf *b, const char *s) _must_check_;
int buf_addf(struct buf *b, const char *fmt, ...) _printf_(2, 3) _must_check_;

/* Makes room for len more bytes and gives where they go; the caller then adds to b->len. */
int buf_reserve(struct buf *b, size_t len, char **ret_space) _must_check_;

/* Drops the first len bytes. */
void buf_consume(struct buf *b, size_t len);

/* Moves the bytes out as a NUL-terminated string; never NULL; the buffer is empty afterwards. */
char *buf_take(struct buf *b);
