/*
 * One entry of a tree after another, as tar: what every walk over a tree has in common.
 *
 * A file is described by what was opened, not by what was listed. One of a live instance may change
 * while it is sent: exactly as many bytes as its header said follow, zeros where it has become
 * shorter. Where nobody changes the tree any more that is an error.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/fd.h"
#include "kernel/tree-internal.h"

#define FLUSH_BYTES   ((size_t)65536)
#define OUT_BYTES_MAX (4 * FLUSH_BYTES + TREE_MAX_PIECES * 42 + 2 * TAR_MAX_META)
#define SECOND_NS     1000000000

void tree_writer_init(struct tree_writer *w, int out_fd)
{
    *w = (struct tree_writer){
        .out_fd = out_fd,
        .out = BUF_INIT(OUT_BYTES_MAX),
        .path = BUF_INIT(TAR_MAX_PATH),
        .newest_ns = INT64_MAX,
    };
}

void tree_writer_done(struct tree_writer *w)
{
    tree_links_done(&w->links);
    buf_done(&w->out);
    buf_done(&w->path);
}

static int flush(struct tree_writer *w, size_t unless_below, struct error *err)
{
    if (w->out.len < unless_below || w->out.len == 0)
        return 0;
    int r = fd_write_all(w->out_fd, w->out.data, w->out.len);
    buf_reset(&w->out);
    return r < 0 ? error_errno(err, r, "write the stream") : 0;
}

int tree_writer_end(struct tree_writer *w, struct error *err)
{
    int r = tar_write_end(&w->out);
    return r < 0 ? error_errno(err, r, "end the stream") : flush(w, 0, err);
}

static struct timespec entry_time(const struct tree_writer *w, const struct stat *st)
{
    struct timespec newest = {w->newest_ns / SECOND_NS, w->newest_ns % SECOND_NS};
    if (newest.tv_nsec < 0) {
        newest.tv_sec--;
        newest.tv_nsec += SECOND_NS;
    }
    bool newer = st->st_mtim.tv_sec > newest.tv_sec ||
                 (st->st_mtim.tv_sec == newest.tv_sec && st->st_mtim.tv_nsec > newest.tv_nsec);
    return newer && w->newest_ns != INT64_MAX ? newest : st->st_mtim;
}

static struct tar_entry describe(const struct tree_writer *w, enum tar_type type,
                                 const struct stat *st, const char *link,
                                 const struct tree_xattrs *x)
{
    struct timespec time = entry_time(w, st);
    struct tar_entry e = {
        .type = type,
        .path = w->path.data,
        .link = link,
        .mode = st->st_mode & 07777,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .size = type == TAR_FILE && !w->empty ? (uint64_t)st->st_size : 0,
        .mtime = time.tv_sec,
        .mtime_ns = (uint32_t)time.tv_nsec,
        .xattrs = x ? x->list : NULL,
        .n_xattrs = x ? x->n : 0,
    };
    if (type == TAR_CHAR || type == TAR_BLOCK) {
        e.major = major(st->st_rdev);
        e.minor = minor(st->st_rdev);
    }
    return e;
}

static int put_entry(struct tree_writer *w, const struct tar_entry *e, struct error *err)
{
    int r = tar_write_header(&w->out, e);
    if (r < 0)
        return error_errno(err, r, "%.200s", e->path);
    return flush(w, FLUSH_BYTES, err);
}

static int put_header(struct tree_writer *w, enum tar_type type, const struct stat *st,
                      const char *link, const struct tree_xattrs *x, struct error *err)
{
    struct tar_entry e = describe(w, type, st, link, x);
    return put_entry(w, &e, err);
}

static int compare_xattrs(const void *a, const void *b)
{
    return strcmp(((const struct tar_xattr *)a)->name, ((const struct tar_xattr *)b)->name);
}

int tree_writer_xattrs(struct tree_writer *w, int fd, struct tree_xattrs *ret, struct error *err)
{
    int r = w->attributes ? tree_xattrs_read(fd, ret) : 0;
    if (r < 0)
        return error_errno(err, r, "read the attributes of %.200s", w->path.data);
    if (ret->redirect && w->layer) {
        tree_xattrs_done(ret);
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "%.200s: this kernel's overlay keeps only that it was renamed, which no "
                         "layer can say",
                         w->path.data);
    }
    if (ret->n > 1) /* whatever order the file system gives them in */
        qsort(ret->list, ret->n, sizeof(*ret->list), compare_xattrs);
    return 0;
}

int tree_check_layer_name(const char *path, struct error *err)
{
    size_t len = strlen(path);
    if (len > 0 && path[len - 1] == '/') /* a directory */
        len--;
    const char *slash = memrchr(path, '/', len), *name = slash ? slash + 1 : path;
    if (strncmp(name, TREE_WHITEOUT, strlen(TREE_WHITEOUT)) != 0)
        return 0;
    return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                     "%.200s: in a layer this name would hide another file", path);
}

int tree_check_name(const struct tree_writer *w, const char *name, struct error *err)
{
    return w->layer ? tree_check_layer_name(name, err) : 0;
}

int tree_put_mark(struct tree_writer *w, const char *path, struct error *err)
{
    const struct tar_entry e = {.type = TAR_FILE, .path = path};
    return put_entry(w, &e, err);
}

int tree_put_directory(struct tree_writer *w, int fd, const struct stat *st, struct error *err)
{
    struct tree_xattrs x = {0};
    int r = tree_writer_xattrs(w, fd, &x, err);
    if (r == 0)
        r = put_header(w, TAR_DIRECTORY, st, "", &x, err);
    w->opaque = x.opaque;
    tree_xattrs_done(&x);
    return r;
}

static int put_zeros(struct tree_writer *w, uint64_t n, struct error *err)
{
    static const char zeros[4096];
    int r = 0;
    for (; r == 0 && n > 0; n -= MIN(n, sizeof(zeros))) {
        r = buf_add(&w->out, zeros, (size_t)MIN(n, sizeof(zeros)));
        r = r < 0 ? error_errno(err, r, "collect the stream") : flush(w, FLUSH_BYTES, err);
    }
    return r;
}

/* size bytes from where fd stands; zeros for what it no longer has. */
static int put_bytes(struct tree_writer *w, int fd, uint64_t size, struct error *err)
{
    uint64_t left = size;
    while (left > 0) {
        char *space;
        size_t n = (size_t)MIN(left, FLUSH_BYTES);
        int r = buf_reserve(&w->out, n, &space);
        if (r < 0)
            return error_errno(err, r, "collect the stream");
        ssize_t got = fd_read_full(fd, space, n);
        if (got < 0)
            return error_errno(err, (int)got, "read %.200s", w->path.data);
        w->out.len += (size_t)got;
        left -= (uint64_t)got;
        r = flush(w, FLUSH_BYTES, err);
        if (r < 0)
            return r;
        if (got == 0) /* it became shorter */
            break;
    }
    if (left > 0 && w->still)
        return error_errno(err, EIO, "read %.200s", w->path.data);
    return put_zeros(w, left, err);
}

static int put_pieces(struct tree_writer *w, int fd, const struct tree_pieces *p,
                      const struct buf *map, struct error *err)
{
    int r = buf_add(&w->out, map->data, map->len);
    if (r < 0)
        return error_errno(err, r, "collect the stream");
    for (size_t i = 0; r == 0 && i < p->n; i++) {
        if (lseek(fd, (off_t)p->list[i].at, SEEK_SET) < 0)
            return error_errno(err, errno, "read %.200s", w->path.data);
        r = put_bytes(w, fd, p->list[i].len, err);
    }
    return r < 0 ? r : put_zeros(w, tar_padding(p->bytes), err);
}

static int put_sparse(struct tree_writer *w, int fd, struct tar_entry *e,
                      const struct tree_pieces *p, struct error *err)
{
    _cleanup_buf_ struct buf map = BUF_INIT(TREE_MAX_PIECES * 42);
    int r = tree_pieces_map(p, &map);
    if (r < 0)
        return error_errno(err, r, "%.200s", w->path.data);
    e->sparse = true;
    e->real_size = e->size;
    e->size = map.len + p->bytes;
    r = put_entry(w, e, err);
    return r < 0 ? r : put_pieces(w, fd, p, &map, err);
}

static int put_file(struct tree_writer *w, int fd, struct tar_entry *e, struct error *err)
{
    struct tree_pieces pieces = {0};
    int r = w->sparse ? tree_pieces_find(fd, e->size, &pieces) : 0;
    if (r < 0)
        return error_errno(err, r, "read %.200s", w->path.data);
    if (r > 0) {
        r = put_sparse(w, fd, e, &pieces, err);
    } else if ((r = put_entry(w, e, err)) == 0 && (r = put_bytes(w, fd, e->size, err)) == 0) {
        r = put_zeros(w, tar_padding(e->size), err);
    }
    tree_pieces_done(&pieces);
    return r;
}

int tree_put_opened(struct tree_writer *w, int fd, struct error *err)
{
    struct stat st;
    struct tree_xattrs x = {0};
    if (fstat(fd, &st) < 0)
        return error_errno(err, errno, "look at %.200s", w->path.data);
    if (!S_ISREG(st.st_mode))
        return error_errno(err, ENOENT, "%.200s changed meanwhile", w->path.data);
    const char *same = tree_links_known(&w->links, &st, w->path.data);
    if (same)
        return put_header(w, TAR_HARDLINK, &st, same, NULL, err);
    int r = tree_writer_xattrs(w, fd, &x, err);
    if (r < 0)
        return r;
    struct tar_entry e = describe(w, TAR_FILE, &st, "", &x);
    r = put_file(w, fd, &e, err);
    tree_xattrs_done(&x);
    return r;
}

static int put_named_file(struct tree_writer *w, int dirfd, const char *name, struct error *err)
{
    _cleanup_close_ int fd =
        openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? error_errno(err, errno, "open %.200s", w->path.data)
                  : tree_put_opened(w, fd, err);
}

static int put_symlink(struct tree_writer *w, int dirfd, const char *name, const struct stat *st,
                       struct error *err)
{
    char target[4096];
    ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);
    if (n < 0)
        return error_errno(err, errno == EINVAL ? ENOENT : errno, "read %.200s", w->path.data);
    target[n] = '\0';
    return put_header(w, TAR_SYMLINK, st, target, NULL, err);
}

int tree_put_special(struct tree_writer *w, const struct stat *st, struct error *err)
{
    switch (st->st_mode & S_IFMT) {
    case S_IFCHR:
        return put_header(w, TAR_CHAR, st, "", NULL, err);
    case S_IFBLK:
        return put_header(w, TAR_BLOCK, st, "", NULL, err);
    case S_IFIFO:
        return put_header(w, TAR_FIFO, st, "", NULL, err);
    default:
        return 0; /* a socket */
    }
}

int tree_put(struct tree_writer *w, int dirfd, const char *name, const struct stat *st,
             struct error *err)
{
    if (S_ISREG(st->st_mode))
        return put_named_file(w, dirfd, name, err);
    if (S_ISLNK(st->st_mode))
        return put_symlink(w, dirfd, name, st, err);
    return tree_put_special(w, st, err);
}
