/*
 * The stream of blocks, the contents of files, and extended attributes.
 *
 * A flat file is streamed as it comes. At its end the part that does not fill a block is taken back
 * out of the buffer and kept in memory, to stand behind its inode later, if it fits there and the
 * memory for such tails is not used up; otherwise the block is filled with zeros. The buffer is
 * flushed only when full and holds whole blocks then, so a tail is always still in it.
 *
 * A sparse file is cut into equal chunks, large enough that its map stays small. A chunk gets room
 * when the first byte of it comes; what is not written of it is a hole of the host's file.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "wire/erofs/writer-internal.h"

static bool all_zeros(const char *data, size_t len)
{
    return data[0] == 0 && memcmp(data, data + 1, len - 1) == 0;
}

int erofs_stream_flush(struct erofs_writer *w, struct error *err)
{
    int r = 0;
    /* A full buffer of zeros becomes a hole of the host's file; something always follows it. */
    if (w->pending == EROFS_STREAM_BYTES && all_zeros(w->buffer, w->pending)) {
        if (lseek(w->fd, (off_t)w->pending, SEEK_CUR) < 0)
            r = -errno;
    } else {
        r = fd_write_all(w->fd, w->buffer, w->pending);
    }
    if (r < 0)
        return error_errno(err, r, "write the layer");
    w->flushed += w->pending;
    w->pending = 0;
    return 0;
}

static int check_room(const struct erofs_writer *w, uint64_t len, struct error *err)
{
    uint64_t position = erofs_position(w);
    if (len > w->limits.file_bytes || position > w->limits.file_bytes - len ||
        (position + len) >> EROFS_BLOCK_BITS >= EROFS_NULL_ADDRESS)
        return error_set(err, ERROR_LIMIT, EFBIG, "the layer would need more than %llu MiB",
                         (unsigned long long)(w->limits.file_bytes >> 20));
    return 0;
}

int erofs_stream(struct erofs_writer *w, const void *data, size_t len, struct error *err)
{
    const char *p = data;
    int r = check_room(w, len, err);
    while (r == 0 && len > 0) {
        size_t n = MIN(len, EROFS_STREAM_BYTES - w->pending);
        memcpy(w->buffer + w->pending, p, n);
        w->pending += n;
        p += n;
        len -= n;
        if (w->pending == EROFS_STREAM_BYTES)
            r = erofs_stream_flush(w, err);
    }
    return r;
}

int erofs_stream_to(struct erofs_writer *w, uint64_t position, struct error *err)
{
    uint64_t gap = position - erofs_position(w);
    int r = check_room(w, gap, err);
    if (r < 0)
        return r;
    if (gap >= 2 * EROFS_STREAM_BYTES) { /* whole blocks of it are left out of the host's file */
        uint64_t target = position & ~(uint64_t)(EROFS_BLOCK_SIZE - 1);
        if ((r = erofs_stream_flush(w, err)) < 0)
            return r;
        if (lseek(w->fd, (off_t)target, SEEK_SET) < 0)
            return error_errno(err, errno, "write the layer");
        w->flushed = target;
    }
    while (r == 0 && erofs_position(w) < position) {
        size_t n = MIN(position - erofs_position(w), EROFS_STREAM_BYTES - w->pending);
        memset(w->buffer + w->pending, 0, n);
        w->pending += n;
        if (w->pending == EROFS_STREAM_BYTES)
            r = erofs_stream_flush(w, err);
    }
    return r;
}

static uint64_t next_block(uint64_t position)
{
    return (position + EROFS_BLOCK_SIZE - 1) & ~(uint64_t)(EROFS_BLOCK_SIZE - 1);
}

int erofs_set_target(struct erofs_writer *w, struct erofs_inode *symlink, const char *target,
                     struct error *err)
{
    size_t len = strlen(target);
    if (len == 0 || len > EROFS_TARGET_MAX)
        return error_set(err, ERROR_CORRUPT, ENAMETOOLONG, "a symlink's target of %zu bytes", len);
    char *copy = erofs_arena_get(&w->memory, len + 1);
    if (!copy)
        return erofs_no_memory(w, err);
    memcpy(copy, target, len);
    symlink->body = copy;
    symlink->body_len = (uint32_t)len;
    symlink->size = len;
    symlink->layout = EROFS_LAYOUT_INLINE; /* unless it turns out not to fit: finish.c */
    return 0;
}

const char *erofs_target(const struct erofs_inode *symlink)
{
    return symlink->body ? symlink->body : "";
}

static int begin_sparse(struct erofs_writer *w, uint64_t size, struct error *err)
{
    w->chunk_bits = EROFS_BLOCK_BITS;
    while (((size - 1) >> w->chunk_bits) >= EROFS_CHUNKS_MAX)
        w->chunk_bits++;
    w->n_chunks = (uint32_t)((size - 1) >> w->chunk_bits) + 1;
    if (!w->map)
        w->map = malloc(EROFS_CHUNKS_MAX * sizeof(uint32_t));
    if (!w->map)
        return error_errno(err, ENOMEM, "write a sparse file");
    memset(w->map, 0xff, w->n_chunks * sizeof(uint32_t));
    w->chunk = EROFS_NULL_ADDRESS;
    return 0;
}

int erofs_file_begin(struct erofs_writer *w, struct erofs_inode *i, uint64_t size, bool sparse,
                     struct error *err)
{
    if (size > EROFS_SIZE_MAX)
        return error_set(err, ERROR_CORRUPT, EFBIG, "a file of %llu bytes",
                         (unsigned long long)size);
    w->file = i;
    w->sparse = sparse && size > 0;
    w->written = 0;
    w->start = erofs_position(w);
    i->size = size;
    i->where = 0;
    i->body = NULL;
    i->body_len = 0;
    i->layout = EROFS_LAYOUT_PLAIN;
    if (w->sparse)
        return begin_sparse(w, size, err);
    if (size >= EROFS_BLOCK_SIZE)
        i->where = (uint32_t)(erofs_position(w) >> EROFS_BLOCK_BITS);
    return 0;
}

/* Room that the current chunk needs in all: the last one of a file ends with the file. */
static uint64_t chunk_bytes(const struct erofs_writer *w)
{
    uint64_t start = (uint64_t)w->chunk << w->chunk_bits;
    return MIN((uint64_t)1 << w->chunk_bits, next_block(w->file->size - start));
}

static int end_chunk(struct erofs_writer *w, struct error *err)
{
    if (w->chunk == EROFS_NULL_ADDRESS)
        return 0;
    return erofs_stream_to(w, w->chunk_start + chunk_bytes(w), err);
}

static int write_sparse(struct erofs_writer *w, const char *data, size_t len, uint64_t offset,
                        struct error *err)
{
    int r = 0;
    while (r == 0 && len > 0) {
        uint32_t chunk = (uint32_t)(offset >> w->chunk_bits);
        uint64_t inside = offset & (((uint64_t)1 << w->chunk_bits) - 1);
        size_t n = MIN(len, ((uint64_t)1 << w->chunk_bits) - inside);
        if (chunk != w->chunk) {
            if ((r = end_chunk(w, err)) < 0)
                return r;
            w->chunk = chunk;
            w->chunk_start = erofs_position(w);
            w->map[chunk] = (uint32_t)(w->chunk_start >> EROFS_BLOCK_BITS);
        }
        if ((r = erofs_stream_to(w, w->chunk_start + inside, err)) == 0)
            r = erofs_stream(w, data, n, err);
        data += n;
        len -= n;
        offset += n;
    }
    return r;
}

int erofs_file_write(struct erofs_writer *w, const void *data, size_t len, uint64_t offset,
                     struct error *err)
{
    if (offset > w->file->size || len > w->file->size - offset)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "a file holds more than its stated %llu bytes",
                         (unsigned long long)w->file->size);
    if (offset < w->written || (!w->sparse && offset != w->written))
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the pieces of a file are not in order");
    w->written = offset + len;
    return w->sparse ? write_sparse(w, data, len, offset, err) : erofs_stream(w, data, len, err);
}

static int end_sparse(struct erofs_writer *w, struct error *err)
{
    struct erofs_inode *i = w->file;
    size_t bytes = w->n_chunks * sizeof(uint32_t);
    int r = end_chunk(w, err);
    if (r < 0)
        return r;
    i->body = erofs_arena_get(&w->memory, bytes);
    if (!i->body)
        return erofs_no_memory(w, err);
    memcpy(i->body, w->map, bytes);
    i->body_len = (uint32_t)bytes;
    i->layout = EROFS_LAYOUT_CHUNKS;
    i->where = w->chunk_bits - EROFS_BLOCK_BITS;
    w->chunked = true;
    return 0;
}

/* The fuller the memory for tails, the smaller a tail has to be: small ones save the most of a
 * block for the least of it. */
static bool is_worth_keeping(const struct erofs_arena *tails, uint32_t tail)
{
    return tail * tails->max <= (tails->max - tails->used + tails->left) * EROFS_BLOCK_SIZE;
}

static int end_flat(struct erofs_writer *w, struct error *err)
{
    struct erofs_inode *i = w->file;
    uint32_t tail = (uint32_t)(i->size & (EROFS_BLOCK_SIZE - 1));
    if (w->written != i->size)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "a file ends after %llu of its %llu bytes",
                         (unsigned long long)w->written, (unsigned long long)i->size);
    if (tail == 0)
        return 0;
    if (sizeof(struct erofs_disk_inode) + i->xattrs_len + tail <= EROFS_BLOCK_SIZE &&
        is_worth_keeping(&w->tails, tail))
        i->body = erofs_arena_get(&w->tails, tail);
    if (!i->body) {
        i->where = (uint32_t)((erofs_position(w) - i->size) >> EROFS_BLOCK_BITS);
        return erofs_stream_to(w, next_block(erofs_position(w)), err);
    }
    w->pending -= tail;
    memcpy(i->body, w->buffer + w->pending, tail);
    i->body_len = tail;
    i->layout = EROFS_LAYOUT_INLINE;
    return 0;
}

int erofs_file_end(struct erofs_writer *w, struct error *err)
{
    int r = w->sparse ? end_sparse(w, err) : end_flat(w, err);
    w->file = NULL;
    return r;
}

size_t erofs_file_where(const struct erofs_writer *w, uint64_t offset, size_t len,
                        uint64_t *ret_position)
{
    if (!w->sparse) {
        *ret_position = w->start + offset;
        return len;
    }
    uint64_t inside = offset & (((uint64_t)1 << w->chunk_bits) - 1);
    uint64_t start = w->map[offset >> w->chunk_bits];
    *ret_position = (start << EROFS_BLOCK_BITS) + inside;
    return MIN(len, ((uint64_t)1 << w->chunk_bits) - inside);
}

struct erofs_tail erofs_tail(const struct erofs_writer *w, const struct erofs_inode *i)
{
    struct erofs_tail t = {.len = (uint32_t)(i->size & (EROFS_BLOCK_SIZE - 1))};
    if (i->layout != EROFS_LAYOUT_INLINE)
        t.position = ((uint64_t)i->where << EROFS_BLOCK_BITS) + (i->size - t.len);
    else if (i->nid == 0)
        t.lost = i->body;
    else
        t.position = w->meta_start + (i->nid << EROFS_SLOT_BITS) + sizeof(struct erofs_disk_inode) +
                     i->xattrs_len;
    return t;
}
