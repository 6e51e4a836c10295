/*
 * The uncompressed bytes of an archive, hashed and counted on their way. Uncompressing (and hashing
 * what is read) is decompress.c's; with a thread of its own (ahead.h) it overlaps with what the
 * caller does with the bytes, which takes about as long.
 */
#include "wire/layer/stream.h"

#include <string.h>

#include "wire/layer/ahead.h"
#include "wire/layer/decompress.h"

struct layer_stream {
    struct decompressor *from;
    struct layer_ahead *ahead; /* borrowed; NULL: the block below, as it is asked for */
    char *block;
    struct layer_hash *hash; /* NULL when plain: the bytes are the same */
    uint64_t bytes, max_bytes;
    size_t trailing_zeros; /* at the end, at most 512 counted */
};

static int make_block(void *context, char *block, size_t room, size_t *ret_len, struct error *err)
{
    return decompressor_next(context, block, room, ret_len, err);
}

int layer_stream_open(const struct layer_source *source, struct layer_stream **ret,
                      struct error *err)
{
    _cleanup_stream_ struct layer_stream *s = calloc(1, sizeof(*s));
    if (!s)
        return error_errno(err, ENOMEM, "read an archive");
    s->max_bytes = source->max_bytes;
    int r = decompressor_open(source, &s->from, err);
    if (r < 0)
        return r;
    bool plain = decompressor_is_plain(s->from);
    if ((!plain && !source->unhashed && !(s->hash = layer_hash_new())) ||
        (!source->ahead && !(s->block = malloc(AHEAD_BLOCK))))
        return error_errno(err, ENOMEM, "read an archive");
    if (source->ahead) {
        s->ahead = source->ahead;
        layer_ahead_begin(s->ahead, make_block, s->from);
    }
    *ret = TAKE_PTR(s);
    return 0;
}

void layer_stream_close(struct layer_stream *s)
{
    if (!s)
        return;
    if (s->ahead)
        layer_ahead_end(s->ahead);
    decompressor_free(s->from);
    layer_hash_free(s->hash);
    free(s->block);
    free(s);
}

bool layer_stream_is_plain(const struct layer_stream *s)
{
    return decompressor_is_plain(s->from);
}

static void count_zeros(struct layer_stream *s, const char *data, size_t len)
{
    size_t n = 0;
    while (n < len && n < 512 && data[len - 1 - n] == 0)
        n++;
    s->trailing_zeros = n == len ? MIN(s->trailing_zeros + n, (size_t)512) : n;
}

int layer_stream_next(struct layer_stream *s, const void **ret, size_t *ret_len, struct error *err)
{
    const char *data = s->block;
    size_t len = 0;
    int r = s->ahead ? layer_ahead_next(s->ahead, &data, &len, err)
                     : decompressor_next(s->from, s->block, AHEAD_BLOCK, &len, err);
    if (r < 0)
        return r;
    s->bytes += len;
    if (s->bytes > s->max_bytes)
        return error_set(err, ERROR_LIMIT, EFBIG,
                         "the archive unpacks to more than the allowed %llu bytes",
                         (unsigned long long)s->max_bytes);
    count_zeros(s, data, len);
    if (s->hash && (r = layer_hash_add(s->hash, data, len, err)) < 0)
        return r;
    *ret = data;
    *ret_len = len;
    return 0;
}

int layer_stream_digests(struct layer_stream *s, struct layer_digests *ret, struct error *err)
{
    int r = decompressor_digest(s->from, ret->archive, &ret->archive_bytes, err);
    if (r == 0 && s->hash)
        r = layer_hash_text(s->hash, ret->tar, err);
    else
        memcpy(ret->tar, ret->archive, sizeof(ret->tar));
    ret->tar_bytes = s->bytes;
    ret->ends_in_zeros = s->trailing_zeros == 512;
    ret->compressed = !layer_stream_is_plain(s);
    return r;
}
