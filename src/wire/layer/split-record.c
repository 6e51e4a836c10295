/*
 * Recording a split. `window` is what was given last, `kept` what was given before and may still be
 * spoken of; together they are the tar from `done` to `end`. Whatever is passed over is literal.
 * Runs of zeros are taken out of the literals, because half of a header and most padding is that.
 * Neighbours become one operation: an operation waits in `waiting` until it is known to be
 * complete.
 */
#include <isa-l/crc64.h>
#include <string.h>
#include <zstd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fd.h"
#include "wire/layer/layer-internal.h"

#define PLAIN_BYTES ((size_t)128 << 10)
#define KEPT_MAX    ((size_t)8 << 20)
#define NUMBER_MAX  10 /* bytes of a number */
#define ZERO_RUN    32 /* bytes, fewer stay literal */

struct operation {
    enum split_operation kind;
    uint64_t len; /* 0: none */
    uint64_t position, number;
};

struct split_recorder {
    int fd;
    uint64_t done, end; /* of the tar */
    struct buf kept;
    const unsigned char *window;
    size_t window_len;
    struct operation waiting;
    uint64_t last_copy, last_tail, last_place;
    struct split_head head;

    ZSTD_CCtx *zstd;
    char *plain, *packed;
    size_t plain_len, packed_size;
    uint64_t *frame; /* bytes of the current one */
};

int split_recorder_new(int fd, struct split_recorder **ret, struct error *err)
{
    struct split_recorder *r = calloc(1, sizeof(*r));
    if (!r)
        return error_errno(err, ENOMEM, "record a layer");
    r->fd = fd;
    r->kept.max = KEPT_MAX;
    r->packed_size = ZSTD_CStreamOutSize();
    r->plain = malloc(PLAIN_BYTES);
    r->packed = malloc(r->packed_size);
    r->zstd = ZSTD_createCCtx();
    r->head = (struct split_head){.magic = SPLIT_MAGIC, .version = SPLIT_VERSION};
    r->frame = &r->head.recipe_bytes;
    if (!r->plain || !r->packed || !r->zstd ||
        ZSTD_isError(ZSTD_CCtx_setParameter(r->zstd, ZSTD_c_compressionLevel, 1)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(r->zstd, ZSTD_c_windowLog, SPLIT_WINDOW))) {
        split_recorder_free(r);
        return error_errno(err, ENOMEM, "record a layer");
    }
    if (lseek(fd, sizeof(r->head), SEEK_SET) < 0) {
        split_recorder_free(r);
        return error_errno(err, errno, "record a layer");
    }
    *ret = r;
    return 0;
}

void split_recorder_free(struct split_recorder *r)
{
    if (!r)
        return;
    ZSTD_freeCCtx(r->zstd);
    buf_done(&r->kept);
    free(r->plain);
    free(r->packed);
    free(r);
}

static int pack(struct split_recorder *r, ZSTD_EndDirective how, struct error *err)
{
    ZSTD_inBuffer in = {r->plain, r->plain_len, 0};
    size_t left;
    do {
        ZSTD_outBuffer out = {r->packed, r->packed_size, 0};
        left = ZSTD_compressStream2(r->zstd, &out, &in, how);
        if (ZSTD_isError(left))
            return error_set(err, ERROR_SYSTEM, EIO, "compress: %s", ZSTD_getErrorName(left));
        int e = fd_write_all(r->fd, out.dst, out.pos);
        if (e < 0)
            return error_errno(err, e, "write the layer");
        *r->frame += out.pos;
        r->head.frames_crc = crc64_ecma_refl(r->head.frames_crc, out.dst, out.pos);
    } while (how == ZSTD_e_end ? left > 0 : in.pos < in.size);
    r->plain_len = 0;
    return 0;
}

static int put(struct split_recorder *r, const void *data, size_t len, struct error *err)
{
    const char *p = data;
    while (len > 0) {
        size_t n = MIN(len, PLAIN_BYTES - r->plain_len);
        memcpy(r->plain + r->plain_len, p, n);
        r->plain_len += n;
        p += n;
        len -= n;
        if (r->plain_len == PLAIN_BYTES) {
            int e = pack(r, ZSTD_e_continue, err);
            if (e < 0)
                return e;
        }
    }
    return 0;
}

static int put_number(struct split_recorder *r, uint64_t value, struct error *err)
{
    unsigned char text[NUMBER_MAX];
    size_t n = 0;
    do {
        text[n++] = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
    } while (value > 0);
    return put(r, text, n, err);
}

static uint64_t zigzag(uint64_t to, uint64_t from)
{
    uint64_t difference = to - from;
    return (difference << 1) ^ (difference >> 63 ? UINT64_MAX : 0);
}

/* What waits is complete. */
static int put_waiting(struct split_recorder *r, struct error *err)
{
    struct operation o = r->waiting;
    int e = 0;
    if (o.len == 0)
        return 0;
    r->waiting.len = 0;
    if ((e = put_number(r, o.len << 2 | o.kind, err)) < 0 || o.kind == SPLIT_ZEROS)
        return e;
    if (o.kind == SPLIT_COPY) {
        e = put_number(r, zigzag(o.position, r->last_copy), err);
        r->last_copy = o.position + o.len;
        return e;
    }
    e = put_number(r, zigzag(o.number, r->last_tail), err);
    r->last_tail = o.number;
    return e < 0 ? e : put_number(r, o.position, err);
}

static int add(struct split_recorder *r, const struct operation *o, struct error *err)
{
    struct operation *w = &r->waiting;
    if (w->len > 0 && w->kind == o->kind && w->number == o->number &&
        (o->kind == SPLIT_ZEROS || w->position + w->len == o->position)) {
        w->len += o->len;
        return 0;
    }
    int e = put_waiting(r, err);
    *w = *o;
    return e;
}

static bool eight_zeros(const unsigned char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return word == 0;
}

static size_t count_zeros(const unsigned char *p, size_t len)
{
    size_t n = 0;
    while (n + 8 <= len && eight_zeros(p + n))
        n += 8;
    while (n < len && p[n] == 0)
        n++;
    return n;
}

/* Up to a run of zeros that is worth its own operation, or the end. */
static size_t count_literal(const unsigned char *p, size_t len)
{
    size_t n = 0;
    while (n + ZERO_RUN <= len) {
        size_t zeros = 0;
        while (zeros < ZERO_RUN && eight_zeros(p + n + zeros))
            zeros += 8;
        if (zeros == ZERO_RUN)
            return n;
        n += zeros + 8;
    }
    return len;
}

static int add_literal(struct split_recorder *r, const unsigned char *p, size_t len,
                       struct error *err)
{
    int e = 0;
    while (e == 0 && len > 0) {
        size_t n = count_zeros(p, len);
        if (n >= ZERO_RUN || n == len) {
            const struct operation zeros = {.kind = SPLIT_ZEROS, .len = n};
            e = add(r, &zeros, err);
        } else {
            n = count_literal(p, len);
            if ((e = put_waiting(r, err)) == 0 &&
                (e = put_number(r, (uint64_t)n << 2 | SPLIT_LITERAL, err)) == 0)
                e = put(r, p, n, err);
        }
        p += n;
        len -= n;
    }
    return e;
}

/* Drops the front of what is held, without a word about it. */
static void skip(struct split_recorder *r, uint64_t to)
{
    size_t n = MIN(to - r->done, r->kept.len);
    buf_consume(&r->kept, n);
    r->done = to;
}

static uint64_t window_start(const struct split_recorder *r)
{
    return r->end - r->window_len;
}

static int literal_to(struct split_recorder *r, uint64_t to, struct error *err)
{
    int e = 0;
    if (to <= r->done)
        return 0;
    size_t old = MIN(r->kept.len, to - r->done);
    if (old > 0)
        e = add_literal(r, (const unsigned char *)r->kept.data, old, err);
    uint64_t from = MAX(r->done, window_start(r));
    if (e == 0 && to > from)
        e = add_literal(r, r->window + (from - window_start(r)), to - from, err);
    skip(r, to);
    return e;
}

int split_settle(struct split_recorder *r, uint64_t settled, struct error *err)
{
    int e = literal_to(r, MIN(settled, r->end), err);
    if (e < 0)
        return e;
    /* The reader looks ahead by a header or so; were it more, it would just become literal. */
    uint64_t from = MAX(r->done, window_start(r));
    size_t left = r->end - from;
    if (left > 0 && buf_add(&r->kept, r->window + (from - window_start(r)), left) < 0)
        e = literal_to(r, r->end, err);
    r->window_len = 0;
    return e;
}

void split_bytes(struct split_recorder *r, const void *data, size_t len)
{
    r->window = data;
    r->window_len = len;
    r->end += len;
}

static bool is_there(const struct split_recorder *r, uint64_t at, const char *data, size_t len)
{
    if (at > r->end || len > r->end - at)
        return false;
    uint64_t start = window_start(r);
    if (at < start) {
        size_t n = MIN(len, start - at);
        if (memcmp(r->kept.data + (at - r->done), data, n) != 0)
            return false;
        data += n;
        len -= n;
        at = start;
    }
    const char *held = (const char *)r->window + (at - start);
    return len == 0 || held == data || memcmp(held, data, len) == 0;
}

static int found(struct split_recorder *r, uint64_t at, const char *data, struct operation *o,
                 struct error *err)
{
    if (at < r->done) {
        uint64_t n = r->done - at;
        if (n >= o->len)
            return 0;
        at += n;
        data += n;
        o->position += n;
        o->len -= n;
    }
    if (!is_there(r, at, data, o->len))
        return 0;
    int e = literal_to(r, at, err);
    if (e < 0)
        return e;
    skip(r, at + o->len);
    return add(r, o, err);
}

int split_copy(struct split_recorder *r, uint64_t at, const void *data, size_t len,
               uint64_t position, struct error *err)
{
    struct operation o = {.kind = SPLIT_COPY, .len = len, .position = position};
    return len > 0 ? found(r, at, data, &o, err) : 0;
}

int split_tail(struct split_recorder *r, uint64_t at, const void *data, size_t len, uint64_t number,
               uint64_t offset, struct error *err)
{
    struct operation o = {.kind = SPLIT_TAIL, .len = len, .position = offset, .number = number};
    return len > 0 ? found(r, at, data, &o, err) : 0;
}

int split_end_recipe(struct split_recorder *r, struct error *err)
{
    int e;
    if ((e = literal_to(r, r->end, err)) < 0 || (e = put_waiting(r, err)) < 0 ||
        (e = pack(r, ZSTD_e_end, err)) < 0)
        return e;
    r->head.tar_bytes = r->end;
    r->frame = &r->head.tails_bytes;
    return 0;
}

int split_add_tail(struct split_recorder *r, uint64_t position, struct error *err)
{
    r->head.tails++;
    int e = put_number(r, zigzag(position, r->last_place) << 1, err);
    r->last_place = position;
    return e;
}

int split_add_lost_tail(struct split_recorder *r, const void *data, size_t len, struct error *err)
{
    r->head.tails++;
    int e = put_number(r, (uint64_t)len << 1 | 1, err);
    return e < 0 ? e : put(r, data, len, err);
}

int split_finish(struct split_recorder *r, int erofs_fd, uint64_t erofs_bytes, uint64_t metadata,
                 struct error *err)
{
    int e = pack(r, ZSTD_e_end, err);
    if (e < 0)
        return e;
    r->head.erofs_bytes = erofs_bytes;
    r->head.metadata = metadata;
    e = split_metadata_crc(erofs_fd, &r->head, &r->head.metadata_crc, err);
    if (e < 0)
        return e;
    if (lseek(r->fd, 0, SEEK_SET) < 0)
        return error_errno(err, errno, "write the layer");
    e = fd_write_all(r->fd, &r->head, sizeof(r->head));
    return e < 0 ? error_errno(err, e, "write the layer") : 0;
}
