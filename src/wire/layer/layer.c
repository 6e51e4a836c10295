#include "wire/layer/layer.h"

#include <string.h>
#include <sys/stat.h>

#include "wire/layer/layer-internal.h"

#define WHITEOUT        ".wh."
#define WHITEOUT_META   ".wh..wh." /* aufs' own bookkeeping, apart from: */
#define WHITEOUT_OPAQUE ".wh..wh..opq"

struct conversion {
    struct layer_tar tar;
    struct erofs_writer *w;
    uint64_t entries;
    struct split_recorder *split; /* NULL: nobody wants one */
    struct erofs_inode **tails;   /* whose ends it names by number */
    size_t n_tails;
};

int layer_set_opaque(struct erofs_writer *w, struct erofs_inode *dir, struct error *err)
{
    return erofs_xattr_set(w, dir, "trusted.overlay.opaque", "y", 1, err);
}

/* What of an entry's attributes a workload may bring: its own, file capabilities, access lists.
 * Never trusted.* (overlayfs' commands) and never another security module's label. */
static bool xattr_allowed(const char *name)
{
    if (strncmp(name, "user.", 5) == 0)
        return strncmp(name, "user.overlay.", 13) != 0;
    return strcmp(name, "security.capability") == 0 ||
           strcmp(name, "system.posix_acl_access") == 0 ||
           strcmp(name, "system.posix_acl_default") == 0;
}

static int copy_xattrs(struct erofs_writer *w, struct archive_entry *e, struct erofs_inode *i,
                       struct error *err)
{
    const char *name;
    const void *value;
    size_t len;
    archive_entry_xattr_reset(e);
    while (archive_entry_xattr_next(e, &name, &value, &len) == ARCHIVE_OK) {
        if (!name || !xattr_allowed(name))
            continue;
        int r = erofs_xattr_set(w, i, name, value, len, err);
        if (r < 0 && r != -EOPNOTSUPP)
            return r;
    }
    return 0;
}

static int get_attributes(struct archive_entry *e, const char *path, struct erofs_attributes *a,
                          struct error *err)
{
    la_int64_t uid = archive_entry_uid(e), gid = archive_entry_gid(e);
    long ns = archive_entry_mtime_nsec(e);
    if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
        return error_set(err, ERROR_CORRUPT, EOVERFLOW, "\"%.200s\": owner out of range", path);
    *a = (struct erofs_attributes){
        .mode = (uint32_t)archive_entry_filetype(e) | (uint32_t)(archive_entry_perm(e) & 07777),
        .uid = (uint32_t)uid,
        .gid = (uint32_t)gid,
        .mtime = archive_entry_mtime(e),
        .mtime_ns = ns >= 0 && ns < 1000000000 ? (uint32_t)ns : 0,
    };
    if (S_ISLNK(a->mode))
        a->mode |= 0777; /* as every file system of Linux shows it */
    if (S_ISCHR(a->mode) || S_ISBLK(a->mode)) {
        a->major = (uint32_t)archive_entry_rdevmajor(e);
        a->minor = (uint32_t)archive_entry_rdevminor(e);
    }
    return 0;
}

static int add_whiteout(struct conversion *c, const struct layer_place *p, struct error *err)
{
    static const struct erofs_attributes whiteout = {.mode = S_IFCHR};
    const char *name = p->name + strlen(WHITEOUT);
    size_t len = p->len - strlen(WHITEOUT);
    struct erofs_inode *i;
    if (strcmp(p->name, WHITEOUT_OPAQUE) == 0)
        return layer_set_opaque(c->w, p->dir, err);
    if (strncmp(p->name, WHITEOUT_META, strlen(WHITEOUT_META)) == 0)
        return 0;
    if (len == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "\"%.200s\" hides no name", p->text);
    i = erofs_lookup(c->w, p->dir, name, len);
    /* A whiteout speaks of the layers below: what this layer brings itself stays. */
    if (i && erofs_is_directory(i))
        return layer_set_opaque(c->w, i, err);
    return i ? 0 : erofs_add(c->w, p->dir, name, len, &whiteout, &i, err);
}

static int add_hard_link(struct conversion *c, const struct layer_place *p, const char *target,
                         struct error *err)
{
    struct layer_place to;
    int r = layer_find_place(c->w, target, false, &to, err);
    if (r < 0)
        return error_prefix(err, "hard link \"%.80s\"", p->text);
    struct erofs_inode *i = to.len > 0 ? erofs_lookup(c->w, to.dir, to.name, to.len) : to.dir;
    if (!i || erofs_is_whiteout(i))
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "hard link \"%.80s\": \"%.200s\" is not in the archive", p->text, target);
    if (erofs_is_directory(i))
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "hard link \"%.80s\": \"%.200s\" is a directory", p->text, target);
    if (erofs_lookup(c->w, p->dir, p->name, p->len) == i)
        return 0;
    erofs_remove(c->w, p->dir, p->name, p->len);
    return erofs_link(c->w, p->dir, p->name, p->len, i, err);
}

#define BLOCK_SIZE 4096u /* EROFS's; a file's incomplete last block finds its place at the end */

/* Tells the split where the piece stands that was just written. */
static int record_piece(struct conversion *c, const char *data, size_t len, uint64_t offset,
                        uint64_t tail, struct error *err)
{
    uint64_t at = layer_tar_position(&c->tar), position;
    int r = 0;
    while (r == 0 && len > 0) {
        size_t n = len;
        if (offset >= tail) {
            r = split_tail(c->split, at, data, n, c->n_tails, offset - tail, err);
        } else {
            n = erofs_file_where(c->w, offset, (size_t)MIN(len, tail - offset), &position);
            r = split_copy(c->split, at, data, n, position, err);
        }
        at += n;
        data += n;
        offset += n;
        len -= n;
    }
    return r;
}

static int record_tail(struct conversion *c, struct erofs_inode *i, struct error *err)
{
    if ((c->n_tails & (c->n_tails - 1)) == 0) { /* full at each power of two */
        size_t n = MAX(c->n_tails * 2, (size_t)1);
        void *p = reallocarray(c->tails, n, sizeof(struct erofs_inode *));
        if (!p)
            return error_errno(err, ENOMEM, "record a layer");
        c->tails = p;
    }
    c->tails[c->n_tails++] = i;
    return 0;
}

static int copy_contents(struct conversion *c, struct archive_entry *e, struct erofs_inode *i,
                         struct error *err)
{
    const void *data;
    size_t len;
    uint64_t offset;
    la_int64_t size = archive_entry_size(e);
    if (size < 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "size out of range");
    bool sparse = archive_entry_sparse_count(e) > 0;
    uint64_t tail = sparse ? UINT64_MAX : (uint64_t)size & ~(uint64_t)(BLOCK_SIZE - 1);
    int r = erofs_file_begin(c->w, i, (uint64_t)size, sparse, err);
    while (r == 0 && (r = layer_tar_data(&c->tar, &data, &len, &offset, err)) > 0) {
        r = len > 0 ? erofs_file_write(c->w, data, len, offset, err) : 0;
        if (r == 0 && c->split && len > 0)
            r = record_piece(c, data, len, offset, tail, err);
    }
    if (r == 0 && c->split && tail < (uint64_t)size)
        r = record_tail(c, i, err);
    return r < 0 ? r : erofs_file_end(c->w, err);
}

/* Last one wins: a directory is kept when the new entry is one, anything else is replaced. */
static int place_inode(struct conversion *c, const struct layer_place *p,
                       const struct erofs_attributes *a, struct erofs_inode **ret,
                       struct error *err)
{
    struct erofs_inode *old =
        p->len > 0 ? erofs_lookup(c->w, p->dir, p->name, p->len) : erofs_root(c->w);
    if (old && erofs_is_directory(old) && S_ISDIR(a->mode)) {
        erofs_set_attributes(old, a);
        *ret = old;
        return 0;
    }
    if (p->len == 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the root of the archive is no directory");
    bool opaque = old && erofs_is_whiteout(old) && S_ISDIR(a->mode);
    erofs_remove(c->w, p->dir, p->name, p->len);
    int r = erofs_add(c->w, p->dir, p->name, p->len, a, ret, err);
    return r == 0 && opaque ? layer_set_opaque(c->w, *ret, err) : r;
}

static int add_entry(struct conversion *c, struct archive_entry *e, const char *path,
                     struct error *err)
{
    struct layer_place p;
    struct erofs_attributes a;
    struct erofs_inode *i;
    const char *link = archive_entry_hardlink(e);
    int r = layer_find_place(c->w, path, true, &p, err);
    if (r < 0)
        return r;
    if (p.len > 0 && strncmp(p.name, WHITEOUT, strlen(WHITEOUT)) == 0)
        return add_whiteout(c, &p, err);
    if (link)
        return add_hard_link(c, &p, link, err);
    if ((r = get_attributes(e, path, &a, err)) < 0)
        return r;
    switch (a.mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
        break;
    default:
        return error_set(err, ERROR_CORRUPT, EBADMSG, "\"%.200s\": unknown kind of file", path);
    }
    if ((r = place_inode(c, &p, &a, &i, err)) < 0 || (r = copy_xattrs(c->w, e, i, err)) < 0)
        return r;
    if (S_ISREG(a.mode))
        r = copy_contents(c, e, i, err);
    else if (S_ISLNK(a.mode)) {
        const char *target = archive_entry_symlink(e);
        r = erofs_set_target(c->w, i, target ? target : "", err);
    }
    return r < 0 ? error_prefix(err, "\"%.200s\"", path) : 0;
}

static int convert_entries(struct conversion *c, struct error *err)
{
    struct archive_entry *e;
    int r;
    while ((r = layer_tar_next(&c->tar, &e, err)) > 0) {
        const char *path = archive_entry_pathname(e);
        if (!path || !*path)
            return error_set(err, ERROR_CORRUPT, EBADMSG, "an entry without a name");
        if (++c->entries > LAYER_MAX_ENTRIES)
            return error_set(err, ERROR_LIMIT, EFBIG, "more than %u entries", LAYER_MAX_ENTRIES);
        if ((r = add_entry(c, e, path, err)) < 0)
            return r;
    }
    return r;
}

static int finish_split(struct conversion *c, int erofs_fd, const struct erofs_result *result,
                        struct error *err)
{
    int r = split_end_recipe(c->split, err);
    for (size_t n = 0; r == 0 && n < c->n_tails; n++) {
        struct erofs_tail t = erofs_tail(c->w, c->tails[n]);
        r = t.lost ? split_add_lost_tail(c->split, t.lost, t.len, err)
                   : split_add_tail(c->split, t.position, err);
    }
    return r < 0 ? r : split_finish(c->split, erofs_fd, result->bytes, result->metadata, err);
}

static int convert(struct conversion *c, const struct layer_source *source,
                   const struct layer_target *to, struct layer_result *ret, struct error *err)
{
    struct erofs_limits limits = {
        .file_bytes = source->max_bytes + ((uint64_t)8 << 30), /* metadata, padding */
        .memory_bytes = LAYER_MEMORY_BYTES,
    };
    struct erofs_result result;
    int r;
    if ((to->split_fd >= 0 && (r = split_recorder_new(to->split_fd, &c->split, err)) < 0) ||
        (r = layer_tar_open(&c->tar, source, c->split, err)) < 0 ||
        (r = erofs_writer_new(to->erofs_fd, &limits, &c->w, err)) < 0 ||
        (r = convert_entries(c, err)) < 0 ||
        (r = layer_tar_finish(&c->tar, &ret->digests, err)) < 0)
        return r;
    if (to->need_end && !ret->digests.compressed && !ret->digests.ends_in_zeros)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the archive is truncated");
    if ((r = erofs_finish(c->w, &result, err)) < 0 ||
        (c->split && (r = finish_split(c, to->erofs_fd, &result, err)) < 0))
        return r;
    ret->erofs_bytes = result.bytes;
    ret->inodes = result.inodes;
    ret->entries = c->entries;
    return 0;
}

int layer_convert(const struct layer_source *source, const struct layer_target *to,
                  struct layer_result *ret, struct error *err)
{
    struct conversion c = {0};
    int r = convert(&c, source, to, ret, err);
    layer_tar_close(&c.tar);
    erofs_writer_free(c.w);
    split_recorder_free(c.split);
    free(c.tails);
    return r;
}

static int write_out(void *context, const void *data, size_t len, struct error *err)
{
    return layer_sink_write(context, data, len, err);
}

int layer_tar(const struct layer_back *how, struct layer_sink_result *ret, struct error *err)
{
    _cleanup_sink_ struct layer_sink *sink = NULL;
    struct split_head head;
    int r = layer_sink_open(how->out_fd, how->compression, &sink, err);
    if (r < 0)
        return r;
    struct split_source source = {
        .split_fd = how->split_fd,
        .erofs_fd = how->erofs_fd,
        .most_bytes = how->max_bytes,
        .write = write_out,
        .context = sink,
    };
    if ((r = split_play(&source, &head, err)) < 0)
        return r;
    if (how->verify && (r = split_verify(&head, how->split_fd, how->erofs_fd, err)) < 0)
        return r;
    return layer_sink_finish(sink, ret, err);
}
