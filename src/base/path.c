#include "base/path.h"

#include <dirent.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/strv.h"

static int open_how(int dirfd, const char *path, int flags, mode_t mode, unsigned long long resolve)
{
    struct open_how how = {
        .flags = (unsigned int)(flags | O_CLOEXEC),
        .mode = flags & (O_CREAT | __O_TMPFILE) ? mode : 0,
        .resolve = resolve | RESOLVE_NO_MAGICLINKS,
    };
    for (int tries = 0; tries < 64; tries++) {
        long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
        if (fd >= 0)
            return (int)fd;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
    }
    return -EAGAIN; /* somebody renames directories under us faster than we can look */
}

int path_open_in_root(int rootfd, const char *path, int flags, mode_t mode)
{
    return open_how(rootfd, *path ? path : "/", flags, mode, RESOLVE_IN_ROOT);
}

int path_open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
    return open_how(dirfd, path, flags, mode, RESOLVE_BENEATH);
}

int path_make_dirs_in_root(int rootfd, const char *path, mode_t mode)
{
    _cleanup_strv_ char **parts = strv_split(path, '/');
    _cleanup_free_ char *so_far = xstrdup("/");
    _cleanup_close_ int fd = path_open_in_root(rootfd, "/", O_PATH | O_DIRECTORY, 0);
    for (size_t i = 0; fd >= 0 && parts[i]; i++) {
        if (!*parts[i] || strcmp(parts[i], ".") == 0)
            continue;
        char *longer = path_join(so_far, parts[i]);
        free(so_far);
        so_far = longer;
        int next = path_open_in_root(rootfd, so_far, O_PATH | O_DIRECTORY, 0);
        if (next == -ENOENT && strcmp(parts[i], "..") != 0) {
            if (mkdirat(fd, parts[i], mode) < 0 && errno != EEXIST)
                return -errno;
            next = path_open_in_root(rootfd, so_far, O_PATH | O_DIRECTORY, 0);
        }
        close_fd(fd);
        fd = next;
    }
    return TAKE_FD(fd);
}

int path_make_dirs(const char *path, mode_t mode)
{
    _cleanup_free_ char *copy = xstrdup(path);
    if (mkdir(path, mode) == 0 || (errno == EEXIST))
        return 0;
    if (errno != ENOENT)
        return -errno;
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, mode) < 0 && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    return mkdir(path, mode) < 0 && errno != EEXIST ? -errno : 0;
}

static int remove_entries(int fd, dev_t dev)
{
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int r = -errno;
        close_fd(fd);
        return r;
    }
    int result = 0;
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (entry->d_type != DT_DIR &&
            (unlinkat(dirfd(dir), entry->d_name, 0) == 0 || errno == ENOENT))
            continue; /* ENOENT: somebody else removes the same tree */
        if (entry->d_type != DT_DIR && errno != EISDIR) {
            result = result ? result : -errno;
            continue;
        }
        struct stat st;
        int child =
            openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (child < 0 && errno == ENOENT)
            continue;
        if (child < 0 || fstat(child, &st) < 0 || st.st_dev != dev) {
            result = result ? result : (child < 0 ? -errno : -EXDEV);
            close_fd(child);
            continue;
        }
        int r = remove_entries(child, dev);
        if (r == 0 && unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
            r = -errno;
        result = result ? result : r;
    }
    closedir(dir);
    return result;
}

int path_remove_tree(int dirfd, const char *name)
{
    struct stat st;
    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return 0;
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (fstat(fd, &st) < 0) {
        int r = -errno;
        close_fd(fd);
        return r;
    }
    int r = remove_entries(fd, st.st_dev);
    if (r == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        r = -errno;
    return r;
}

char *path_join(const char *a, const char *b)
{
    size_t len = strlen(a);
    while (len > 0 && a[len - 1] == '/')
        len--;
    while (*b == '/')
        b++;
    return xasprintf("%.*s/%s", (int)len, a, b);
}

char *path_normalize(const char *path)
{
    _cleanup_strv_ char **parts = strv_split(path, '/');
    char *result = xcalloc(strlen(path) + 2, 1);
    size_t len = 0;
    for (size_t i = 0; parts[i]; i++) {
        if (!*parts[i] || strcmp(parts[i], ".") == 0)
            continue;
        if (strcmp(parts[i], "..") == 0) {
            while (len > 0 && result[--len] != '/')
                ;
            continue;
        }
        result[len++] = '/';
        len = (size_t)(stpcpy(result + len, parts[i]) - result);
    }
    if (len == 0)
        result[len++] = '/';
    result[len] = '\0';
    return result;
}

bool path_is_name(const char *name)
{
    return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strchr(name, '/') &&
           strlen(name) <= 255;
}
