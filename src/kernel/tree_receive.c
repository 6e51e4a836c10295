/*
 * Extracts a tar stream below one directory.
 *
 * The directories between that one and the current entry are a stack of open descriptors (struct
 * level). An entry's name is compared with the stack, levels that it does not share are closed, and
 * missing ones are opened (or made) one name at a time without following links: so the stack is at
 * once the cache, the bound on depth, and the reason why no name and no swapped link leads out. A
 * directory gets its owner, mode and time when its level is closed, after its contents.
 */
#include "kernel/tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "kernel/tree_receive-internal.h"

#define CHUNK_BYTES      ((size_t)65536)
#define TRAILING_BYTES   ((size_t)1 << 20) /* padding after the end that is read away */
#define MAX_LINK_FOLLOWS 40

/* --- entries --- */

/* Makes room for a non-directory. *ret_busy: it is a mount point, to be written in place. */
static int clear_place(int dirfd, const char *name, bool *ret_busy, struct error *err)
{
    *ret_busy = false;
    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno == EBUSY) {
        *ret_busy = true;
        return 0;
    }
    if (errno == EISDIR || errno == EPERM) {
        struct stat st;
        if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
            return error_set(err, ERROR_CONFLICT, EISDIR,
                             "%.200s is a directory: a file cannot replace it", name);
        errno = EPERM;
    }
    return error_errno(err, errno, "replace %.200s", name);
}

static int file_begin(struct receiver *r, int dirfd, const char *name, const struct tar_entry *e,
                      struct error *err)
{
    bool busy;
    int result = clear_place(dirfd, name, &busy, err);
    if (result < 0)
        return result;
    int flags = busy ? O_TRUNC | O_NONBLOCK : O_CREAT | O_EXCL;
    r->file = openat(dirfd, name, O_WRONLY | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC | flags, 0600);
    struct stat st;
    if (r->file >= 0 && (fstat(r->file, &st) < 0 || !S_ISREG(st.st_mode))) {
        r->file = close_fd(r->file);
        errno = EBUSY;
    }
    if (r->file < 0)
        return error_errno(err, errno, "create %.200s", name);
    r->file_attributes = receiver_attributes(r, e);
    r->file_entry = *e; /* what it borrows lives until the next entry */
    r->offset = 0;
    xreplace(&r->file_name, name);
    return 0;
}

static int make_directory(struct receiver *r, const char *name, const struct tar_entry *e,
                          struct error *err)
{
    int result = receiver_open(r, name, true, err);
    if (result < 0)
        return result;
    r->levels[r->depth - 1].attributes = receiver_attributes(r, e);
    return receiver_set_xattrs(r, receiver_top(r), e, err);
}

static int make_hardlink(struct receiver *r, int dirfd, const char *name, const char *link,
                         struct error *err)
{
    _cleanup_strv_ char **parts = NULL;
    struct stat target, there;
    bool busy;
    int result = receiver_parts(r, link, &parts, err);
    if (result < 0)
        return result;
    size_t n = strv_len(parts);
    if (n == 0)
        return error_set(err, ERROR_CORRUPT, EINVAL, "%.200s is a hard link to a directory", name);
    _cleanup_close_ int at = fcntl(r->base, F_DUPFD_CLOEXEC, 3);
    for (size_t i = 0; at >= 0 && i + 1 < n; i++) {
        int next = openat(at, parts[i], O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        close_fd(at);
        at = next;
    }
    if (at < 0 || fstatat(at, parts[n - 1], &target, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, errno, "link %.200s to %.200s", name, link);
    if (fstatat(dirfd, name, &there, AT_SYMLINK_NOFOLLOW) == 0 && there.st_ino == target.st_ino &&
        there.st_dev == target.st_dev)
        return 0;
    result = clear_place(dirfd, name, &busy, err);
    if (result < 0)
        return result;
    if (linkat(at, parts[n - 1], dirfd, name, 0) < 0)
        return error_errno(err, errno, "link %.200s to %.200s", name, link);
    return 0;
}

/* Symbolic links, devices and FIFOs. */
static int make_node(struct receiver *r, int dirfd, const char *name, const struct tar_entry *e,
                     struct error *err)
{
    static const mode_t types[] = {
        [TAR_CHAR] = S_IFCHR, [TAR_BLOCK] = S_IFBLK, [TAR_FIFO] = S_IFIFO};
    struct attributes a = receiver_attributes(r, e);
    bool busy;
    int result = clear_place(dirfd, name, &busy, err);
    if (result < 0)
        return result;
    if (e->type == TAR_SYMLINK) {
        if (symlinkat(e->link, dirfd, name) < 0)
            return error_errno(err, errno, "create the link %.200s", name);
    } else {
        mode_t mask = umask(0);
        dev_t dev = e->type == TAR_FIFO ? 0 : makedev(e->major, e->minor);
        int made = mknodat(dirfd, name, types[e->type] | (a.mode & 0777), dev);
        int saved = errno;
        umask(mask);
        if (made < 0)
            return error_errno(err, saved, "create the device or FIFO %.200s", name);
    }
    if (fchownat(dirfd, name, a.uid, a.gid, AT_SYMLINK_NOFOLLOW) < 0 &&
        (errno != EPERM || geteuid() == 0))
        return error_errno(err, errno, "set the owner of %.200s", name);
    if (utimensat(dirfd, name, a.times, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, errno, "set the time of %.200s", name);
    return 0;
}

/* In a layer a device 0:0 is what hides a file of the layers below, and the one that everybody may
 * make. */
static bool leaves_out(const struct receiver *r, const struct tar_entry *e)
{
    bool hides = e->type == TAR_CHAR && e->major == 0 && e->minor == 0;
    return r->layer ? !hides : r->owned;
}

static int entry_begin(struct receiver *r, const struct tar_entry *e, struct error *err)
{
    _cleanup_strv_ char **parts = NULL;
    int result = receiver_parts(r, e->path, &parts, err);
    size_t n = strv_len(parts);
    if (result < 0)
        return result;
    if (n == 0) {
        if (e->type ==
            TAR_DIRECTORY) /* the directory that was there already keeps its attributes */
            return r->layer ? receiver_set_root(r, e, err) : 0;
        return error_set(err, ERROR_CORRUPT, EINVAL, "the stream holds the name \"%.200s\"",
                         e->path);
    }
    const char *name = parts[n - 1];
    if (r->directory && n == 1 && e->type != TAR_DIRECTORY)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "the directory %s/ does not exist", name);
    result = receiver_enter(r, parts, n - 1, err);
    if (result < 0)
        return result;
    switch (e->type) {
    case TAR_FILE:
        return file_begin(r, receiver_top(r), name, e, err);
    case TAR_DIRECTORY:
        return make_directory(r, name, e, err);
    case TAR_HARDLINK:
        return make_hardlink(r, receiver_top(r), name, e->link, err);
    case TAR_CHAR:
    case TAR_BLOCK:
        return leaves_out(r, e) ? 0 : make_node(r, receiver_top(r), name, e, err);
    default:
        return make_node(r, receiver_top(r), name, e, err);
    }
}

static bool all_zero(const unsigned char *data, size_t len)
{
    return data[0] == 0 && memcmp(data, data + 1, len - 1) == 0;
}

/* Long runs of zeros become holes: file_end sets the size. */
static int file_data(struct receiver *r, const unsigned char *data, size_t len, struct error *err)
{
    while (len > 0) {
        size_t n = MIN(len, (size_t)4096);
        bool hole = n == 4096 && all_zero(data, n);
        while (!hole && n < len && !(len - n >= 4096 && all_zero(data + n, 4096)))
            n += MIN(len - n, (size_t)4096);
        int result = 0;
        if (hole && lseek(r->file, (off_t)n, SEEK_CUR) < 0)
            result = -errno;
        else if (!hole)
            result = fd_write_all(r->file, data, n);
        if (result < 0)
            return error_errno(err, result, "write %.200s", r->file_name);
        r->offset += n;
        data += n;
        len -= n;
    }
    return 0;
}

static int file_end(struct receiver *r, struct error *err)
{
    int result = 0;
    if (r->file < 0)
        return 0;
    if (ftruncate(r->file, (off_t)r->offset) < 0)
        result = -errno;
    if (result == 0)
        result = receiver_apply(r->file, &r->file_attributes);
    if (result < 0)
        return error_errno(err, result, "write %.200s", r->file_name);
    if ((result = receiver_set_xattrs(r, r->file, &r->file_entry, err)) < 0)
        return result;
    r->file = close_fd(r->file);
    return 0;
}

static int handle_event(struct receiver *r, const struct tar_event *ev, struct error *err)
{
    switch (ev->kind) {
    case TAR_EVENT_ENTRY:
        return entry_begin(r, &ev->entry, err);
    case TAR_EVENT_DATA:
        return r->file >= 0 ? file_data(r, ev->data, ev->len, err) : 0;
    case TAR_EVENT_ENTRY_END:
        return file_end(r, err);
    default:
        return 0;
    }
}

/* Lets a writer that pads its last record finish without a broken pipe. */
static void read_away(int fd, char *chunk)
{
    for (size_t done = 0; done < TRAILING_BYTES;) {
        ssize_t n = fd_read_full(fd, chunk, CHUNK_BYTES);
        if (n <= 0)
            return;
        done += (size_t)n;
    }
}

static int receive_stream(struct receiver *r, int in_fd, struct error *err)
{
    _cleanup_(tar_reader_done) struct tar_reader reader;
    _cleanup_free_ char *chunk = xcalloc(1, CHUNK_BYTES);
    tar_reader_init(&reader);
    for (;;) {
        ssize_t n = read(in_fd, chunk, CHUNK_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, errno, "read the stream");
        if (n == 0)
            return tar_reader_finish(&reader, err);
        const unsigned char *data = (const unsigned char *)chunk;
        size_t len = (size_t)n;
        struct tar_event ev;
        do {
            int result = tar_reader_next(&reader, &data, &len, &ev, err);
            if (result == 0)
                result = handle_event(r, &ev, err);
            if (result < 0)
                return result;
        } while (ev.kind != TAR_EVENT_MORE && ev.kind != TAR_EVENT_END);
        if (ev.kind == TAR_EVENT_END) {
            read_away(in_fd, chunk);
            return 0;
        }
    }
}

/* --- where to extract --- */

/* Follows links at the end of path, inside the root, so that a link to a file that does or does not
 * exist is written through. *ret is owned. */
static int final_path(int rootfd, const char *path, char **ret, struct error *err)
{
    _cleanup_free_ char *now = xstrdup(path);
    for (int i = 0; i < MAX_LINK_FOLLOWS; i++) {
        char target[4096];
        _cleanup_close_ int fd = path_open_in_root(rootfd, now, O_PATH | O_NOFOLLOW, 0);
        ssize_t n = fd < 0 ? -1 : readlinkat(fd, "", target, sizeof(target) - 1);
        if (n < 0) {
            *ret = TAKE_PTR(now);
            return 0;
        }
        target[n] = '\0';
        char *slash = strrchr(now, '/');
        if (slash)
            *slash = '\0';
        char *next = *target == '/' ? xstrdup(target) : path_join(slash ? now : "", target);
        free(now);
        now = next;
    }
    return error_errno(err, ELOOP, "%s", path);
}

static int choose_place(struct receiver *r, int rootfd, const char *path, struct error *err)
{
    r->base = path_open_in_root(rootfd, path, O_RDONLY | O_DIRECTORY, 0);
    if (r->base >= 0)
        return 0;
    _cleanup_free_ char *copy = xstrdup(path), *last = NULL;
    size_t len = strlen(copy);
    while (len > 1 && copy[len - 1] == '/') {
        copy[--len] = '\0';
        r->directory = true;
    }
    if (r->base != -ENOENT && (r->base != -ENOTDIR || r->directory))
        return error_errno(err, r->base, "%s", path);
    int result = final_path(rootfd, copy, &last, err);
    if (result < 0)
        return result;
    char *slash = strrchr(last, '/');
    const char *name = slash ? slash + 1 : last;
    if (!path_is_name(name))
        return error_errno(err, ENOENT, "%s", path);
    r->rename = xstrdup(name);
    if (slash)
        *slash = '\0';
    r->base = path_open_in_root(rootfd, slash ? last : "/", O_RDONLY | O_DIRECTORY, 0);
    return r->base < 0 ? error_errno(err, r->base, "%s", path) : 0;
}

static int receive(struct receiver *r, int rootfd, const char *path, int in_fd, struct error *err)
{
    r->base = r->file = -EBADF;
    r->levels = xcalloc(TREE_MAX_DEPTH, sizeof(*r->levels));
    int result = choose_place(r, rootfd, path, err);
    if (result == 0)
        result = receive_stream(r, in_fd, err);
    if (r->file >= 0) {
        unlinkat(receiver_top(r), r->file_name, 0);
        r->file = close_fd(r->file);
    }
    int closed = receiver_leave(r, 0, result == 0 ? err : NULL);
    close_fd(r->base);
    free(r->levels);
    free(r->rename);
    free(r->top);
    free(r->wanted);
    free(r->file_name);
    return result < 0 ? result : closed;
}

int tree_receive_layer(int rootfd, bool alone, int in_fd, struct error *err)
{
    struct receiver r = {.layer = true, .owned = alone, .uid = geteuid(), .gid = getegid()};
    return receive(&r, rootfd, "/", in_fd, err);
}

int tree_receive(int rootfd, const char *path, int in_fd, struct error *err)
{
    struct receiver r = {0};
    return receive(&r, rootfd, path, in_fd, err);
}

/* What tree_send names a path's entries by; NULL for contents ("/", "x/.", "x/.."). */
static char *sent_name(const char *path)
{
    _cleanup_free_ char *copy = xstrdup(path);
    size_t len = strlen(copy);
    while (len > 0 && copy[len - 1] == '/')
        copy[--len] = '\0';
    const char *slash = strrchr(copy, '/');
    const char *name = slash ? slash + 1 : copy;
    return path_is_name(name) ? xstrdup(name) : NULL;
}

int tree_receive_owned(int rootfd, const char *path, const char *sent, int in_fd, uid_t uid,
                       gid_t gid, struct error *err)
{
    struct receiver r = {.owned = true, .uid = uid, .gid = gid, .wanted = sent_name(sent)};
    return receive(&r, rootfd, path, in_fd, err);
}
