/* Two trees side by side, directory by directory; each is open while its children are looked at. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "kernel/tree-internal.h"

struct compare {
    tree_report report;
    void *context;
    struct buf path;
    unsigned int depth;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* dir_fd -EBADF: no names. */
static int read_names(int dir_fd, char ***ret, struct error *err)
{
    _cleanup_strv_ char **names = strv_copy(NULL);
    size_t n = 0, capacity = 0;
    int fd = dir_fd < 0 ? -EBADF : openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir_fd >= 0 && !dir) {
        int r = error_errno(err, errno, "read a directory");
        close_fd(fd);
        return r;
    }
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (n + 1 >= capacity) {
            capacity = MAX(capacity * 2, (size_t)64);
            names = xreallocarray(names, capacity, sizeof(*names));
        }
        names[n++] = xstrdup(e->d_name);
        names[n] = NULL;
    }
    if (dir)
        closedir(dir);
    if (n > 0)
        qsort(names, n, sizeof(*names), compare_names);
    *ret = TAKE_PTR(names);
    return 0;
}

static bool same_link(int a, int b, const char *name)
{
    char x[4096], y[4096];
    ssize_t n = readlinkat(a, name, x, sizeof(x)), m = readlinkat(b, name, y, sizeof(y));
    return n >= 0 && n == m && memcmp(x, y, (size_t)n) == 0;
}

static bool same(int a, int b, const char *name, const struct stat *x, const struct stat *y)
{
    if (x->st_mode != y->st_mode || x->st_uid != y->st_uid || x->st_gid != y->st_gid)
        return false;
    switch (x->st_mode & S_IFMT) {
    case S_IFDIR:
        return true;
    case S_IFLNK:
        return same_link(a, b, name);
    case S_IFCHR:
    case S_IFBLK:
        return x->st_rdev == y->st_rdev;
    default:
        return x->st_size == y->st_size && x->st_mtim.tv_sec == y->st_mtim.tv_sec &&
               x->st_mtim.tv_nsec == y->st_mtim.tv_nsec;
    }
}

static int open_below(int dir_fd, const char *name, bool wanted)
{
    return wanted ? openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -EBADF;
}

static int compare_directories(struct compare *c, int a, int b, bool *ret_changed,
                               struct error *err);

/* One name, which is in at least one of the two directories. */
static int compare_name(struct compare *c, int a, int b, const char *name, bool *changed,
                        struct error *err)
{
    struct stat x = {0}, y = {0};
    bool in_a = a >= 0 && fstatat(a, name, &x, AT_SYMLINK_NOFOLLOW) == 0;
    bool in_b = b >= 0 && fstatat(b, name, &y, AT_SYMLINK_NOFOLLOW) == 0;
    bool below = false;
    if (!in_b) {
        *changed = true;
        return c->report(c->context, 'D', c->path.data, err);
    }
    bool differs = !in_a || !same(a, b, name, &x, &y);
    if (S_ISDIR(y.st_mode)) {
        _cleanup_close_ int da = open_below(a, name, in_a && S_ISDIR(x.st_mode));
        _cleanup_close_ int db = open_below(b, name, true);
        if (db < 0)
            return error_errno(err, errno, "open %.200s", c->path.data);
        int r = compare_directories(c, da, db, &below, err);
        if (r < 0)
            return r;
    }
    if (!differs && !below)
        return 0;
    *changed = true;
    return c->report(c->context, in_a ? 'C' : 'A', c->path.data, err);
}

static int compare_list(struct compare *c, int a, int b, char *const *x, char *const *y,
                        bool *changed, struct error *err)
{
    size_t base = c->path.len;
    int r = 0;
    while (r == 0 && (*x || *y)) {
        int order = !*x ? 1 : !*y ? -1 : strcmp(*x, *y);
        const char *name = order <= 0 ? *x : *y;
        r = buf_addf(&c->path, "%s%s", base > 0 ? "/" : "", name);
        if (r < 0)
            return error_set(err, ERROR_LIMIT, ENAMETOOLONG, "%.200s: the path is too long",
                             c->path.data);
        r = compare_name(c, order <= 0 ? a : -EBADF, order >= 0 ? b : -EBADF, name, changed, err);
        c->path.len = base;
        c->path.data[base] = '\0';
        x += order <= 0;
        y += order >= 0;
    }
    return r;
}

static int compare_directories(struct compare *c, int a, int b, bool *ret_changed,
                               struct error *err)
{
    _cleanup_strv_ char **x = NULL;
    _cleanup_strv_ char **y = NULL;
    int r;
    if (c->depth >= TREE_MAX_DEPTH)
        return error_set(err, ERROR_LIMIT, E2BIG, "%.100s...: more than %d directories deep",
                         c->path.data, TREE_MAX_DEPTH);
    if ((r = read_names(a, &x, err)) < 0 || (r = read_names(b, &y, err)) < 0)
        return r;
    c->depth++;
    r = compare_list(c, a, b, x, y, ret_changed, err);
    c->depth--;
    return r;
}

int tree_compare(int first_fd, int second_fd, tree_report report, void *context, struct error *err)
{
    struct compare c = {.report = report, .context = context, .path = BUF_INIT(TAR_MAX_PATH)};
    bool changed = false;
    int r = buf_add(&c.path, "", 0);
    r = r < 0 ? error_errno(err, r, "compare")
              : compare_directories(&c, first_fd, second_fd, &changed, err);
    buf_done(&c.path);
    return r;
}
