/*
 * Walks a tree depth first and writes it as tar. Each directory is open while its children are
 * visited, so a component that is swapped for a link cannot redirect the walk. Entries are
 * tree_emit.c's.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "kernel/tree-internal.h"

struct sender {
    struct tree_writer w;
    unsigned depth;
    dev_t dev; /* of the directory being walked */
};

static void sender_done(struct sender *s)
{
    tree_writer_done(&s->w);
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

/* The children of an open directory; s->w.path holds its name with a slash at the end. */
static int send_children(struct sender *s, int fd, struct error *err)
{
    size_t base = s->w.path.len;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int r = error_errno(err, errno, "read %.200s", s->w.path.data);
        close_fd(fd);
        return r;
    }
    int r = 0;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry) {
            if (errno)
                r = error_errno(err, errno, "read %.200s", s->w.path.data);
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        r = buf_add_str(&s->w.path, entry->d_name);
        if (r < 0)
            r = error_set(err, ERROR_LIMIT, ENAMETOOLONG, "%.200s: the path is too long",
                          s->w.path.data);
        else
            r = send_entry(s, dirfd(dir), entry->d_name, err);
        s->w.path.len = base;
        s->w.path.data[base] = '\0';
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
    size_t base = s->w.path.len;
    const char *slash = strrchr(s->w.path.data, '/');
    if (*name) /* the path ends with it: it gets the prefix */
        base = slash ? (size_t)(slash - s->w.path.data) + 1 : 0;
    _cleanup_free_ char *path = xasprintf("%.*s%s%s", (int)base, s->w.path.data, prefix, name);
    return tree_put_mark(&s->w, path, err);
}

static int put_directory(struct sender *s, int fd, const struct stat *st, struct error *err)
{
    int r = tree_put_directory(&s->w, fd, st, err);
    return r == 0 && s->w.layer && s->w.opaque ? put_whiteout(s, TREE_OPAQUE, "", err) : r;
}

/* Takes ownership of fd, a directory open for reading. */
static int send_directory(struct sender *s, int dir_fd, bool top, struct error *err)
{
    _cleanup_close_ int fd = dir_fd;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_errno(err, errno, "look at %.200s", s->w.path.data);
    if (s->depth >= TREE_MAX_DEPTH)
        return error_set(err, ERROR_LIMIT, E2BIG, "%.100s...: more than %d directories deep",
                         s->w.path.data, TREE_MAX_DEPTH);
    int r = buf_add(&s->w.path, "/", 1);
    if (r < 0)
        return error_set(err, ERROR_LIMIT, ENAMETOOLONG, "%.200s: the path is too long",
                         s->w.path.data);
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

static int send_entry(struct sender *s, int dirfd, const char *name, struct error *err)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, errno, "%.200s", s->w.path.data);
    int r = tree_check_name(&s->w, name, err);
    if (r < 0)
        return r;
    if (s->w.layer && S_ISCHR(st.st_mode) && st.st_rdev == 0)
        return put_whiteout(s, TREE_WHITEOUT, name, err);
    if (!S_ISDIR(st.st_mode))
        return tree_put(&s->w, dirfd, name, &st, err);
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, "open %.200s", s->w.path.data);
    return send_directory(s, fd, s->depth == 0, err);
}

/* The directory that path names, opened through links; sent under name. */
static int send_followed_directory(struct sender *s, int rootfd, const char *path, const char *name,
                                   struct error *err)
{
    int fd = path_open_in_root(rootfd, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return error_errno(err, fd, "%s", path);
    int r = buf_add_str(&s->w.path, name);
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
    int r = buf_add_str(&s->w.path, name);
    if (r < 0)
        return error_errno(err, r, "%s", path);
    if (!S_ISREG(st.st_mode))
        return tree_put_special(&s->w, &st, err);
    _cleanup_close_ int file = path_open_in_root(rootfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    return file < 0 ? error_errno(err, file, "%s", path) : tree_put_opened(&s->w, file, err);
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
    int r = buf_add_str(&s->w.path, name);
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

int tree_send(int rootfd, const char *path, bool follow, int out_fd, struct error *err)
{
    _cleanup_(sender_done) struct sender s = {.depth = 0};
    tree_writer_init(&s.w, out_fd);
    int r = send_path(&s, rootfd, path, follow, err);
    return r < 0 ? r : tree_writer_end(&s.w, err);
}

int tree_send_all(int rootfd, enum tree_form form, int out_fd, struct error *err)
{
    _cleanup_(sender_done) struct sender s = {.depth = 1};
    tree_writer_init(&s.w, out_fd);
    s.w.attributes = form != TREE_COPY;
    s.w.layer = form == TREE_LAYER || form == TREE_CHANGES;
    s.w.sparse = form == TREE_LAYER;
    s.w.empty = form == TREE_CHANGES;
    struct stat st;
    int fd = openat(rootfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 || fstat(fd, &st) < 0 ? -errno : buf_add(&s.w.path, "", 0);
    if (r < 0) {
        close_fd(fd);
        return error_errno(err, r, "open the tree");
    }
    s.dev = st.st_dev;
    r = send_children(&s, fd, err);
    return r < 0 ? r : tree_writer_end(&s.w, err);
}
