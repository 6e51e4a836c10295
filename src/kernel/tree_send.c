/*
 * Walks a tree depth first and writes it as tar. Each directory is open while its children are
 * visited, so a component that is swapped for a link cannot redirect the walk; each file is opened
 * by name without following links and described by what was opened, not by what was listed.
 *
 * A file of a live instance may change while it is sent: exactly as many bytes as its header said
 * follow, zeros where it has become shorter.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "kernel/tree-internal.h"

#define WHITEOUT        ".wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"
#define FLUSH_BYTES     ((size_t)65536)
struct sender {
    enum tree_form form;
    int out_fd;
    struct buf out;  /* bytes not yet written */
    struct buf path; /* the current entry's name */
    struct tree_links links;
    unsigned depth;
    dev_t dev; /* of the directory being walked */
};

static void sender_done(struct sender *s)
{
    tree_links_done(&s->links);
    buf_done(&s->out);
    buf_done(&s->path);
}

static int flush(struct sender *s, size_t unless_below, struct error *err)
{
    if (s->out.len < unless_below || s->out.len == 0)
        return 0;
    int r = fd_write_all(s->out_fd, s->out.data, s->out.len);
    buf_reset(&s->out);
    return r < 0 ? error_errno(err, r, "write the stream") : 0;
}

static bool is_layer(const struct sender *s)
{
    return s->form == TREE_LAYER || s->form == TREE_CHANGES;
}

static struct tar_entry describe(const struct sender *s, enum tar_type type, const struct stat *st,
                                 const char *link)
{
    struct tar_entry e = {
        .type = type,
        .path = s->path.data,
        .link = link,
        .mode = st->st_mode & 07777,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .size = type == TAR_FILE && s->form != TREE_CHANGES ? (uint64_t)st->st_size : 0,
        .mtime = st->st_mtim.tv_sec,
        .mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
    };
    if (type == TAR_CHAR || type == TAR_BLOCK) {
        e.major = major(st->st_rdev);
        e.minor = minor(st->st_rdev);
    }
    return e;
}

static int put_entry(struct sender *s, const struct tar_entry *e, struct error *err)
{
    int r = tar_write_header(&s->out, e);
    if (r < 0)
        return error_errno(err, r, "%.200s", s->path.data);
    return flush(s, FLUSH_BYTES, err);
}

static int put_header(struct sender *s, enum tar_type type, const struct stat *st, const char *link,
                      struct error *err)
{
    struct tar_entry e = describe(s, type, st, link);
    return put_entry(s, &e, err);
}

static int read_xattrs(struct sender *s, int fd, struct tree_xattrs *ret, struct error *err)
{
    int r = s->form == TREE_COPY ? 0 : tree_xattrs_read(fd, ret);
    if (r < 0)
        return error_errno(err, r, "read the attributes of %.200s", s->path.data);
    if (ret->redirect && is_layer(s)) {
        tree_xattrs_done(ret);
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "%.200s: this kernel's overlay keeps only that it was renamed, which no "
                         "layer can say",
                         s->path.data);
    }
    return 0;
}

static int put_zeros(struct sender *s, uint64_t n, struct error *err)
{
    static const char zeros[4096];
    int r = 0;
    for (; r == 0 && n > 0; n -= MIN(n, sizeof(zeros))) {
        r = buf_add(&s->out, zeros, (size_t)MIN(n, sizeof(zeros)));
        r = r < 0 ? error_errno(err, r, "collect the stream") : flush(s, FLUSH_BYTES, err);
    }
    return r;
}

/* size bytes from where fd stands; zeros for what it no longer has. */
static int put_bytes(struct sender *s, int fd, uint64_t size, struct error *err)
{
    uint64_t left = size;
    while (left > 0) {
        char *space;
        size_t n = (size_t)MIN(left, FLUSH_BYTES);
        int r = buf_reserve(&s->out, n, &space);
        if (r < 0)
            return error_errno(err, r, "collect the stream");
        ssize_t got = fd_read_full(fd, space, n);
        if (got < 0)
            return error_errno(err, (int)got, "read %.200s", s->path.data);
        s->out.len += (size_t)got;
        left -= (uint64_t)got;
        r = flush(s, FLUSH_BYTES, err);
        if (r < 0)
            return r;
        if (got == 0)
            break; /* it became shorter */
    }
    return put_zeros(s, left, err);
}

static int put_pieces(struct sender *s, int fd, const struct tree_pieces *p, const struct buf *map,
                      struct error *err)
{
    int r = buf_add(&s->out, map->data, map->len);
    if (r < 0)
        return error_errno(err, r, "collect the stream");
    for (size_t i = 0; r == 0 && i < p->n; i++) {
        if (lseek(fd, (off_t)p->list[i].at, SEEK_SET) < 0)
            return error_errno(err, errno, "read %.200s", s->path.data);
        r = put_bytes(s, fd, p->list[i].len, err);
    }
    return r < 0 ? r : put_zeros(s, tar_padding(p->bytes), err);
}

static int put_sparse(struct sender *s, int fd, struct tar_entry *e, const struct tree_pieces *p,
                      struct error *err)
{
    _cleanup_buf_ struct buf map = BUF_INIT(TREE_MAX_PIECES * 42);
    int r = tree_pieces_map(p, &map);
    if (r < 0)
        return error_errno(err, r, "%.200s", s->path.data);
    e->sparse = true;
    e->real_size = e->size;
    e->size = map.len + p->bytes;
    r = put_entry(s, e, err);
    return r < 0 ? r : put_pieces(s, fd, p, &map, err);
}

static int put_file(struct sender *s, int fd, struct tar_entry *e, struct error *err)
{
    struct tree_pieces pieces = {0};
    int r = s->form == TREE_LAYER ? tree_pieces_find(fd, e->size, &pieces) : 0;
    if (r < 0)
        return error_errno(err, r, "read %.200s", s->path.data);
    if (r > 0) {
        r = put_sparse(s, fd, e, &pieces, err);
    } else if ((r = put_entry(s, e, err)) == 0 && (r = put_bytes(s, fd, e->size, err)) == 0) {
        r = put_zeros(s, tar_padding(e->size), err);
    }
    tree_pieces_done(&pieces);
    return r;
}

static int send_opened(struct sender *s, int fd, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_errno(err, errno, "look at %.200s", s->path.data);
    if (!S_ISREG(st.st_mode))
        return error_errno(err, ENOENT, "%.200s changed meanwhile", s->path.data);
    const char *same = tree_links_known(&s->links, &st, s->path.data);
    if (same)
        return put_header(s, TAR_HARDLINK, &st, same, err);
    struct tree_xattrs xattrs = {0};
    struct tar_entry e = describe(s, TAR_FILE, &st, "");
    int r = read_xattrs(s, fd, &xattrs, err);
    if (r < 0)
        return r;
    e.xattrs = xattrs.list;
    e.n_xattrs = xattrs.n;
    r = put_file(s, fd, &e, err);
    tree_xattrs_done(&xattrs);
    return r;
}

static int send_file(struct sender *s, int dirfd, const char *name, struct error *err)
{
    _cleanup_close_ int fd =
        openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? error_errno(err, errno, "open %.200s", s->path.data) : send_opened(s, fd, err);
}

static int send_symlink(struct sender *s, int dirfd, const char *name, const struct stat *st,
                        struct error *err)
{
    char target[4096];
    ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);
    if (n < 0)
        return error_errno(err, errno == EINVAL ? ENOENT : errno, "read %.200s", s->path.data);
    target[n] = '\0';
    return put_header(s, TAR_SYMLINK, st, target, err);
}

/* proc, sysfs and the like: their directories are sent, what the kernel shows in them is not. */
static bool is_kernel_fs(int fd)
{
    static const unsigned long magics[] = {PROC_SUPER_MAGIC,    SYSFS_MAGIC,   CGROUP_SUPER_MAGIC,
                                           CGROUP2_SUPER_MAGIC, DEBUGFS_MAGIC, TRACEFS_MAGIC,
                                           DEVPTS_SUPER_MAGIC,  BPF_FS_MAGIC,  SECURITYFS_MAGIC};
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
        if ((unsigned long)fs.f_type == magics[i])
            return true;
    return false;
}

static int send_entry(struct sender *s, int dirfd, const char *name, struct error *err);

/* The children of an open directory; s->path holds its name with a slash at the end. */
static int send_children(struct sender *s, int fd, struct error *err)
{
    size_t base = s->path.len;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int r = error_errno(err, errno, "read %.200s", s->path.data);
        close_fd(fd);
        return r;
    }
    int r = 0;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry) {
            if (errno)
                r = error_errno(err, errno, "read %.200s", s->path.data);
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        r = buf_add_str(&s->path, entry->d_name);
        if (r < 0)
            r = error_set(err, ERROR_LIMIT, ENAMETOOLONG, "%.200s: the path is too long",
                          s->path.data);
        else
            r = send_entry(s, dirfd(dir), entry->d_name, err);
        s->path.len = base;
        s->path.data[base] = '\0';
        if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP)
            r = 0; /* it went away, or became something else, while we looked */
        if (r < 0)
            break;
    }
    closedir(dir);
    return r;
}

/* An empty file whose name says what the layer hides. */
static int put_whiteout(struct sender *s, const char *prefix, const char *name, struct error *err)
{
    size_t base = s->path.len;
    const char *slash = strrchr(s->path.data, '/');
    if (*name) /* the path ends with it: it gets the prefix */
        base = slash ? (size_t)(slash - s->path.data) + 1 : 0;
    _cleanup_free_ char *path = xasprintf("%.*s%s%s", (int)base, s->path.data, prefix, name);
    const struct tar_entry e = {.type = TAR_FILE, .path = path};
    return put_entry(s, &e, err);
}

static int put_directory(struct sender *s, int fd, const struct stat *st, struct error *err)
{
    struct tree_xattrs xattrs = {0};
    struct tar_entry e = describe(s, TAR_DIRECTORY, st, "");
    int r = read_xattrs(s, fd, &xattrs, err);
    if (r < 0)
        return r;
    e.xattrs = xattrs.list;
    e.n_xattrs = xattrs.n;
    r = put_entry(s, &e, err);
    if (r == 0 && is_layer(s) && xattrs.opaque)
        r = put_whiteout(s, WHITEOUT_OPAQUE, "", err);
    tree_xattrs_done(&xattrs);
    return r;
}

/* Takes ownership of fd, a directory open for reading. */
static int send_directory(struct sender *s, int dir_fd, bool top, struct error *err)
{
    _cleanup_close_ int fd = dir_fd;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_errno(err, errno, "look at %.200s", s->path.data);
    if (s->depth >= TREE_MAX_DEPTH)
        return error_set(err, ERROR_LIMIT, E2BIG, "%.100s...: more than %d directories deep",
                         s->path.data, TREE_MAX_DEPTH);
    int r = buf_add(&s->path, "/", 1);
    if (r < 0)
        return error_set(err, ERROR_LIMIT, ENAMETOOLONG, "%.200s: the path is too long",
                         s->path.data);
    r = put_directory(s, fd, &st, err);
    if (r < 0 || (!top && st.st_dev != s->dev && is_kernel_fs(fd)))
        return r;
    dev_t outer = s->dev;
    s->dev = st.st_dev;
    s->depth++;
    r = send_children(s, TAKE_FD(fd), err);
    s->depth--;
    s->dev = outer;
    return r;
}

static int send_special(struct sender *s, const struct stat *st, struct error *err)
{
    switch (st->st_mode & S_IFMT) {
    case S_IFCHR:
        return put_header(s, TAR_CHAR, st, "", err);
    case S_IFBLK:
        return put_header(s, TAR_BLOCK, st, "", err);
    case S_IFIFO:
        return put_header(s, TAR_FIFO, st, "", err);
    default:
        return 0; /* a socket */
    }
}

static int send_entry(struct sender *s, int dirfd, const char *name, struct error *err)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, errno, "%.200s", s->path.data);
    if (is_layer(s) && strncmp(name, WHITEOUT, strlen(WHITEOUT)) == 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "%.200s: in a layer this name would hide another file", s->path.data);
    if (is_layer(s) && S_ISCHR(st.st_mode) && st.st_rdev == 0)
        return put_whiteout(s, WHITEOUT, name, err);
    switch (st.st_mode & S_IFMT) {
    case S_IFREG:
        return send_file(s, dirfd, name, err);
    case S_IFDIR: {
        int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            return error_errno(err, errno, "open %.200s", s->path.data);
        return send_directory(s, fd, s->depth == 0, err);
    }
    case S_IFLNK:
        return send_symlink(s, dirfd, name, &st, err);
    default:
        return send_special(s, &st, err);
    }
}

/* The directory that path names, opened through links; sent under name. */
static int send_followed_directory(struct sender *s, int rootfd, const char *path, const char *name,
                                   struct error *err)
{
    int fd = path_open_in_root(rootfd, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return error_errno(err, fd, "%s", path);
    int r = buf_add_str(&s->path, name);
    if (r < 0) {
        close_fd(fd);
        return error_errno(err, r, "%s", path);
    }
    return send_directory(s, fd, true, err);
}

/* Whatever path leads to, sent under name. A device or FIFO is not opened for it. */
static int send_followed(struct sender *s, int rootfd, const char *path, const char *name,
                         struct error *err)
{
    struct stat st;
    _cleanup_close_ int fd = path_open_in_root(rootfd, path, O_PATH, 0);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, fd < 0 ? fd : errno, "%s", path);
    if (S_ISDIR(st.st_mode))
        return send_followed_directory(s, rootfd, path, name, err);
    int r = buf_add_str(&s->path, name);
    if (r < 0)
        return error_errno(err, r, "%s", path);
    if (!S_ISREG(st.st_mode))
        return send_special(s, &st, err);
    _cleanup_close_ int file = path_open_in_root(rootfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    return file < 0 ? error_errno(err, file, "%s", path) : send_opened(s, file, err);
}

static int send_path(struct sender *s, int rootfd, const char *path, bool follow, struct error *err)
{
    _cleanup_free_ char *copy = xstrdup(path);
    size_t len = strlen(copy);
    bool directory = false;
    while (len > 0 && copy[len - 1] == '/') {
        copy[--len] = '\0';
        directory = true;
    }
    char *slash = strrchr(copy, '/');
    const char *name = slash ? slash + 1 : copy;
    if (!path_is_name(name)) /* "/", "x/." or "x/..": the contents */
        return send_followed_directory(s, rootfd, path, ".", err);
    if (directory)
        return send_followed_directory(s, rootfd, path, name, err);
    if (follow)
        return send_followed(s, rootfd, path, name, err);
    int r = buf_add_str(&s->path, name);
    if (r < 0)
        return error_errno(err, r, "%s", path);
    if (slash)
        *slash = '\0';
    _cleanup_close_ int parent =
        path_open_in_root(rootfd, slash ? copy : "/", O_PATH | O_DIRECTORY, 0);
    if (parent < 0)
        return error_errno(err, parent, "%s", path);
    return send_entry(s, parent, name, err);
}

static int end(struct sender *s, struct error *err)
{
    int r = tar_write_end(&s->out);
    return r < 0 ? error_errno(err, r, "end the stream") : flush(s, 0, err);
}

#define OUT_BYTES_MAX (4 * FLUSH_BYTES + TREE_MAX_PIECES * 42 + 2 * TAR_MAX_META)

int tree_send(int rootfd, const char *path, bool follow, int out_fd, struct error *err)
{
    _cleanup_(sender_done) struct sender s = {
        .out_fd = out_fd,
        .out = BUF_INIT(OUT_BYTES_MAX),
        .path = BUF_INIT(TAR_MAX_PATH),
    };
    int r = send_path(&s, rootfd, path, follow, err);
    return r < 0 ? r : end(&s, err);
}

int tree_send_all(int rootfd, enum tree_form form, int out_fd, struct error *err)
{
    _cleanup_(sender_done) struct sender s = {
        .form = form,
        .out_fd = out_fd,
        .out = BUF_INIT(OUT_BYTES_MAX),
        .path = BUF_INIT(TAR_MAX_PATH),
        .depth = 1,
    };
    struct stat st;
    int fd = openat(rootfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 || fstat(fd, &st) < 0 ? -errno : buf_add(&s.path, "", 0);
    if (r < 0) {
        close_fd(fd);
        return error_errno(err, r, "open the tree");
    }
    s.dev = st.st_dev;
    r = send_children(&s, fd, err);
    return r < 0 ? r : end(&s, err);
}
