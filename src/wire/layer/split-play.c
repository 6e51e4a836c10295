/*
 * Giving a tar back. Both frames are read by the same small reader, at their own offsets; the tails
 * come first and are kept in memory (16 bytes each). Every operation is checked before its bytes
 * are read: what it makes must be within what the head says, and what it names within the files.
 */
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/buf.h"
#include "wire/layer/layer.h"
#include "wire/layer/split.h"

#define IN_BYTES       ((size_t)64 << 10)
#define OUT_BYTES      ((size_t)1 << 20)
#define LOST_BYTES_MAX ((size_t)64 << 20) /* as many tails as the writer holds */

struct frame {
    int fd;
    uint64_t at, end;
    ZSTD_DStream *zstd;
    char *in, *plain;
    size_t in_len, in_at, plain_len, plain_at;
};

struct tail {
    uint64_t place; /* in the EROFS file, or in lost */
    uint32_t lost;  /* length of one that is lost, 0 otherwise */
};

struct player {
    const struct split_source *source;
    struct split_head head;
    struct frame recipe, table;
    struct tail *tails;
    struct buf lost;
    char *out;
    size_t out_len;
    uint64_t made, last_copy, last_tail;
};

static int broken(struct error *err, const char *why)
{
    return error_set(err, ERROR_CORRUPT, EBADMSG, "the split of the layer is damaged: %s", why);
}

static int frame_open(struct frame *f, int fd, uint64_t at, uint64_t bytes, struct error *err)
{
    f->fd = fd;
    f->at = at;
    f->end = at + bytes;
    f->in = malloc(IN_BYTES);
    f->plain = malloc(IN_BYTES);
    f->zstd = ZSTD_createDStream();
    if (!f->in || !f->plain || !f->zstd ||
        ZSTD_isError(ZSTD_DCtx_setParameter(f->zstd, ZSTD_d_windowLogMax, SPLIT_WINDOW)))
        return error_errno(err, ENOMEM, "read a layer");
    return 0;
}

static void frame_close(struct frame *f)
{
    ZSTD_freeDStream(f->zstd);
    free(f->in);
    free(f->plain);
}

static int frame_fill(struct frame *f, struct error *err)
{
    size_t want = (size_t)MIN(IN_BYTES, f->end - f->at);
    ssize_t n;
    do
        n = pread(f->fd, f->in, want, (off_t)f->at);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return error_errno(err, errno, "read the split of the layer");
    if (n == 0)
        return broken(err, "it ends too early");
    f->at += (uint64_t)n;
    f->in_at = 0;
    f->in_len = (size_t)n;
    return 0;
}

/* At least one more byte in plain. */
static int frame_next(struct frame *f, struct error *err)
{
    ZSTD_outBuffer out = {f->plain, IN_BYTES, 0};
    bool starved = false;
    while (out.pos == 0) {
        if (starved || (f->in_at == f->in_len && f->at < f->end)) {
            int r = frame_fill(f, err);
            if (r < 0)
                return r;
        }
        ZSTD_inBuffer in = {f->in, f->in_len, f->in_at};
        size_t hint = ZSTD_decompressStream(f->zstd, &out, &in);
        if (ZSTD_isError(hint))
            return broken(err, ZSTD_getErrorName(hint));
        starved = in.pos == in.size && out.pos == 0;
        f->in_at = in.pos;
    }
    f->plain_at = 0;
    f->plain_len = out.pos;
    return 0;
}

/* Some of the next bytes, at most len. */
static int frame_bytes(struct frame *f, size_t len, const char **ret, size_t *ret_len,
                       struct error *err)
{
    if (f->plain_at == f->plain_len) {
        int r = frame_next(f, err);
        if (r < 0)
            return r;
    }
    *ret = f->plain + f->plain_at;
    *ret_len = MIN(len, f->plain_len - f->plain_at);
    f->plain_at += *ret_len;
    return 0;
}

static int frame_number(struct frame *f, uint64_t *ret, struct error *err)
{
    uint64_t value = 0;
    const char *p;
    size_t n;
    for (unsigned int shift = 0; shift < 64; shift += 7) {
        int r = frame_bytes(f, 1, &p, &n, err);
        if (r < 0)
            return r;
        value |= (uint64_t)(*p & 0x7f) << shift;
        if (!(*p & 0x80)) {
            *ret = value;
            return 0;
        }
    }
    return broken(err, "an endless number");
}

static uint64_t unzigzag(uint64_t value, uint64_t from)
{
    return from + ((value >> 1) ^ (value & 1 ? UINT64_MAX : 0));
}

static int read_lost(struct player *p, size_t len, struct error *err)
{
    const char *piece;
    size_t n;
    if (len > 4096)
        return broken(err, "a tail longer than a block");
    for (; len > 0; len -= n) {
        int r = frame_bytes(&p->table, len, &piece, &n, err);
        if (r < 0)
            return r;
        if (buf_add(&p->lost, piece, n) < 0)
            return broken(err, "too many lost tails");
    }
    return 0;
}

static int read_tails(struct player *p, struct error *err)
{
    uint64_t number, place = 0;
    if (p->head.tails > LAYER_MAX_ENTRIES)
        return broken(err, "too many tails");
    p->tails = calloc((size_t)p->head.tails + 1, sizeof(*p->tails));
    if (!p->tails)
        return error_errno(err, ENOMEM, "read a layer");
    for (uint64_t i = 0; i < p->head.tails; i++) {
        int r = frame_number(&p->table, &number, err);
        if (r < 0)
            return r;
        if (!(number & 1)) {
            p->tails[i].place = place = unzigzag(number >> 1, place);
            continue;
        }
        p->tails[i].place = p->lost.len;
        p->tails[i].lost = (uint32_t)MIN(number >> 1, UINT32_MAX);
        if ((r = read_lost(p, (size_t)(number >> 1), err)) < 0)
            return r;
    }
    return 0;
}

static int flush(struct player *p, struct error *err)
{
    size_t n = p->out_len;
    p->out_len = 0;
    return n > 0 ? p->source->write(p->source->context, p->out, n, err) : 0;
}

/* Room for at least one more byte. */
static int make_room(struct player *p, struct error *err)
{
    return p->out_len == OUT_BYTES ? flush(p, err) : 0;
}

static int make_literal(struct player *p, uint64_t len, struct error *err)
{
    const char *piece;
    size_t n;
    int r = 0;
    for (; len > 0; len -= n) {
        if ((r = make_room(p, err)) < 0 ||
            (r = frame_bytes(&p->recipe, (size_t)MIN(len, OUT_BYTES - p->out_len), &piece, &n,
                             err)) < 0)
            return r;
        memcpy(p->out + p->out_len, piece, n);
        p->out_len += n;
    }
    return r;
}

static int make_zeros(struct player *p, uint64_t len, struct error *err)
{
    int r = 0;
    while (len > 0 && (r = make_room(p, err)) == 0) {
        size_t n = (size_t)MIN(len, OUT_BYTES - p->out_len);
        memset(p->out + p->out_len, 0, n);
        p->out_len += n;
        len -= n;
    }
    return r;
}

static int copy(struct player *p, uint64_t position, uint64_t len, struct error *err)
{
    if (position > p->head.erofs_bytes || len > p->head.erofs_bytes - position)
        return broken(err, "it names what is not in the layer");
    while (len > 0) {
        int r = make_room(p, err);
        if (r < 0)
            return r;
        ssize_t n = pread(p->source->erofs_fd, p->out + p->out_len,
                          (size_t)MIN(len, OUT_BYTES - p->out_len), (off_t)position);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? error_errno(err, errno, "read the layer")
                         : error_set(err, ERROR_CORRUPT, EBADMSG, "the layer's file is cut off");
        p->out_len += (size_t)n;
        position += (uint64_t)n;
        len -= (uint64_t)n;
    }
    return 0;
}

static int make_copy(struct player *p, uint64_t len, struct error *err)
{
    uint64_t number;
    int r = frame_number(&p->recipe, &number, err);
    if (r < 0)
        return r;
    uint64_t position = unzigzag(number, p->last_copy);
    p->last_copy = position + len;
    return copy(p, position, len, err);
}

static int make_tail(struct player *p, uint64_t len, struct error *err)
{
    uint64_t number, offset;
    int r;
    if ((r = frame_number(&p->recipe, &number, err)) < 0 ||
        (r = frame_number(&p->recipe, &offset, err)) < 0)
        return r;
    p->last_tail = number = unzigzag(number, p->last_tail);
    if (number >= p->head.tails || offset > 4096 || len > 4096 - offset)
        return broken(err, "it names no tail");
    const struct tail *t = &p->tails[number];
    if (t->lost == 0)
        return copy(p, t->place + offset, len, err);
    if (offset + len > t->lost)
        return broken(err, "it names more than a tail has");
    for (const char *from = p->lost.data + t->place + offset; len > 0;) {
        if ((r = make_room(p, err)) < 0)
            return r;
        size_t n = (size_t)MIN(len, OUT_BYTES - p->out_len);
        memcpy(p->out + p->out_len, from, n);
        p->out_len += n;
        from += n;
        len -= n;
    }
    return 0;
}

static int play(struct player *p, struct error *err)
{
    static int (*const make[])(struct player * p, uint64_t len, struct error * err) = {
        [SPLIT_LITERAL] = make_literal,
        [SPLIT_ZEROS] = make_zeros,
        [SPLIT_COPY] = make_copy,
        [SPLIT_TAIL] = make_tail,
    };
    uint64_t number;
    while (p->made < p->head.tar_bytes) {
        int r = frame_number(&p->recipe, &number, err);
        if (r < 0)
            return r;
        uint64_t len = number >> 2;
        if (len == 0 || len > p->head.tar_bytes - p->made)
            return broken(err, "it makes more than it says");
        if ((r = make[number & 3](p, len, err)) < 0)
            return r;
        p->made += len;
    }
    return flush(p, err);
}

static int read_head(const struct split_source *source, struct split_head *h, struct error *err)
{
    /* Not fstat: the C library makes it of a call that the sandbox refuses. */
    off_t split = lseek(source->split_fd, 0, SEEK_END);
    off_t erofs = lseek(source->erofs_fd, 0, SEEK_END);
    if (split < 0 || erofs < 0)
        return error_errno(err, errno, "look at the layer");
    ssize_t n = pread(source->split_fd, h, sizeof(*h), 0);
    if (n < 0)
        return error_errno(err, errno, "read the split of the layer");
    if (n != sizeof(*h) || h->magic != SPLIT_MAGIC)
        return broken(err, "it is none");
    if (h->version != SPLIT_VERSION)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "the split of the layer was written by another proa");
    uint64_t frames = (uint64_t)split - sizeof(*h);
    if (h->recipe_bytes > frames || h->tails_bytes != frames - h->recipe_bytes)
        return broken(err, "it is cut off");
    if (h->erofs_bytes != (uint64_t)erofs)
        return broken(err, "it belongs to another layer");
    if (h->tar_bytes > source->most_bytes)
        return error_set(err, ERROR_LIMIT, EFBIG,
                         "the layer unpacks to more than the allowed %llu bytes",
                         (unsigned long long)source->most_bytes);
    return 0;
}

static int open_player(struct player *p, struct error *err)
{
    const struct split_head *h = &p->head;
    int fd = p->source->split_fd;
    p->out = malloc(OUT_BYTES);
    if (!p->out)
        return error_errno(err, ENOMEM, "read a layer");
    int r = frame_open(&p->recipe, fd, sizeof(*h), h->recipe_bytes, err);
    return r < 0 ? r : frame_open(&p->table, fd, sizeof(*h) + h->recipe_bytes, h->tails_bytes, err);
}

int split_play(const struct split_source *source, struct split_head *ret, struct error *err)
{
    struct player p = {.source = source, .lost = BUF_INIT(LOST_BYTES_MAX)};
    int r = read_head(source, &p.head, err);
    if (r == 0 && (r = open_player(&p, err)) == 0 && (r = read_tails(&p, err)) == 0)
        r = play(&p, err);
    if (r == 0)
        *ret = p.head;
    frame_close(&p.recipe);
    frame_close(&p.table);
    buf_done(&p.lost);
    free(p.tails);
    free(p.out);
    return r;
}
