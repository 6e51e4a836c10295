#include "wire/erofs/reader.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "wire/erofs/format.h"
#include "wire/erofs/writer-internal.h"

static int damaged(struct error *err, const char *what)
{
    return error_set(err, ERROR_CORRUPT, EBADMSG, "the layer's file is damaged: %s", what);
}

static int read_at(const struct erofs_reader *r, uint64_t at, void *to, size_t len,
                   struct error *err)
{
    char *p = to;
    if (at > r->bytes || len > r->bytes - at)
        return damaged(err, "something lies behind its end");
    while (len > 0) {
        ssize_t n = pread(r->fd, p, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? error_errno(err, errno, "read a layer") : damaged(err, "it is cut off");
        p += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

int erofs_reader_open(int fd, uint64_t bytes, struct erofs_reader *ret, struct error *err)
{
    struct erofs_disk_super super;
    struct erofs_reader r = {.fd = fd, .bytes = bytes};
    int result = read_at(&r, EROFS_SUPER_OFFSET, &super, sizeof(super), err);
    if (result < 0)
        return result;
    if (super.magic != EROFS_MAGIC)
        return damaged(err, "it is no EROFS");
    if (super.block_bits != EROFS_BLOCK_BITS ||
        (super.feature_incompat & ~EROFS_INCOMPAT_CHUNKED_FILE))
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "the layer's file is an EROFS of a kind that proa does not write");
    r.meta_start = (uint64_t)super.meta_block << EROFS_BLOCK_BITS;
    r.root_nid = super.root_nid;
    *ret = r;
    return 0;
}

static bool is_device(uint32_t mode)
{
    return S_ISCHR(mode) || S_ISBLK(mode);
}

static struct erofs_attributes attributes_of(const struct erofs_disk_inode *d)
{
    struct erofs_attributes a = {
        .mode = d->mode,
        .uid = d->uid,
        .gid = d->gid,
        .mtime = d->mtime,
        .mtime_ns = d->mtime_ns < 1000000000 ? d->mtime_ns : 0,
    };
    if (is_device(d->mode)) {
        a.major = d->where >> 8 & 0xfff;
        a.minor = (d->where & 0xff) | (d->where >> 12 & ~0xffu);
    }
    return a;
}

int erofs_node_read(const struct erofs_reader *r, uint64_t nid, struct erofs_node *ret,
                    struct error *err)
{
    struct erofs_disk_inode d;
    uint64_t at = r->meta_start + (nid << EROFS_SLOT_BITS);
    if (nid > r->bytes >> EROFS_SLOT_BITS)
        return damaged(err, "an inode lies behind its end");
    int result = read_at(r, at, &d, sizeof(d), err);
    if (result < 0)
        return result;
    if (!(d.format & EROFS_FORMAT_EXTENDED))
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "the layer's file has inodes of a kind that proa does not write");
    struct erofs_node n = {
        .attributes = attributes_of(&d),
        .nid = nid,
        .size = d.size,
        .links = d.links,
        .layout = (uint32_t)(d.format >> 1) & 7,
        .where = d.where,
    };
    if (d.xattr_count)
        n.xattr_bytes =
            (uint32_t)sizeof(struct erofs_disk_xattr_header) + 4u * (d.xattr_count - 1u);
    n.behind = at + sizeof(d) + n.xattr_bytes;
    if (n.layout != EROFS_LAYOUT_PLAIN && n.layout != EROFS_LAYOUT_INLINE &&
        n.layout != EROFS_LAYOUT_CHUNKS)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "the layer's file has contents of a kind that proa does not write");
    if (n.size > EROFS_SIZE_MAX)
        return damaged(err, "a file is too large");
    if (d.uid == UINT32_MAX || d.gid == UINT32_MAX || d.mtime > INT64_MAX / 2 ||
        d.mtime < -(INT64_MAX / 2))
        return damaged(err, "an owner or a time is none");
    *ret = n;
    return 0;
}

/* Where a piece stands, and how much of len follows there. 0: a hole. */
static int find_piece(const struct erofs_reader *r, const struct erofs_node *n, uint64_t offset,
                      uint64_t *len, uint64_t *ret_at, struct error *err)
{
    if (n->layout == EROFS_LAYOUT_CHUNKS) {
        uint32_t bits = EROFS_BLOCK_BITS + (n->where & EROFS_CHUNK_MAX_EXTRA_BITS), block;
        uint64_t chunk = offset >> bits, inside = offset & (((uint64_t)1 << bits) - 1);
        int result = read_at(r, n->behind + chunk * sizeof(block), &block, sizeof(block), err);
        if (result < 0)
            return result;
        *len = MIN(*len, ((uint64_t)1 << bits) - inside);
        *ret_at = block == EROFS_NULL_ADDRESS ? 0 : ((uint64_t)block << EROFS_BLOCK_BITS) + inside;
        return 0;
    }
    uint64_t tail = n->size & ~(uint64_t)(EROFS_BLOCK_SIZE - 1);
    if (n->layout == EROFS_LAYOUT_INLINE && offset >= tail) {
        *ret_at = n->behind + (offset - tail);
        return 0;
    }
    if (n->layout == EROFS_LAYOUT_INLINE)
        *len = MIN(*len, tail - offset);
    *ret_at = ((uint64_t)n->where << EROFS_BLOCK_BITS) + offset;
    return 0;
}

int erofs_node_contents(const struct erofs_reader *r, const struct erofs_node *n, uint64_t offset,
                        void *to, size_t len, struct error *err)
{
    char *p = to;
    if (offset > n->size || len > n->size - offset)
        return damaged(err, "contents lie behind their end");
    while (len > 0) {
        uint64_t piece = len, at = 0;
        int result = find_piece(r, n, offset, &piece, &at, err);
        if (result < 0)
            return result;
        if (at == 0)
            memset(p, 0, (size_t)piece);
        else if ((result = read_at(r, at, p, (size_t)piece, err)) < 0)
            return result;
        p += piece;
        offset += piece;
        len -= (size_t)piece;
    }
    return 0;
}

/* --- directories --- */

static int visit_name(const char *name, size_t len, uint64_t nid, erofs_visit_name *visit,
                      void *context, struct error *err)
{
    char text[EROFS_NAME_MAX + 1];
    if (len == 0 || len > EROFS_NAME_MAX || memchr(name, '/', len) || memchr(name, '\0', len))
        return damaged(err, "a name is none");
    memcpy(text, name, len);
    text[len] = '\0';
    if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
        return 0;
    return visit(context, text, nid, err);
}

/* Entries first, names behind them; the last name of the last block ends with it, of others with
 * the zeros that fill the block. */
static int list_block(const char *block, size_t len, erofs_visit_name *visit, void *context,
                      struct error *err)
{
    struct erofs_disk_dirent d, next;
    if (len < sizeof(d))
        return damaged(err, "a directory is cut off");
    memcpy(&d, block, sizeof(d));
    size_t n = d.name_offset / sizeof(d);
    if (n == 0 || d.name_offset % sizeof(d) || d.name_offset > len)
        return damaged(err, "a directory has no entries");
    for (size_t i = 0; i < n; i++, d = next) {
        size_t end = len;
        if (i + 1 < n) {
            memcpy(&next, block + (i + 1) * sizeof(d), sizeof(next));
            end = next.name_offset;
        }
        if (d.name_offset < n * sizeof(d) || end > len || end <= d.name_offset)
            return damaged(err, "a directory's names are not in order");
        size_t name_len = end - d.name_offset;
        if (i + 1 == n)
            name_len = strnlen(block + d.name_offset, name_len);
        int r = visit_name(block + d.name_offset, name_len, d.nid, visit, context, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int erofs_node_list(const struct erofs_reader *r, const struct erofs_node *dir,
                    erofs_visit_name *visit, void *context, struct error *err)
{
    char block[EROFS_BLOCK_SIZE];
    if (!S_ISDIR(dir->attributes.mode) || dir->layout == EROFS_LAYOUT_CHUNKS ||
        dir->size > EROFS_LIST_MAX)
        return damaged(err, "a directory is none");
    for (uint64_t at = 0; at < dir->size; at += EROFS_BLOCK_SIZE) {
        size_t len = (size_t)MIN(dir->size - at, (uint64_t)EROFS_BLOCK_SIZE);
        int result = erofs_node_contents(r, dir, at, block, len, err);
        if (result == 0)
            result = list_block(block, len, visit, context, err);
        if (result < 0)
            return result;
    }
    return 0;
}

/* --- attributes --- */

static int visit_entry(const char *entry, const struct erofs_disk_xattr *e,
                       erofs_visit_xattr *visit, void *context, struct error *err)
{
    char name[EROFS_NAME_MAX + 32];
    const char *prefix = erofs_xattr_prefix(e->name_index);
    if (!prefix)
        return 0;
    if (memchr(entry + sizeof(*e), '\0', e->name_len))
        return damaged(err, "an attribute's name is none");
    snprintf(name, sizeof(name), "%s%.*s", prefix, e->name_len, entry + sizeof(*e));
    return visit(context, name, entry + sizeof(*e) + e->name_len, e->value_len, err);
}

int erofs_node_xattrs(const struct erofs_reader *r, const struct erofs_node *n,
                      erofs_visit_xattr *visit, void *context, struct error *err)
{
    struct erofs_disk_xattr e;
    size_t at = sizeof(struct erofs_disk_xattr_header);
    if (n->xattr_bytes <= at)
        return 0;
    _cleanup_free_ char *body = xcalloc(1, n->xattr_bytes);
    int result = read_at(r, n->behind - n->xattr_bytes, body, n->xattr_bytes, err);
    while (result == 0 && at + sizeof(e) <= n->xattr_bytes) {
        memcpy(&e, body + at, sizeof(e));
        size_t bytes = erofs_xattr_bytes(&e);
        if (bytes > n->xattr_bytes - at)
            return damaged(err, "an attribute is cut off");
        result = visit_entry(body + at, &e, visit, context, err);
        at += bytes;
    }
    return result;
}
