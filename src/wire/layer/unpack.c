/*
 * The walk is by recursion, with a directory's names read before the first is gone into, so that a
 * file is read once and forward as far as its maker has put it so. A file of several names is sent
 * under the first; the others are hard links to that. The EROFS file is as hostile as the archive
 * that it was made of: depth, entries and bytes have bounds, so that a directory inside itself
 * comes to an end.
 */
#include "wire/layer/unpack.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "wire/erofs/reader.h"
#include "wire/layer/layer.h"
#include "wire/tar/tar.h"

#define OUT_BYTES   ((size_t)1 << 20)
#define PIECE_BYTES ((size_t)65536)
#define LINKS_MAX   1000000u /* files of several names */

/* A file of several names that has been sent. */
struct linked {
    uint64_t nid;
    char *path; /* NULL: the place is free */
};

struct unpack {
    struct erofs_reader reader;
    int out_fd;
    struct buf out, path;
    struct linked *links; /* a hash table of 2^n places */
    size_t n_links, n_places;
    uint64_t max_bytes;
    unsigned int depth;
    struct layer_unpacked done;
};

static void unpack_done(struct unpack *u)
{
    for (size_t i = 0; i < u->n_places; i++)
        free(u->links[i].path);
    free(u->links);
    buf_done(&u->out);
    buf_done(&u->path);
}

static int flush(struct unpack *u, struct error *err)
{
    int r = fd_write_all(u->out_fd, u->out.data, u->out.len);
    buf_reset(&u->out);
    return r < 0 ? error_errno(err, r, "write the layer's files") : 0;
}

/* Room for that much more. */
static int need(struct unpack *u, size_t len, struct error *err)
{
    return u->out.len + len > OUT_BYTES ? flush(u, err) : 0;
}

/* --- hard links --- */

static struct linked *find_place(const struct unpack *u, uint64_t nid)
{
    size_t at = (size_t)(nid * 0x9e3779b97f4a7c15u >> 20) & (u->n_places - 1);
    while (u->links[at].path && u->links[at].nid != nid)
        at = (at + 1) & (u->n_places - 1);
    return &u->links[at];
}

static void grow_links(struct unpack *u)
{
    struct linked *old = u->links;
    size_t n = u->n_places;
    u->n_places = n ? n * 2 : 256;
    u->links = xcalloc(u->n_places, sizeof(*u->links));
    for (size_t i = 0; i < n; i++)
        if (old[i].path)
            *find_place(u, old[i].nid) = old[i];
    free(old);
}

/* The path it was sent under, or NULL: then it is this one's. */
static int first_path(struct unpack *u, uint64_t nid, const char **ret, struct error *err)
{
    if (2 * u->n_links >= u->n_places)
        grow_links(u);
    struct linked *l = find_place(u, nid);
    *ret = l->path;
    if (l->path)
        return 0;
    if (u->n_links++ >= LINKS_MAX)
        return error_set(err, ERROR_LIMIT, EFBIG, "more than %u files with several names",
                         LINKS_MAX);
    *l = (struct linked){nid, xstrdup(u->path.data)};
    return 0;
}

/* --- one entry --- */

struct collected {
    struct tar_xattr list[TAR_MAX_XATTRS];
    size_t n;
    struct buf text; /* names and values; does not move: it has all the room it may take */
};

static int collect_xattr(void *context, const char *name, const void *value, size_t len,
                         struct error *err)
{
    struct collected *c = context;
    char *room;
    size_t name_len = strlen(name) + 1;
    if (c->n == TAR_MAX_XATTRS || c->text.len + name_len + len > TAR_MAX_META)
        return error_set(err, ERROR_LIMIT, E2BIG, "a file has too many attributes");
    room = c->text.data + c->text.len;
    memcpy(room, name, name_len);
    memcpy(room + name_len, value, len);
    c->text.len += name_len + len;
    c->list[c->n++] = (struct tar_xattr){room, room + name_len, len};
    return 0;
}

static int put_header(struct unpack *u, const struct erofs_node *n, struct tar_entry *e,
                      struct error *err)
{
    struct collected c = {.text = BUF_INIT(TAR_MAX_META)};
    char *room;
    int r = 0;
    if (n->xattr_bytes && (r = buf_reserve(&c.text, TAR_MAX_META, &room)) == 0)
        r = erofs_node_xattrs(&u->reader, n, collect_xattr, &c, err);
    e->xattrs = c.list;
    e->n_xattrs = c.n;
    if (r == 0 && (r = need(u, 2 * TAR_MAX_META, err)) == 0 &&
        (r = tar_write_header(&u->out, e)) < 0)
        r = error_errno(err, r, "write the entry %.200s", e->path);
    buf_done(&c.text);
    return r;
}

static int put_contents(struct unpack *u, const struct erofs_node *n, struct error *err)
{
    static const char zeros[TAR_BLOCK_SIZE];
    char *room;
    int r = 0;
    if (n->size > u->max_bytes - u->done.bytes)
        return error_set(err, ERROR_LIMIT, EFBIG, "the layer unpacks to more than %llu MiB",
                         (unsigned long long)(u->max_bytes >> 20));
    u->done.bytes += n->size;
    for (uint64_t at = 0; r == 0 && at < n->size;) {
        size_t len = (size_t)MIN(n->size - at, (uint64_t)PIECE_BYTES);
        if ((r = need(u, len, err)) < 0)
            return r;
        if ((r = buf_reserve(&u->out, len, &room)) < 0)
            return error_errno(err, r, "write the layer's files");
        r = erofs_node_contents(&u->reader, n, at, room, len, err);
        u->out.len += len;
        at += len;
    }
    if (r == 0 && (r = need(u, TAR_BLOCK_SIZE, err)) == 0 &&
        buf_add(&u->out, zeros, tar_padding(n->size)) < 0)
        r = error_errno(err, ENOMEM, "write the layer's files");
    return r;
}

/* Type and target; is_link: another name of what was sent. */
static int describe(struct unpack *u, const struct erofs_node *n, struct tar_entry *e,
                    char target[static EROFS_TARGET_MAX + 1], struct error *err)
{
    switch (n->attributes.mode & S_IFMT) {
    case S_IFREG:
        e->type = TAR_FILE;
        e->size = n->size;
        break;
    case S_IFDIR:
        e->type = TAR_DIRECTORY;
        break;
    case S_IFCHR:
        e->type = TAR_CHAR;
        break;
    case S_IFBLK:
        e->type = TAR_BLOCK;
        break;
    case S_IFIFO:
        e->type = TAR_FIFO;
        break;
    case S_IFLNK:
        if (n->size == 0 || n->size > EROFS_TARGET_MAX)
            return error_set(err, ERROR_CORRUPT, EBADMSG, "a symbolic link leads nowhere");
        int r = erofs_node_contents(&u->reader, n, 0, target, (size_t)n->size, err);
        target[n->size] = '\0';
        e->type = TAR_SYMLINK;
        e->link = target;
        return r;
    default:
        return error_set(err, ERROR_CORRUPT, EBADMSG, "a file is of an unknown kind");
    }
    return 0;
}

static int put_node(struct unpack *u, const struct erofs_node *n, struct error *err)
{
    const struct erofs_attributes *a = &n->attributes;
    char target[EROFS_TARGET_MAX + 1];
    const char *sent = NULL;
    struct tar_entry e = {
        .path = u->path.data,
        .mode = a->mode & 07777,
        .uid = a->uid,
        .gid = a->gid,
        .mtime = a->mtime,
        .mtime_ns = a->mtime_ns,
        .major = a->major,
        .minor = a->minor,
    };
    if (++u->done.entries > LAYER_MAX_ENTRIES)
        return error_set(err, ERROR_LIMIT, EFBIG, "more than %u entries", LAYER_MAX_ENTRIES);
    int r = describe(u, n, &e, target, err);
    if (r == 0 && n->links > 1 && !S_ISDIR(a->mode))
        r = first_path(u, n->nid, &sent, err);
    if (r < 0)
        return r;
    if (sent) {
        struct erofs_node plain = {.links = 1};
        struct tar_entry link = {.type = TAR_HARDLINK, .path = e.path, .link = sent};
        return put_header(u, &plain, &link, err);
    }
    if ((r = put_header(u, n, &e, err)) < 0)
        return r;
    return S_ISREG(a->mode) ? put_contents(u, n, err) : 0;
}

/* --- the walk --- */

struct listed {
    char *name;
    uint64_t nid;
};

struct listing {
    struct listed *list;
    size_t n, room;
};

static void listing_done(struct listing *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->list[i].name);
    free(l->list);
}

static int add_name(void *context, const char *name, uint64_t nid, struct error *err)
{
    struct listing *l = context;
    if (l->n == LAYER_MAX_ENTRIES)
        return error_set(err, ERROR_LIMIT, EFBIG, "more than %u entries", LAYER_MAX_ENTRIES);
    if (l->n == l->room) {
        l->room = l->room ? l->room * 2 : 64;
        l->list = xreallocarray(l->list, l->room, sizeof(*l->list));
    }
    l->list[l->n++] = (struct listed){xstrdup(name), nid};
    return 0;
}

static int walk(struct unpack *u, uint64_t nid, struct error *err);

static int walk_names(struct unpack *u, const struct listing *l, struct error *err)
{
    size_t len = u->path.len;
    int r = 0;
    for (size_t i = 0; r == 0 && i < l->n; i++) {
        if (buf_addf(&u->path, "%s", l->list[i].name) < 0)
            return error_set(err, ERROR_LIMIT, ENAMETOOLONG, "a path is longer than %u bytes",
                             LAYER_PATH_MAX);
        r = walk(u, l->list[i].nid, err);
        u->path.len = len;
        u->path.data[len] = '\0';
    }
    return r;
}

static int walk_directory(struct unpack *u, const struct erofs_node *dir, struct error *err)
{
    _cleanup_(listing_done) struct listing names = {0};
    if (++u->depth > EROFS_DEPTH_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG, "more than %u directories deep", EROFS_DEPTH_MAX);
    int r = erofs_node_list(&u->reader, dir, add_name, &names, err);
    if (r == 0)
        r = walk_names(u, &names, err);
    u->depth--;
    return r;
}

/* u->path is its name; a directory's gets a slash, and what is in it follows that. */
static int walk(struct unpack *u, uint64_t nid, struct error *err)
{
    struct erofs_node n;
    int r = erofs_node_read(&u->reader, nid, &n, err);
    if (r < 0)
        return r;
    bool is_directory = S_ISDIR(n.attributes.mode);
    if (is_directory && buf_add_str(&u->path, "/") < 0)
        return error_set(err, ERROR_LIMIT, ENAMETOOLONG, "a path is longer than %u bytes",
                         LAYER_PATH_MAX);
    if ((r = put_node(u, &n, err)) < 0)
        return r;
    return is_directory ? walk_directory(u, &n, err) : 0;
}

static int unpack(struct unpack *u, struct error *err)
{
    struct erofs_node root;
    int r = erofs_node_read(&u->reader, u->reader.root_nid, &root, err);
    if (r < 0)
        return r;
    if (!S_ISDIR(root.attributes.mode))
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the layer's root is no directory");
    if (buf_add_str(&u->path, ".") < 0 || (r = walk(u, root.nid, err)) < 0 ||
        (r = need(u, 2 * TAR_BLOCK_SIZE, err)) < 0)
        return r < 0 ? r : error_errno(err, ENOMEM, "walk the layer");
    if ((r = tar_write_end(&u->out)) < 0)
        return error_errno(err, r, "write the layer's files");
    return flush(u, err);
}

int layer_unpack(int erofs_fd, int out_fd, uint64_t max_bytes, struct layer_unpacked *ret,
                 struct error *err)
{
    off_t bytes = lseek(erofs_fd, 0, SEEK_END); /* the sandbox has no other way to ask */
    struct unpack u = {
        .out_fd = out_fd,
        .max_bytes = max_bytes,
        .out = BUF_INIT(OUT_BYTES + 2 * TAR_MAX_META),
        .path = BUF_INIT(LAYER_PATH_MAX),
    };
    if (bytes < 0)
        return error_errno(err, errno, "look at the layer");
    int r = erofs_reader_open(erofs_fd, (uint64_t)bytes, &u.reader, err);
    if (r == 0)
        r = unpack(&u, err);
    if (r == 0)
        *ret = u.done;
    unpack_done(&u);
    return r;
}
