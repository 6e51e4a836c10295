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

#define REMOVE_DEPTH 64 /* directories open at once */

/* A tree may be deeper than descriptors and stack reach: what lies REMOVE_DEPTH below the top is
 * moved up to it, and the top is gone through again. */
struct removal {
    int top;
    dev_t dev;
    unsigned int depth, moved;
};

static int remove_entries(struct removal *x, int fd);

static int move_up(struct removal *x, int parent, const char *name)
{
    char up[32];
    do {
        snprintf(up, sizeof(up), ".removed-%u", x->moved++);
        if (renameat2(parent, name, x->top, up, RENAME_NOREPLACE) == 0 || errno == ENOENT)
            return 0;
    } while (errno == EEXIST);
    return -errno;
}

static int remove_directory(struct removal *x, int parent, const char *name)
{
    struct stat st;
    if (x->depth == REMOVE_DEPTH)
        return move_up(x, parent, name);
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (fstat(fd, &st) < 0 || st.st_dev != x->dev) {
        close_fd(fd);
        return -EXDEV;
    }
    int r = remove_entries(x, fd);
    return r == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : r;
}

/* Takes fd. */
static int remove_entries(struct removal *x, int fd)
{
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int r = -errno;
        close_fd(fd);
        return r;
    }
    int result = 0;
    struct dirent *entry;
    x->depth++;
    while ((entry = readdir(dir))) {
        int r = 0;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (entry->d_type != DT_DIR &&
            (unlinkat(dirfd(dir), entry->d_name, 0) == 0 || errno == ENOENT))
            continue; /* ENOENT: somebody else removes the same tree */
        if (entry->d_type != DT_DIR && errno != EISDIR)
            r = -errno;
        else
            r = remove_directory(x, dirfd(dir), entry->d_name);
        result = result ? result : r;
    }
    x->depth--;
    closedir(dir);
    return result;
}

int path_remove_tree(int dirfd, const char *name)
{
    struct removal x = {.depth = 0};
    struct stat st;
    unsigned int before;
    int r;
    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return 0;
    _cleanup_close_ int top = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (top < 0)
        return errno == ENOENT ? 0 : -errno;
    if (fstat(top, &st) < 0)
        return -errno;
    x.top = top;
    x.dev = st.st_dev;
    do {
        int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        before = x.moved;
        r = fd < 0 ? -errno : remove_entries(&x, fd);
    } while (r == 0 && x.moved != before);
    return r == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : r;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int path_list_names(int dirfd, char ***ret)
{
    _cleanup_strv_ char **names = xcalloc(16, sizeof(*names));
    size_t n = 0, room = 16;
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    if (!dir) {
        int r = -errno;
        close_fd(fd);
        return r;
    }
    errno = 0;
    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (n + 1 == room)
            names = xreallocarray(names, room *= 2, sizeof(*names));
        names[n++] = xstrdup(entry->d_name);
        names[n] = NULL;
    }
    int r = -errno;
    closedir(dir);
    if (r < 0)
        return r;
    qsort(names, n, sizeof(*names), compare_names);
    *ret = TAKE_PTR(names);
    return 0;
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
