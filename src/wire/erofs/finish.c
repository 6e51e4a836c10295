/*
 * From the tree in memory to metadata on disk:
 *   1. order: all inodes, breadth first, so that those of one directory are neighbours; links are
 *      counted on the way, and only what is still reachable is in the order;
 *   2. lay out: blocks of directories (and of symlinks too long to stand behind their inode) come
 *      after the contents of files, then one area of inodes, whose place is their number;
 *   3. write both areas, then the superblock.
 */
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "wire/erofs/writer-internal.h"

struct order {
    struct erofs_inode **inodes;
    size_t n, capacity;
    uint64_t blocks_start, meta_start, meta_bytes; /* positions in the file */
};

static int order_add(struct order *o, struct erofs_inode *i, struct error *err)
{
    if (o->n == o->capacity) {
        size_t capacity = o->capacity ? o->capacity * 2 : 1024;
        void *p = reallocarray(o->inodes, capacity, sizeof(struct erofs_inode *));
        if (!p)
            return error_errno(err, ENOMEM, "order the layer's files");
        o->inodes = p;
        o->capacity = capacity;
    }
    o->inodes[o->n++] = i;
    return 0;
}

static int order_children(struct erofs_writer *w, struct order *o, struct erofs_inode *dir,
                          struct error *err)
{
    int r = erofs_directory_sort(w, dir, err);
    if (r < 0)
        return r;
    dir->links = 2;
    for (uint32_t n = 0; r == 0 && n < dir->n_sorted; n++) {
        struct erofs_inode *i = dir->sorted[n]->inode;
        if (!dir->sorted[n]->dir) /* "." and ".." */
            continue;
        if (S_ISDIR(i->mode))
            dir->links++;
        else if (i->links++ > 0)
            continue;
        r = order_add(o, i, err);
    }
    erofs_directory_measure(dir);
    return r;
}

static int make_order(struct erofs_writer *w, struct order *o, struct error *err)
{
    int r = order_add(o, w->root, err);
    for (size_t n = 0; r == 0 && n < o->n; n++)
        if (S_ISDIR(o->inodes[n]->mode))
            r = order_children(w, o, o->inodes[n], err);
    return r;
}

/* Whole blocks that an inode's contents still need: directories and long symlinks. */
static uint32_t late_blocks(struct erofs_inode *i)
{
    if (S_ISLNK(i->mode)) {
        bool fits =
            sizeof(struct erofs_disk_inode) + i->xattrs_len + i->body_len <= EROFS_BLOCK_SIZE;
        i->layout = fits ? EROFS_LAYOUT_INLINE : EROFS_LAYOUT_PLAIN;
        return fits ? 0 : 1;
    }
    if (!S_ISDIR(i->mode))
        return 0;
    uint64_t blocks = (i->size + EROFS_BLOCK_SIZE - 1) >> EROFS_BLOCK_BITS;
    return (uint32_t)blocks - (i->layout == EROFS_LAYOUT_INLINE);
}

static uint32_t behind_inode(const struct erofs_inode *i)
{
    return i->layout == EROFS_LAYOUT_PLAIN ? 0 : i->body_len;
}

static int lay_out(struct erofs_writer *w, struct order *o, struct error *err)
{
    uint64_t block = erofs_position(w) >> EROFS_BLOCK_BITS, at = sizeof(struct erofs_disk_inode);
    o->blocks_start = erofs_position(w);
    for (size_t n = 0; n < o->n; n++) {
        uint32_t blocks = late_blocks(o->inodes[n]);
        if (blocks > 0)
            o->inodes[n]->where = (uint32_t)block;
        block += blocks;
    }
    if (block >= EROFS_NULL_ADDRESS)
        return error_set(err, ERROR_LIMIT, EFBIG, "the layer is larger than 16 TiB");
    o->meta_start = w->meta_start = block << EROFS_BLOCK_BITS;
    /* The first inode is not at 0: inode number 0 hides a file from readdir. */
    for (size_t n = 0; n < o->n; n++) {
        struct erofs_inode *i = o->inodes[n];
        uint32_t head = (uint32_t)sizeof(struct erofs_disk_inode), tail = behind_inode(i);
        uint32_t together = i->layout == EROFS_LAYOUT_INLINE ? head + i->xattrs_len + tail : head;
        if ((at & (EROFS_BLOCK_SIZE - 1)) + together > EROFS_BLOCK_SIZE)
            at = (at + EROFS_BLOCK_SIZE - 1) & ~(uint64_t)(EROFS_BLOCK_SIZE - 1);
        i->nid = at >> EROFS_SLOT_BITS;
        at += head + i->xattrs_len + tail;
        at = (at + (1u << EROFS_SLOT_BITS) - 1) & ~(((uint64_t)1 << EROFS_SLOT_BITS) - 1);
    }
    if (at >> EROFS_BLOCK_BITS > EROFS_META_BLOCKS)
        return error_set(err, ERROR_LIMIT, EFBIG, "more names and attributes than %u MiB can hold",
                         EROFS_META_BLOCKS >> (20 - EROFS_BLOCK_BITS));
    o->meta_bytes = (at + EROFS_BLOCK_SIZE - 1) & ~(uint64_t)(EROFS_BLOCK_SIZE - 1);
    return 0;
}

static int write_directory(struct erofs_writer *w, struct erofs_inode *dir, struct error *err)
{
    char block[EROFS_BLOCK_SIZE];
    uint32_t used;
    bool inline_last = dir->layout == EROFS_LAYOUT_INLINE;
    for (uint32_t first = 0; first < dir->n_sorted;) {
        if (inline_last && first == dir->last_block)
            break;
        first = erofs_directory_block(dir, first, block, &used);
        int r = erofs_stream(w, block, sizeof(block), err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int write_blocks(struct erofs_writer *w, struct order *o, struct error *err)
{
    int r = 0;
    for (size_t n = 0; r == 0 && n < o->n; n++) {
        struct erofs_inode *i = o->inodes[n];
        if (S_ISDIR(i->mode)) {
            r = write_directory(w, i, err);
        } else if (S_ISLNK(i->mode) && i->layout == EROFS_LAYOUT_PLAIN) {
            r = erofs_stream(w, i->body, i->body_len, err);
            if (r == 0)
                r = erofs_stream_to(w, erofs_position(w) + EROFS_BLOCK_SIZE - i->body_len, err);
        }
    }
    return r;
}

static int write_inode(struct erofs_writer *w, struct erofs_inode *i, uint32_t ino,
                       struct error *err)
{
    char block[EROFS_BLOCK_SIZE];
    uint32_t used;
    const void *body = i->body;
    struct erofs_disk_inode d = {
        .format = (uint16_t)(EROFS_FORMAT_EXTENDED | (i->layout << 1)),
        .mode = i->mode,
        .size = i->size,
        .where = i->where,
        .ino = ino,
        .uid = i->uid,
        .gid = i->gid,
        .mtime = i->mtime,
        .mtime_ns = i->mtime_ns,
        .links = i->links,
    };
    if (i->xattrs_len)
        d.xattr_count =
            (uint16_t)((i->xattrs_len - sizeof(struct erofs_disk_xattr_header)) / 4 + 1);
    if (S_ISDIR(i->mode) && i->layout == EROFS_LAYOUT_INLINE) {
        erofs_directory_block(i, i->last_block, block, &used);
        body = block;
    }
    int r = erofs_stream(w, &d, sizeof(d), err);
    if (r == 0 && i->xattrs_len)
        r = erofs_stream(w, i->xattrs, i->xattrs_len, err);
    if (r == 0 && behind_inode(i))
        r = erofs_stream(w, body, behind_inode(i), err);
    return r;
}

static int write_metadata(struct erofs_writer *w, struct order *o, struct error *err)
{
    int r = 0;
    for (size_t n = 0; r == 0 && n < o->n; n++) {
        struct erofs_inode *i = o->inodes[n];
        r = erofs_stream_to(w, o->meta_start + (i->nid << EROFS_SLOT_BITS), err);
        if (r == 0)
            r = write_inode(w, i, (uint32_t)n + 1, err);
    }
    if (r == 0)
        r = erofs_stream_to(w, o->meta_start + o->meta_bytes, err);
    return r < 0 ? r : erofs_stream_flush(w, err);
}

static uint32_t crc32c(const unsigned char *p, size_t len)
{
    uint32_t crc = ~0u;
    while (len-- > 0) {
        crc ^= *p++;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return crc;
}

static int write_super(struct erofs_writer *w, const struct order *o, struct error *err)
{
    unsigned char block[EROFS_BLOCK_SIZE] = {0};
    struct erofs_disk_super super = {
        .magic = EROFS_MAGIC,
        .feature_compat = EROFS_COMPAT_SB_CHECKSUM | EROFS_COMPAT_MTIME,
        .feature_incompat = w->chunked ? EROFS_INCOMPAT_CHUNKED_FILE : 0,
        .block_bits = EROFS_BLOCK_BITS,
        .root_nid = (uint16_t)w->root->nid,
        .inodes = o->n,
        .blocks = (uint32_t)((o->meta_start + o->meta_bytes) >> EROFS_BLOCK_BITS),
        .meta_block = (uint32_t)(o->meta_start >> EROFS_BLOCK_BITS),
    };
    memcpy(block + EROFS_SUPER_OFFSET, &super, sizeof(super));
    super.checksum = crc32c(block + EROFS_SUPER_OFFSET, sizeof(block) - EROFS_SUPER_OFFSET);
    memcpy(block + EROFS_SUPER_OFFSET, &super, sizeof(super));
    if (lseek(w->fd, 0, SEEK_SET) < 0)
        return error_errno(err, errno, "write the layer");
    int r = fd_write_all(w->fd, block, sizeof(block));
    return r < 0 ? error_errno(err, r, "write the layer") : 0;
}

int erofs_finish(struct erofs_writer *w, struct erofs_result *ret, struct error *err)
{
    struct order o = {0};
    int r = make_order(w, &o, err);
    if (r == 0)
        r = lay_out(w, &o, err);
    if (r == 0)
        r = write_blocks(w, &o, err);
    if (r == 0)
        r = write_metadata(w, &o, err);
    if (r == 0)
        r = write_super(w, &o, err);
    if (r == 0) {
        ret->bytes = o.meta_start + o.meta_bytes;
        ret->inodes = o.n;
        ret->metadata = o.blocks_start;
    }
    free(o.inodes);
    return r;
}
