/*
 * Places for mounts inside a root that its image may have prepared for us. Every step is resolved
 * by the kernel with the root as the root, and the result is a descriptor on which the mount is put
 * without looking at a path again.
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/path.h"
#include "runtime/container/internal.h"

#define MAX_LINKS 8

/* Splits off the last component: *ret_dir is owned; the name points into path. */
static const char *split_last(const char *path, char **ret_dir)
{
    const char *slash = strrchr(path, '/');
    *ret_dir = slash && slash > path ? xstrndup(path, (size_t)(slash - path)) : xstrdup("/");
    return slash ? slash + 1 : path;
}

/* Makes an empty file at path. When the last component is a symlink to nothing, *ret_next is where
 * it leads, seen from the root (owned), and 0 is given as for success. */
static int make_file(int root, const char *path, char **ret_next)
{
    _cleanup_free_ char *dir = NULL;
    char link[4096];
    const char *name = split_last(path, &dir);
    _cleanup_close_ int parent = path_make_dirs_in_root(root, dir, 0755);
    if (parent < 0)
        return parent;
    int fd = openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0644);
    if (fd >= 0) {
        close(fd);
        return 0;
    }
    if (errno != EEXIST)
        return -errno;
    ssize_t n = readlinkat(parent, name, link, sizeof(link) - 1);
    if (n <= 0)
        return 0; /* somebody made it in between */
    link[n] = '\0';
    *ret_next = link[0] == '/' ? xstrdup(link) : path_join(dir, link);
    return 0;
}

static int make_target(int root, const char *path, bool directory)
{
    _cleanup_free_ char *at = path_normalize(path);
    if (directory) {
        int fd = path_make_dirs_in_root(root, at, 0755);
        close_fd(fd);
        return fd < 0 ? fd : 0;
    }
    for (int links = 0; links < MAX_LINKS; links++) {
        char *next = NULL;
        int r = make_file(root, at, &next);
        if (r < 0 || !next)
            return r;
        free(at);
        at = next;
    }
    return -ELOOP;
}

int container_target(int root, const char *path, bool directory, int *ret_fd, struct error *err)
{
    struct stat st;
    _cleanup_close_ int fd = path_open_in_root(root, path, O_PATH, 0);
    if (fd == -ENOENT) {
        int r = make_target(root, path, directory);
        if (r < 0)
            return error_errno(err, r, "make %s in the root", path);
        fd = path_open_in_root(root, path, O_PATH, 0);
    }
    if (fd < 0)
        return error_errno(err, fd, "open %s in the root", path);
    if (fstat(fd, &st) < 0)
        return error_errno(err, errno, "look at %s in the root", path);
    if (directory != S_ISDIR(st.st_mode))
        return error_invalid(err, "mount on %s: one of the two is a directory, the other is not",
                             path);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int container_target_strict(int root, const char *path, int *ret_fd, struct error *err)
{
    struct open_how how = {
        .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
    if (fd < 0 && errno == ENOENT) {
        int made = path_make_dirs_in_root(root, path, 0755);
        close_fd(made);
        fd = made < 0 ? -1 : syscall(SYS_openat2, root, path, &how, sizeof(how));
        errno = made < 0 ? -made : errno;
    }
    if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
        return error_set(err, ERROR_DENIED, errno,
                         "mount on %s: it is no directory in this root (a symlink is refused)",
                         path);
    if (fd < 0)
        return error_errno(err, errno, "make %s in the root", path);
    *ret_fd = (int)fd;
    return 0;
}
