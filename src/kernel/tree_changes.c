/*
 * What an overlay's upper directory holds, or what several layers hold together, as an OCI layer.
 * The kernel marks what is gone with character devices 0:0 and what hides everything below with
 * trusted.overlay.opaque; a layer has names for both (".wh.NAME", ".wh..wh..opq"). Names are
 * sorted, so that the same changes give the same bytes.
 *
 * Whoever made the changes is taken to be hostile, but nobody changes them any more: what was a
 * file when it was listed and is none when it is opened is an error.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "kernel/tree-internal.h"

#define FLUSH_BYTES ((size_t)262144)
#define WHITEOUT    ".wh."
#define OPAQUE      ".wh..wh..opq"

struct changes {
    int out_fd;
    int64_t newest_ns;
    struct buf out, path;
    struct tree_links links;
    unsigned int depth;
};

static void changes_done(struct changes *c)
{
    tree_links_done(&c->links);
    buf_done(&c->out);
    buf_done(&c->path);
}

static int flush(struct changes *c, size_t unless_below, struct error *err)
{
    if (c->out.len < unless_below || c->out.len == 0)
        return 0;
    int r = fd_write_all(c->out_fd, c->out.data, c->out.len);
    buf_reset(&c->out);
    return r < 0 ? error_errno(err, r, "write the layer") : 0;
}

static int compare_xattrs(const void *a, const void *b)
{
    return strcmp(((const struct tar_xattr *)a)->name, ((const struct tar_xattr *)b)->name);
}

static int read_xattrs(struct changes *c, int fd, struct tree_xattrs *x, struct error *err)
{
    int r = tree_xattrs_read(fd, x);
    if (r < 0)
        return error_errno(err, r, "read the attributes of %.200s", c->path.data);
    if (x->redirect) {
        tree_xattrs_done(x);
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "%.200s: this kernel's overlay keeps only that it was renamed, which no "
                         "layer can say",
                         c->path.data);
    }
    if (x->n > 1)
        qsort(x->list, x->n, sizeof(*x->list), compare_xattrs);
    return 0;
}

/* --- entries --- */

static int put_header(struct changes *c, enum tar_type type, const struct stat *st,
                      const char *link, const struct tree_xattrs *x, struct error *err)
{
    int64_t ns = st->st_mtim.tv_sec * (int64_t)1000000000 + st->st_mtim.tv_nsec;
    ns = MIN(ns, c->newest_ns);
    int64_t seconds = ns / 1000000000 - (ns % 1000000000 < 0);
    struct tar_entry e = {
        .type = type,
        .path = c->path.data,
        .link = link,
        .mode = st->st_mode & 07777,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .size = type == TAR_FILE ? (uint64_t)st->st_size : 0,
        .mtime = seconds,
        .mtime_ns = (uint32_t)(ns - seconds * 1000000000),
        .xattrs = x ? x->list : NULL,
        .n_xattrs = x ? x->n : 0,
    };
    if (type == TAR_CHAR || type == TAR_BLOCK) {
        e.major = major(st->st_rdev);
        e.minor = minor(st->st_rdev);
    }
    int r = tar_write_header(&c->out, &e);
    return r < 0 ? error_errno(err, r, "%.200s", c->path.data) : flush(c, FLUSH_BYTES, err);
}

static int put_contents(struct changes *c, int fd, uint64_t size, struct error *err)
{
    static const char zeros[TAR_BLOCK_SIZE];
    for (uint64_t left = size; left > 0;) {
        char *space;
        size_t want = (size_t)MIN(left, FLUSH_BYTES);
        int r = buf_reserve(&c->out, want, &space);
        if (r < 0)
            return error_errno(err, r, "collect the layer");
        ssize_t n = fd_read_full(fd, space, want);
        if (n < (ssize_t)want)
            return error_errno(err, n < 0 ? (int)-n : EIO, "read %.200s", c->path.data);
        c->out.len += want;
        left -= want;
        if ((r = flush(c, FLUSH_BYTES, err)) < 0)
            return r;
    }
    int r = buf_add(&c->out, zeros, tar_padding(size));
    return r < 0 ? error_errno(err, r, "collect the layer") : 0;
}

static int send_file(struct changes *c, int dir, const char *name, struct error *err)
{
    struct stat st;
    struct tree_xattrs x = {0};
    _cleanup_close_ int fd =
        openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return error_errno(err, fd < 0 ? errno : EIO, "open %.200s", c->path.data);
    const char *first = tree_links_known(&c->links, &st, c->path.data);
    if (first)
        return put_header(c, TAR_HARDLINK, &st, first, NULL, err);
    int r = read_xattrs(c, fd, &x, err);
    if (r == 0)
        r = put_header(c, TAR_FILE, &st, "", &x, err);
    if (r == 0)
        r = put_contents(c, fd, (uint64_t)st.st_size, err);
    tree_xattrs_done(&x);
    return r;
}

static int send_symlink(struct changes *c, int dir, const char *name, const struct stat *st,
                        struct error *err)
{
    char target[4097];
    ssize_t n = readlinkat(dir, name, target, sizeof(target) - 1);
    if (n < 0)
        return error_errno(err, errno, "read %.200s", c->path.data);
    target[n] = '\0';
    return put_header(c, TAR_SYMLINK, st, target, NULL, err);
}

/* An empty file whose name speaks; c->path is the directory's with its slash. */
static int send_mark(struct changes *c, const char *prefix, const char *name, struct error *err)
{
    const struct stat st = {.st_mode = S_IFREG};
    size_t base = c->path.len;
    int r = buf_addf(&c->path, "%s%s", prefix, name);
    r = r < 0 ? error_errno(err, r, "%.200s", c->path.data)
              : put_header(c, TAR_FILE, &st, "", NULL, err);
    c->path.len = base;
    c->path.data[base] = '\0';
    return r;
}

/* The same directory in several layers, the topmost first. */
struct level {
    int *fds;
    size_t n;
    bool opaque; /* what is below all of them does not show */
};

static void level_done(struct level *l)
{
    for (size_t i = 0; i < l->n; i++)
        close_fd(l->fds[i]);
    free(l->fds);
}

static int send_level(struct changes *c, const struct level *l, struct error *err);

static bool is_whiteout(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == 0;
}

static int is_opaque(struct changes *c, int fd, bool *ret, struct error *err)
{
    struct tree_xattrs x = {0};
    int r = read_xattrs(c, fd, &x, err);
    *ret = x.opaque;
    tree_xattrs_done(&x);
    return r;
}

/* name in the layers of l from the first on, as far down as it shows. */
static int descend(struct changes *c, const struct level *l, size_t first, const char *name,
                   struct level *ret, struct error *err)
{
    int r = 0;
    ret->fds = xcalloc(l->n, sizeof(*ret->fds));
    ret->opaque = false;
    for (size_t i = first; r == 0 && i < l->n && !ret->opaque; i++) {
        struct stat st;
        if (fstatat(l->fds[i], name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            if (errno != ENOENT)
                return error_errno(err, errno, "%.200s", c->path.data);
            continue;
        }
        if (!S_ISDIR(st.st_mode)) {
            ret->opaque = true;
            break;
        }
        int fd = openat(l->fds[i], name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            return error_errno(err, errno, "open %.200s", c->path.data);
        ret->fds[ret->n++] = fd;
        r = is_opaque(c, fd, &ret->opaque, err);
    }
    return r;
}

static int send_directory(struct changes *c, const struct level *l, size_t first, const char *name,
                          struct error *err)
{
    _cleanup_(level_done) struct level below = {.n = 0};
    struct stat st;
    struct tree_xattrs x = {0};
    int r = descend(c, l, first, name, &below, err);
    if (r < 0)
        return r;
    if (++c->depth > TREE_MAX_DEPTH)
        return error_set(err, ERROR_LIMIT, E2BIG, "%.100s...: more than %d directories deep",
                         c->path.data, TREE_MAX_DEPTH);
    if (fstat(below.fds[0], &st) < 0)
        return error_errno(err, errno, "look at %.200s", c->path.data);
    if ((r = buf_add(&c->path, "/", 1)) < 0)
        return error_errno(err, r, "%.200s", c->path.data);
    if ((r = read_xattrs(c, below.fds[0], &x, err)) == 0)
        r = put_header(c, TAR_DIRECTORY, &st, "", &x, err);
    tree_xattrs_done(&x);
    if (r == 0 && below.opaque)
        r = send_mark(c, "", OPAQUE, err);
    if (r == 0)
        r = send_level(c, &below, err);
    c->depth--;
    return r;
}

static int send_entry(struct changes *c, const struct level *l, size_t first, const char *name,
                      const struct stat *st, struct error *err)
{
    switch (st->st_mode & S_IFMT) {
    case S_IFREG:
        return send_file(c, l->fds[first], name, err);
    case S_IFLNK:
        return send_symlink(c, l->fds[first], name, st, err);
    case S_IFDIR:
        return send_directory(c, l, first, name, err);
    case S_IFCHR:
        return put_header(c, TAR_CHAR, st, "", NULL, err);
    case S_IFBLK:
        return put_header(c, TAR_BLOCK, st, "", NULL, err);
    case S_IFIFO:
        return put_header(c, TAR_FIFO, st, "", NULL, err);
    default:
        return 0; /* a socket */
    }
}

/* The topmost layer that has the name decides what it is. */
static int send_child(struct changes *c, const struct level *l, const char *name, struct error *err)
{
    struct stat st;
    size_t base = c->path.len, first = 0;
    while (first < l->n && fstatat(l->fds[first], name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT)
            return error_errno(err, errno, "%.100s%.100s", c->path.data, name);
        first++;
    }
    if (first == l->n)
        return error_errno(err, ENOENT, "%.100s%.100s", c->path.data, name);
    if (is_whiteout(&st))
        return send_mark(c, WHITEOUT, name, err);
    int r = buf_add_str(&c->path, name);
    r = r < 0 ? error_errno(err, r, "%.200s", c->path.data)
              : send_entry(c, l, first, name, &st, err);
    c->path.len = base;
    c->path.data[base] = '\0';
    return r;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in all of them, sorted; one that several have is there as often. */
static int list_names(const struct level *l, char ***ret)
{
    int r = path_list_names(l->fds[0], ret);
    for (size_t i = 1; r == 0 && i < l->n; i++) {
        _cleanup_strv_ char **more = NULL;
        if ((r = path_list_names(l->fds[i], &more)) < 0)
            break;
        for (size_t k = 0; more[k]; k++)
            strv_add(ret, more[k]);
    }
    if (r == 0 && l->n > 1)
        qsort(*ret, strv_len(*ret), sizeof(**ret), compare_names);
    return r;
}

static int send_level(struct changes *c, const struct level *l, struct error *err)
{
    _cleanup_strv_ char **names = NULL;
    int r = list_names(l, &names);
    if (r < 0)
        return error_errno(err, r, "read %.200s", c->path.data);
    for (size_t i = 0; r == 0 && names[i]; i++)
        if (i == 0 || strcmp(names[i], names[i - 1]) != 0)
            r = send_child(c, l, names[i], err);
    return r;
}

int tree_send_changes(const int *dirs, size_t n, int64_t newest_ns, int out_fd, struct error *err)
{
    const struct level top = {.fds = (int *)dirs, .n = n};
    _cleanup_(changes_done) struct changes c = {
        .out_fd = out_fd,
        .newest_ns = newest_ns,
        .out = BUF_INIT(4 * FLUSH_BYTES + 2 * TAR_MAX_META),
        .path = BUF_INIT(TAR_MAX_PATH),
    };
    int r = buf_add_str(&c.path, "");
    if (r == 0)
        r = send_level(&c, &top, err);
    if (r < 0)
        return r;
    r = tar_write_end(&c.out);
    return r < 0 ? error_errno(err, r, "end the layer") : flush(&c, 0, err);
}

int tree_has_changes(int upper_fd, bool *ret, struct error *err)
{
    _cleanup_strv_ char **names = NULL;
    int r = path_list_names(upper_fd, &names);
    if (r < 0)
        return error_errno(err, r, "read the upper directory");
    *ret = names[0] != NULL;
    return 0;
}
