/*
 * gzip, xz, zstd and bzip2, told apart by their own first bytes, through libarchive's filters:
 * what a bzImage's payload and a module may be compressed with, besides LZ4's legacy frame.
 */
#include <archive.h>
#include <archive_entry.h>

#include "runtime/vm/prepare/prepare.h"

#define PIECE ((size_t)1 << 20)

static int open_filters(struct archive *a, const char *data, size_t len)
{
    struct archive_entry *entry;
    if (archive_read_support_filter_gzip(a) != ARCHIVE_OK ||
        archive_read_support_filter_xz(a) != ARCHIVE_OK ||
        archive_read_support_filter_zstd(a) != ARCHIVE_OK ||
        archive_read_support_filter_bzip2(a) != ARCHIVE_OK ||
        archive_read_support_format_raw(a) != ARCHIVE_OK)
        return -ENOTSUP;
    if (archive_read_open_memory(a, data, len) != ARCHIVE_OK ||
        archive_read_next_header(a, &entry) != ARCHIVE_OK)
        return -EBADMSG;
    return archive_filter_count(a) > 1 ? 0 : -EBADMSG; /* the last is "none" */
}

static int read_all(struct archive *a, struct buf *out)
{
    for (;;) {
        char *space;
        int r = buf_reserve(out, MIN(PIECE, out->max - out->len), &space);
        if (r < 0)
            return r;
        /* At the maximum one byte more tells an end from too much. */
        char over;
        bool full = out->len == out->max;
        ssize_t n =
            archive_read_data(a, full ? &over : space, full ? 1 : MIN(PIECE, out->max - out->len));
        if (n < 0)
            return -EBADMSG;
        if (n == 0)
            return 0;
        if (full)
            return -EFBIG;
        out->len += (size_t)n;
    }
}

int inflate_bytes(const char *data, size_t len, struct buf *out)
{
    struct archive *a = archive_read_new();
    int r = a ? open_filters(a, data, len) : -ENOMEM;
    if (r == 0)
        r = read_all(a, out);
    archive_read_free(a);
    return r;
}
