#include "wire/layer/sink.h"

#include <isa-l/igzip_lib.h>
#include <string.h>
#include <zstd.h>

#include "base/fd.h"
#include "wire/layer/decompress.h"

#define PACKED_BYTES ((size_t)256 << 10)
#define GZIP_LEVEL   2 /* ISA-L's, of 0 to 3 */
#define ZSTD_LEVEL   3

struct layer_sink {
    int fd;
    enum sink_compression how;
    struct layer_hash *plain_hash, *written_hash;
    uint64_t plain_bytes, written_bytes;
    char *packed;
    struct isal_zstream *gzip;
    ZSTD_CCtx *zstd;
};

static const char *const names[] = {
    [SINK_NONE] = "none",
    [SINK_GZIP] = "gzip",
    [SINK_ZSTD] = "zstd",
};

int sink_compression_parse(const char *name, enum sink_compression *ret)
{
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(name, names[i]) == 0) {
            *ret = (enum sink_compression)i;
            return 0;
        }
    return -EINVAL;
}

static int open_gzip(struct layer_sink *s)
{
    s->gzip = calloc(1, sizeof(*s->gzip));
    if (!s->gzip)
        return -ENOMEM;
    isal_deflate_init(s->gzip);
    s->gzip->level = GZIP_LEVEL;
    s->gzip->level_buf_size = ISAL_DEF_LVL2_DEFAULT;
    s->gzip->level_buf = malloc(s->gzip->level_buf_size);
    s->gzip->gzip_flag = IGZIP_GZIP;
    s->gzip->flush = NO_FLUSH;
    return s->gzip->level_buf ? 0 : -ENOMEM;
}

static int open_zstd(struct layer_sink *s)
{
    s->zstd = ZSTD_createCCtx();
    if (!s->zstd ||
        ZSTD_isError(ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_checksumFlag, 1)))
        return -ENOMEM;
    return 0;
}

int layer_sink_open(int fd, enum sink_compression how, struct layer_sink **ret, struct error *err)
{
    _cleanup_sink_ struct layer_sink *s = calloc(1, sizeof(*s));
    if (!s)
        return error_errno(err, ENOMEM, "write a layer");
    s->fd = fd;
    s->how = how;
    s->plain_hash = layer_hash_new();
    s->packed = malloc(PACKED_BYTES);
    int r = s->plain_hash && s->packed ? 0 : -ENOMEM;
    if (r == 0 && how != SINK_NONE)
        r = (s->written_hash = layer_hash_new()) ? 0 : -ENOMEM;
    if (r == 0 && how == SINK_GZIP)
        r = open_gzip(s);
    if (r == 0 && how == SINK_ZSTD)
        r = open_zstd(s);
    if (r < 0)
        return error_errno(err, r, "write a layer");
    *ret = TAKE_PTR(s);
    return 0;
}

void layer_sink_close(struct layer_sink *s)
{
    if (!s)
        return;
    layer_hash_free(s->plain_hash);
    layer_hash_free(s->written_hash);
    ZSTD_freeCCtx(s->zstd);
    if (s->gzip)
        free(s->gzip->level_buf);
    free(s->gzip);
    free(s->packed);
    free(s);
}

static int emit(struct layer_sink *s, const void *data, size_t len, struct error *err)
{
    s->written_bytes += len;
    int r = s->written_hash ? layer_hash_add(s->written_hash, data, len, err) : 0;
    if (r < 0)
        return r;
    r = s->fd >= 0 ? fd_write_all(s->fd, data, len) : 0;
    return r < 0 ? error_errno(err, r, "write the layer's archive") : 0;
}

static int write_gzip(struct layer_sink *s, const void *data, size_t len, bool end,
                      struct error *err)
{
    struct isal_zstream *z = s->gzip;
    z->next_in = (uint8_t *)data;
    z->avail_in = (uint32_t)len;
    z->end_of_stream = end;
    do {
        z->next_out = (uint8_t *)s->packed;
        z->avail_out = PACKED_BYTES;
        if (isal_deflate(z) != COMP_OK)
            return error_set(err, ERROR_SYSTEM, EIO, "compress: ISA-L fails");
        int r = emit(s, s->packed, PACKED_BYTES - z->avail_out, err);
        if (r < 0)
            return r;
    } while (z->avail_out == 0);
    return 0;
}

static int write_zstd(struct layer_sink *s, const void *data, size_t len, bool end,
                      struct error *err)
{
    ZSTD_inBuffer in = {data, len, 0};
    size_t left;
    do {
        ZSTD_outBuffer out = {s->packed, PACKED_BYTES, 0};
        left = ZSTD_compressStream2(s->zstd, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return error_set(err, ERROR_SYSTEM, EIO, "compress: %s", ZSTD_getErrorName(left));
        int r = emit(s, out.dst, out.pos, err);
        if (r < 0)
            return r;
    } while (end ? left > 0 : in.pos < in.size);
    return 0;
}

static int pass_on(struct layer_sink *s, const void *data, size_t len, bool end, struct error *err)
{
    switch (s->how) {
    case SINK_GZIP:
        return write_gzip(s, data, len, end, err);
    case SINK_ZSTD:
        return write_zstd(s, data, len, end, err);
    default:
        return emit(s, data, len, err);
    }
}

int layer_sink_write(struct layer_sink *s, const void *data, size_t len, struct error *err)
{
    s->plain_bytes += len;
    int r = layer_hash_add(s->plain_hash, data, len, err);
    return r < 0 ? r : pass_on(s, data, len, false, err);
}

int layer_sink_finish(struct layer_sink *s, struct layer_sink_result *ret, struct error *err)
{
    int r;
    if ((r = pass_on(s, "", 0, true, err)) < 0 ||
        (r = layer_hash_text(s->plain_hash, ret->plain, err)) < 0)
        return r;
    if (s->written_hash)
        r = layer_hash_text(s->written_hash, ret->written, err);
    else
        memcpy(ret->written, ret->plain, sizeof(ret->written));
    ret->plain_bytes = s->plain_bytes;
    ret->written_bytes = s->written_bytes;
    return r;
}
