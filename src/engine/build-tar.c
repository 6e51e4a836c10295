/*
 * The layer of COPY, ADD and WORKDIR, written as a tar straight from where the files are: no
 * container, no copy. It is a layer over the stage's root, so it repeats the directories on the way
 * with the attributes that they have there: in an overlay the topmost layer's count.
 */
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "engine/build-entries.h"
#include "engine/pipeline.h"
#include "kernel/tree.h"
#include "kernel/tree_links.h"
#include "wire/tar/tar.h"

#define FLUSH_BYTES ((size_t)262144)
#define CAPABILITY  "security.capability"

struct layer_writer {
    struct build_layer *layer;
    int fd;
    struct buf out;
    struct tree_links links;
    char *fresh; /* a directory that the image does not have: nothing below is looked for in it */
    /* of the reading half */
    const struct build_key *key;
    struct image_layer result;
};

void build_layer_done(struct build_layer *l)
{
    for (size_t i = 0; i < l->n_items; i++) {
        close_fd(l->items[i].root);
        build_entries_done(&l->items[i].entries);
    }
    free(l->items);
    free(l->destination);
}

static int flush(struct layer_writer *w, size_t unless_below, struct error *err)
{
    if (w->out.len < unless_below || w->out.len == 0)
        return 0;
    int r = fd_write_all(w->fd, w->out.data, w->out.len);
    buf_reset(&w->out);
    return r < 0 ? error_errno(err, r, "write the layer") : 0;
}

static int put_header(struct layer_writer *w, struct tar_entry *e, const struct stat *st,
                      struct error *err)
{
    int64_t ns = st->st_mtim.tv_sec * (int64_t)1000000000 + st->st_mtim.tv_nsec;
    int r = tree_check_layer_name(e->path, err);
    if (r < 0)
        return r;
    ns = MIN(ns, w->layer->stage->build->newest_ns);
    e->mtime = ns / 1000000000 - (ns % 1000000000 < 0);
    e->mtime_ns = (uint32_t)(ns - e->mtime * 1000000000);
    e->mode = st->st_mode & 07777;
    e->uid = st->st_uid;
    e->gid = st->st_gid;
    if (!e->link)
        e->link = "";
    r = tar_write_header(&w->out, e);
    return r < 0 ? error_errno(err, r, "%.200s", e->path) : flush(w, FLUSH_BYTES, err);
}

/* --- directories that are there --- */

/* 1: the image has something at path, described in *st. */
static int look(struct layer_writer *w, const char *path, struct stat *st, struct error *err)
{
    if (w->fresh && strncmp(path, w->fresh, strlen(w->fresh)) == 0 && path[strlen(w->fresh)] == '/')
        return 0;
    _cleanup_close_ int fd =
        path_open_in_root(w->layer->stage->root.fd, path, O_PATH | O_NOFOLLOW, 0);
    if (fd == -ENOENT || fd == -ENOTDIR)
        return 0;
    if (fd < 0 || fstat(fd, st) < 0)
        return error_errno(err, fd < 0 ? fd : errno, "look at %.200s in the image", path);
    return 1;
}

/* path is absolute. A directory that is there keeps its attributes; a new one gets st's. */
static int put_directory(struct layer_writer *w, const char *path, const struct stat *fallback,
                         struct error *err)
{
    struct stat st = *fallback, old;
    _cleanup_free_ char *name = xasprintf("%s/", path + 1);
    struct tar_entry e = {.type = TAR_DIRECTORY, .path = name};
    int r = look(w, path, &old, err);
    if (r < 0)
        return r;
    if (r > 0 && !S_ISDIR(old.st_mode))
        return error_set(err, ERROR_CONFLICT, ENOTDIR,
                         "%.200s is no directory in the image, and cannot become one", path);
    if (r > 0)
        st = old;
    else if (!w->fresh || strncmp(path, w->fresh, strlen(w->fresh)) != 0)
        xreplace(&w->fresh, path);
    return put_header(w, &e, &st, err);
}

/* New ones belong to whom --chown says, as what is in them. */
static struct stat new_directory(const struct layer_writer *w)
{
    const struct build_layer *l = w->layer;
    return (struct stat){.st_mode = S_IFDIR | 0755,
                         .st_uid = l->has_owner ? l->uid : 0,
                         .st_gid = l->has_owner ? l->gid : 0,
                         .st_mtim.tv_sec = l->stage->build->created_ns / 1000000000};
}

/* The directories down to path, itself included when whole. */
static int put_way(struct layer_writer *w, const char *path, bool whole, struct error *err)
{
    struct stat st = new_directory(w);
    int r = 0;
    for (const char *end = path; r == 0 && *end;) {
        end += 1 + strcspn(end + 1, "/");
        if (!*end && !whole)
            break;
        _cleanup_free_ char *prefix = xstrndup(path, (size_t)(end - path));
        r = put_directory(w, prefix, &st, err);
    }
    return r;
}

/* --- entries --- */

static int changed(const struct build_entry *e, struct error *err)
{
    return error_set(err, ERROR_CONFLICT, ESTALE, "%.200s changed while it was copied", e->source);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mode == b->st_mode && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static int put_contents(struct layer_writer *w, const struct build_entry *e, int fd,
                        struct error *err)
{
    static const char zeros[TAR_BLOCK_SIZE];
    for (uint64_t left = (uint64_t)e->st.st_size; left > 0;) {
        char *space;
        size_t want = (size_t)MIN(left, FLUSH_BYTES);
        int r = buf_reserve(&w->out, want, &space);
        if (r < 0)
            return error_errno(err, r, "collect the layer");
        ssize_t n = fd_read_full(fd, space, want);
        if (n < 0)
            return error_errno(err, (int)-n, "read %.200s", e->source);
        if ((size_t)n < want)
            return changed(e, err);
        w->out.len += want;
        left -= want;
        if ((r = flush(w, FLUSH_BYTES, err)) < 0)
            return r;
    }
    int r = buf_add(&w->out, zeros, tar_padding((uint64_t)e->st.st_size));
    return r < 0 ? error_errno(err, r, "collect the layer") : 0;
}

static int put_text(struct layer_writer *w, const struct build_entry *e, struct error *err)
{
    static const char zeros[TAR_BLOCK_SIZE];
    int r = buf_add(&w->out, e->text, (size_t)e->st.st_size);
    if (r == 0)
        r = buf_add(&w->out, zeros, tar_padding((uint64_t)e->st.st_size));
    return r < 0 ? error_errno(err, r, "collect the layer") : flush(w, FLUSH_BYTES, err);
}

static int put_file(struct layer_writer *w, const struct build_item *item,
                    const struct build_entry *e, struct tar_entry *t, const struct stat *st,
                    struct error *err)
{
    unsigned char capability[256];
    struct tar_xattr xattr = {CAPABILITY, capability, 0};
    struct stat now;
    t->type = TAR_FILE;
    t->size = (uint64_t)e->st.st_size;
    if (e->text) {
        int r = put_header(w, t, st, err);
        return r < 0 ? r : put_text(w, e, err);
    }
    _cleanup_close_ int fd =
        path_open_in_root(item->root, e->source, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0 || fstat(fd, &now) < 0)
        return error_errno(err, fd < 0 ? fd : errno, "open %.200s", e->source);
    if (!S_ISREG(now.st_mode) || !same_file(&now, &e->st))
        return changed(e, err);
    ssize_t n = item->foreign ? fgetxattr(fd, CAPABILITY, capability, sizeof(capability)) : -1;
    if (n > 0 && !w->layer->has_owner) { /* the kernel drops it at a change of owner, too */
        xattr.len = (size_t)n;
        t->xattrs = &xattr;
        t->n_xattrs = 1;
    }
    int r = put_header(w, t, st, err);
    return r < 0 ? r : put_contents(w, e, fd, err);
}

static int refuse_directory(struct layer_writer *w, const char *path, struct error *err)
{
    struct stat old;
    int r = look(w, path, &old, err);
    if (r > 0 && S_ISDIR(old.st_mode))
        return error_set(err, ERROR_CONFLICT, EISDIR,
                         "%.200s is a directory in the image, and cannot become a file", path);
    return r < 0 ? r : 0;
}

static int put_other(struct layer_writer *w, const struct build_item *item,
                     const struct build_entry *e, const char *path, const struct stat *st,
                     struct error *err)
{
    struct tar_entry t = {.path = path + 1};
    int r = refuse_directory(w, path, err);
    if (r < 0)
        return r;
    const char *first = item->foreign ? tree_links_known(&w->links, &e->st, path + 1) : NULL;
    if (first) {
        t.type = TAR_HARDLINK;
        t.link = first;
        return put_header(w, &t, st, err);
    }
    switch (e->st.st_mode & S_IFMT) {
    case S_IFREG:
        return put_file(w, item, e, &t, st, err);
    case S_IFLNK:
        t.type = TAR_SYMLINK;
        t.link = e->link;
        break;
    case S_IFIFO:
        t.type = TAR_FIFO;
        break;
    default:
        t.type = S_ISBLK(e->st.st_mode) ? TAR_BLOCK : TAR_CHAR;
        t.major = major(e->st.st_rdev);
        t.minor = minor(e->st.st_rdev);
    }
    return put_header(w, &t, st, err);
}

static int put_entry(struct layer_writer *w, const struct build_item *item,
                     const struct build_entry *e, struct error *err)
{
    const struct build_layer *l = w->layer;
    _cleanup_free_ char *path =
        xasprintf("%s%s%s", l->destination, *e->target ? "/" : "", e->target);
    struct stat st = e->st;
    if (l->has_owner || !item->foreign) {
        st.st_uid = l->has_owner ? l->uid : 0;
        st.st_gid = l->has_owner ? l->gid : 0;
    }
    if (l->has_mode && !S_ISLNK(st.st_mode))
        st.st_mode = (st.st_mode & S_IFMT) | l->mode;
    return S_ISDIR(st.st_mode) ? put_directory(w, path, &st, err)
                               : put_other(w, item, e, path, &st, err);
}

/* Whether the one entry is to become the destination itself. */
static bool is_renamed(const struct build_layer *l)
{
    return l->n_items == 1 && l->items[0].entries.n == 1 && !*l->items[0].entries.list[0].target;
}

static int write_layer(void *context, int fd, struct error *err)
{
    struct layer_writer *w = context;
    const struct build_layer *l = w->layer;
    w->fd = fd;
    int r = put_way(w, l->destination, !is_renamed(l), err);
    for (size_t i = 0; r == 0 && i < l->n_items; i++)
        for (size_t k = 0; r == 0 && k < l->items[i].entries.n; k++)
            r = put_entry(w, &l->items[i], &l->items[i].entries.list[k], err);
    if (r < 0)
        return r;
    r = tar_write_end(&w->out);
    return r < 0 ? error_errno(err, r, "end the layer") : flush(w, 0, err);
}

static int read_layer(void *context, int fd, struct error *err)
{
    struct layer_writer *w = context;
    struct build *b = w->layer->stage->build;
    return image_build_layer(&b->image, fd, w->key->text, b->created_ns, &w->result, err);
}

int build_layer_make(struct build_layer *l, const struct build_key *key, const char *created_by,
                     struct error *err)
{
    struct layer_writer w = {
        .layer = l,
        .key = key,
        .out = BUF_INIT(4 * FLUSH_BYTES + 2 * TAR_MAX_META + CONTAINERFILE_MAX_BYTES)};
    int r = pipeline_run(write_layer, read_layer, &w, err);
    buf_done(&w.out);
    tree_links_done(&w.links);
    free(w.fresh);
    if (r < 0)
        return r;
    build_stage_add(l->stage, &w.result, created_by, l->stage->build->created_ns);
    return 0;
}

/* --- where the destination is --- */

int build_resolve(struct build_stage *s, const char *path, char **ret, struct error *err)
{
    _cleanup_free_ char *exists = path_normalize(path), *missing = xstrdup("");
    size_t top = strlen(s->root.path);
    char real[4097];
    int fd;
    while ((fd = path_open_in_root(s->root.fd, exists, O_PATH, 0)) == -ENOENT || fd == -ENOTDIR) {
        _cleanup_close_ int link = path_open_in_root(s->root.fd, exists, O_PATH | O_NOFOLLOW, 0);
        if (link >= 0)
            return error_set(err, ERROR_CONFLICT, ENOENT,
                             "%.200s is a symbolic link to nowhere in the image", exists);
        char *slash = strrchr(exists, '/');
        char *longer = xasprintf("%s%s", slash, missing);
        free(missing);
        missing = longer;
        *slash = '\0';
        if (slash == exists)
            xreplace(&exists, "/");
    }
    _cleanup_close_ int found = fd;
    struct stat st;
    if (found < 0 || fstat(found, &st) < 0)
        return error_errno(err, found < 0 ? found : errno, "look at %.200s in the image", path);
    if (*missing && !S_ISDIR(st.st_mode))
        return error_set(err, ERROR_CONFLICT, ENOTDIR, "%.200s is no directory in the image",
                         exists);
    struct fd_path proc = fd_path(found);
    ssize_t n = readlink(proc.text, real, sizeof(real) - 1);
    if (n < (ssize_t)top || n >= (ssize_t)sizeof(real) - 1)
        return error_errno(err, n < 0 ? errno : ENAMETOOLONG, "resolve %.200s", path);
    real[n] = '\0';
    *ret = xasprintf("%s%s", real + top, missing);
    return 0;
}
