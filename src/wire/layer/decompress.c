/*
 * One object per compression, behind one function that gives the next bytes. gzip goes through
 * ISA-L, which is several times faster than zlib; zstd through its own library; the rare xz and
 * bzip2 through libarchive's filters alone (its format "raw").
 */
#include "wire/layer/decompress.h"

#include <archive.h>
#include <isa-l/igzip_lib.h>
#include <string.h>
#include <zstd.h>

#include "base/fd.h"
#include "base/text.h"

#define IN_BYTES      ((size_t)256 << 10)
#define PROGRESS_STEP ((uint64_t)1 << 20)
#define WINDOW_LOG    27 /* zstd: 128 MiB, its own default maximum */

enum compression {
    PLAIN,
    GZIP,
    ZSTD,
    OTHER, /* by libarchive */
};

struct decompressor {
    struct layer_source source;
    enum compression kind;
    struct layer_hash *hash;
    uint64_t in_bytes, reported;

    char *in;
    size_t in_len, in_at; /* unread input is in[in_at..in_len) */
    bool in_end;
    bool ended; /* the last frame or member is complete */

    struct inflate_state *gzip;
    ZSTD_DStream *zstd;
    struct archive *other;
    const char *other_data; /* what libarchive gave and nobody has taken */
    size_t other_len;
    struct error other_error; /* what reading for libarchive ran into */
};

/* Waits for whoever writes the file; false when that one has ended. */
static bool wait_for_more(struct decompressor *s)
{
    char woken[256];
    ssize_t n;
    while ((n = read(s->source.follow_fd, woken, sizeof(woken))) < 0 && errno == EINTR)
        ;
    return n > 0;
}

/* Of a file that grows: nothing only when its writer has ended and wrote no more. */
static ssize_t read_range(struct decompressor *s, size_t want)
{
    off_t at = (off_t)(s->source.offset + s->in_bytes);
    bool more = s->source.follows;
    for (;;) {
        ssize_t n = pread(s->source.fd, s->in, want, at);
        if (n > 0 || want == 0 || (n < 0 && errno != EINTR) || (n == 0 && !more))
            return n;
        if (n == 0)
            more = wait_for_more(s);
    }
}

static ssize_t read_stream(struct decompressor *s, size_t want)
{
    ssize_t n;
    while ((n = read(s->source.fd, s->in, want)) < 0 && errno == EINTR)
        ;
    return n;
}

/* Reads more of the archive when all that was read is used. */
static int fill(struct decompressor *s, struct error *err)
{
    size_t want = IN_BYTES;
    if (s->in_at < s->in_len || s->in_end)
        return 0;
    if (s->source.ranged)
        want = MIN(want, s->source.size - s->in_bytes);
    ssize_t n = s->source.ranged ? read_range(s, want) : read_stream(s, want);
    if (n < 0)
        return error_errno(err, errno, "read the archive");
    if (n == 0 && s->source.ranged && want > 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the archive is shorter than it should be");
    s->in_end = n == 0;
    s->in_at = 0;
    s->in_len = (size_t)n;
    s->in_bytes += (uint64_t)n;
    if (s->source.progress && s->in_bytes - s->reported >= PROGRESS_STEP) {
        s->source.progress(s->source.context, s->in_bytes);
        s->reported = s->in_bytes;
    }
    return s->source.unhashed ? 0 : layer_hash_add(s->hash, s->in, s->in_len, err);
}

static int truncated(struct error *err)
{
    return error_set(err, ERROR_CORRUPT, EBADMSG, "the archive is truncated");
}

static int damaged(const char *what, const char *why, struct error *err)
{
    return error_set(err, ERROR_CORRUPT, EBADMSG, "the archive's %s data is damaged%s%s", what,
                     *why ? ": " : "", why);
}

/* What may follow a complete member: another one (true), or zeros up to the end. */
static int more_members(struct decompressor *s, bool *ret, struct error *err)
{
    int r;
    *ret = false;
    while ((r = fill(s, err)) == 0 && s->in_at < s->in_len) {
        if (s->in[s->in_at] != 0) {
            *ret = true;
            return 0;
        }
        s->in_at++;
    }
    return r;
}

static int next_gzip(struct decompressor *s, char *out, size_t room, size_t *ret_len,
                     struct error *err)
{
    struct inflate_state *z = s->gzip;
    bool more;
    z->next_out = (uint8_t *)out;
    z->avail_out = (uint32_t)room;
    while (z->avail_out == room) {
        int r;
        if (z->block_state == ISAL_BLOCK_FINISH) {
            if ((r = more_members(s, &more, err)) < 0)
                return r;
            if (!more)
                break;
            isal_inflate_reset(z);
            z->crc_flag = ISAL_GZIP;
        }
        if ((r = fill(s, err)) < 0)
            return r;
        z->next_in = (uint8_t *)s->in + s->in_at;
        z->avail_in = (uint32_t)(s->in_len - s->in_at);
        bool starved = z->avail_in == 0;
        r = isal_inflate(z);
        if (r != ISAL_DECOMP_OK && r != ISAL_END_INPUT)
            return damaged("gzip", r == ISAL_INCORRECT_CHECKSUM ? "wrong checksum" : "", err);
        s->in_at = s->in_len - z->avail_in;
        if (starved && z->avail_out == room && z->block_state != ISAL_BLOCK_FINISH)
            return truncated(err);
    }
    *ret_len = room - z->avail_out;
    return 0;
}

static int next_zstd(struct decompressor *s, char *to, size_t room, size_t *ret_len,
                     struct error *err)
{
    ZSTD_outBuffer out = {to, room, 0};
    while (out.pos == 0) {
        int r = fill(s, err);
        if (r < 0)
            return r;
        if (s->in_at == s->in_len && s->ended)
            break;
        ZSTD_inBuffer in = {s->in, s->in_len, s->in_at};
        size_t hint = ZSTD_decompressStream(s->zstd, &out, &in);
        if (ZSTD_isError(hint))
            return damaged("zstd", ZSTD_getErrorName(hint), err);
        if (in.pos == s->in_at && out.pos == 0 && s->in_end)
            return truncated(err);
        s->in_at = in.pos;
        s->ended = hint == 0;
    }
    *ret_len = out.pos;
    return 0;
}

static la_ssize_t read_for_archive(struct archive *a, void *context, const void **buffer)
{
    struct decompressor *s = context;
    if (fill(s, &s->other_error) < 0) {
        archive_set_error(a, EIO, "%s", s->other_error.msg);
        return -1;
    }
    *buffer = s->in + s->in_at;
    size_t n = s->in_len - s->in_at;
    s->in_at = s->in_len;
    return (la_ssize_t)n;
}

static int other_failed(struct decompressor *s, struct error *err)
{
    if (s->other_error.code) {
        *err = s->other_error;
        return -err->code;
    }
    const char *why = archive_error_string(s->other);
    return damaged("compressed", why ? why : "", err);
}

/* Whatever follows the compressed data belongs to the archive's digest. */
static int read_rest(struct decompressor *s, struct error *err)
{
    int r;
    do {
        s->in_at = s->in_len;
        r = fill(s, err);
    } while (r == 0 && !s->in_end);
    return r;
}

static int next_other(struct decompressor *s, char *out, size_t room, size_t *ret_len,
                      struct error *err)
{
    la_int64_t offset;
    while (s->other_len == 0) {
        const void *data;
        int r = archive_read_data_block(s->other, &data, &s->other_len, &offset);
        if (r == ARCHIVE_EOF)
            return read_rest(s, err);
        if (r != ARCHIVE_OK)
            return other_failed(s, err);
        s->other_data = data;
    }
    *ret_len = MIN(room, s->other_len);
    memcpy(out, s->other_data, *ret_len);
    s->other_data += *ret_len;
    s->other_len -= *ret_len;
    return 0;
}

static int next_plain(struct decompressor *s, char *out, size_t room, size_t *ret_len,
                      struct error *err)
{
    int r = fill(s, err);
    if (r < 0)
        return r;
    *ret_len = MIN(room, s->in_len - s->in_at);
    memcpy(out, s->in + s->in_at, *ret_len);
    s->in_at += *ret_len;
    return 0;
}

static int open_other(struct decompressor *s, struct error *err)
{
    struct archive_entry *entry;
    s->other = archive_read_new();
    if (!s->other || archive_read_support_filter_xz(s->other) != ARCHIVE_OK ||
        archive_read_support_filter_bzip2(s->other) != ARCHIVE_OK ||
        archive_read_support_format_raw(s->other) != ARCHIVE_OK)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "libarchive lacks xz or bzip2");
    if (archive_read_open(s->other, s, NULL, read_for_archive, NULL) != ARCHIVE_OK ||
        archive_read_next_header(s->other, &entry) != ARCHIVE_OK)
        return other_failed(s, err);
    return 0;
}

static enum compression recognise(const char *data, size_t len)
{
    static const struct {
        enum compression kind;
        size_t len;
        const char *magic;
    } known[] = {
        {GZIP, 2, "\x1f\x8b"},
        {ZSTD, 4, "\x28\xb5\x2f\xfd"},
        {OTHER, 6,
         "\xfd"
         "7zXZ\0"},
        {OTHER, 3, "BZh"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (len >= known[i].len && memcmp(data, known[i].magic, known[i].len) == 0)
            return known[i].kind;
    return PLAIN;
}

static int open_kind(struct decompressor *s, struct error *err)
{
    switch (s->kind) {
    case GZIP:
        s->gzip = calloc(1, sizeof(*s->gzip));
        if (!s->gzip)
            return error_errno(err, ENOMEM, "read a gzip archive");
        isal_inflate_init(s->gzip);
        s->gzip->crc_flag = ISAL_GZIP;
        return 0;
    case ZSTD:
        s->zstd = ZSTD_createDStream();
        if (!s->zstd ||
            ZSTD_isError(ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax, WINDOW_LOG)))
            return error_errno(err, ENOMEM, "read a zstd archive");
        return 0;
    case OTHER:
        return open_other(s, err);
    default:
        return 0;
    }
}

/* The first read may be short on a pipe; the compression shows in six bytes. */
static int fill_start(struct decompressor *s, struct error *err)
{
    int r = fill(s, err);
    while (r == 0 && s->in_len > 0 && s->in_len < 6 && !s->in_end) {
        char start[6];
        size_t n = s->in_len;
        memcpy(start, s->in, n);
        s->in_at = s->in_len;
        if ((r = fill(s, err)) < 0)
            return r;
        memmove(s->in + n, s->in, s->in_len);
        memcpy(s->in, start, n);
        s->in_len += n;
        if (s->in_end) { /* the end is seen again when these are used */
            s->in_end = false;
            break;
        }
    }
    return r;
}

int decompressor_open(const struct layer_source *source, struct decompressor **ret,
                      struct error *err)
{
    _cleanup_decompressor_ struct decompressor *s = calloc(1, sizeof(*s));
    if (!s)
        return error_errno(err, ENOMEM, "read an archive");
    s->source = *source;
    s->in = malloc(IN_BYTES + 6);
    s->hash = layer_hash_new();
    if (!s->in || !s->hash)
        return error_errno(err, ENOMEM, "read an archive");
    int r = fill_start(s, err);
    if (r < 0)
        return r;
    if (s->in_len == 0 && !s->source.as_it_is)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the archive is empty");
    s->kind = s->source.as_it_is ? PLAIN : recognise(s->in, s->in_len);
    if ((r = open_kind(s, err)) < 0)
        return r;
    *ret = TAKE_PTR(s);
    return 0;
}

void decompressor_free(struct decompressor *s)
{
    if (!s)
        return;
    layer_hash_free(s->hash);
    ZSTD_freeDStream(s->zstd);
    archive_read_free(s->other);
    free(s->gzip);
    free(s->in);
    free(s);
}

bool decompressor_is_plain(const struct decompressor *s)
{
    return s->kind == PLAIN;
}

int decompressor_next(struct decompressor *s, char *out, size_t room, size_t *ret_len,
                      struct error *err)
{
    static int (*const next[])(struct decompressor *, char *, size_t, size_t *, struct error *) = {
        [PLAIN] = next_plain,
        [GZIP] = next_gzip,
        [ZSTD] = next_zstd,
        [OTHER] = next_other,
    };
    *ret_len = 0;
    return next[s->kind](s, out, room, ret_len, err);
}

int decompressor_digest(struct decompressor *s, char *ret, uint64_t *ret_bytes, struct error *err)
{
    *ret_bytes = s->in_bytes;
    return layer_hash_text(s->hash, ret, err);
}
