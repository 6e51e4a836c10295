/*
 * What .dockerignore leaves out of the context is not seen through RUN --mount=type=bind either.
 * The context is no copy, so a layer of whiteouts is laid over it: a directory of our tmpfs with
 * character devices 0:0, which an overlay takes for "not there".
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "engine/build-internal.h"
#include "kernel/tree.h"

struct masks {
    struct build *b;
    const char *top; /* where the whiteouts go */
    size_t n;
    unsigned int depth;
};

static int add_mask(struct masks *m, const char *path, struct error *err)
{
    _cleanup_free_ char *full = path_join(m->top, path);
    char *slash = strrchr(full, '/');
    *slash = '\0';
    int r = path_make_dirs(full, 0755);
    *slash = '/';
    if (r == 0 && mknod(full, S_IFCHR, 0) < 0)
        r = -errno;
    m->n++;
    return r < 0 ? error_errno(err, r, "hide %.200s", path) : 0;
}

static int walk(struct masks *m, int fd, const char *source, const char *path, const bool *matched,
                struct error *err);

/* source is the name in the context, which patterns are about; path the one below what is bound. */
static int look(struct masks *m, int dir, const char *name, const char *source, const char *path,
                const bool *matched, struct error *err)
{
    const struct ignore *ignore = &m->b->ignore;
    _cleanup_free_ bool *own = xcalloc(ignore->n, sizeof(*own));
    bool excluded = ignore_excludes(ignore, source, matched, own);
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, errno, "%.200s", source);
    if (excluded && (!S_ISDIR(st.st_mode) || !ignore->any_negated))
        return add_mask(m, path, err);
    if (!S_ISDIR(st.st_mode))
        return 0;
    _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? error_errno(err, errno, "open %.200s", source)
                  : walk(m, fd, source, path, own, err);
}

static int walk(struct masks *m, int fd, const char *source, const char *path, const bool *matched,
                struct error *err)
{
    _cleanup_strv_ char **names = NULL;
    int r = path_list_names(fd, &names);
    if (r < 0)
        return error_errno(err, r, "read %.200s", source);
    if (++m->depth > TREE_MAX_DEPTH)
        return error_set(err, ERROR_LIMIT, E2BIG, "%.100s...: more than %d directories deep",
                         source, TREE_MAX_DEPTH);
    for (size_t i = 0; r == 0 && names[i]; i++) {
        _cleanup_free_ char *name = xasprintf("%s%s%s", source, *source ? "/" : "", names[i]);
        _cleanup_free_ char *below = xasprintf("%s%s%s", path, *path ? "/" : "", names[i]);
        r = look(m, fd, names[i], name, below, matched, err);
    }
    m->depth--;
    return r;
}

int build_masks(struct build *b, int fd, const char *source, char **ret, struct error *err)
{
    _cleanup_free_ char *normal = path_normalize(source), *top = NULL;
    _cleanup_free_ bool *matched = NULL;
    *ret = NULL;
    if (b->ignore.n == 0)
        return 0;
    int r = build_mount_point(b, true, &top, err);
    struct masks m = {.b = b, .top = top};
    _cleanup_close_ int dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r == 0 && dir < 0)
        r = error_errno(err, errno, "open %.200s", source);
    (void)build_is_excluded(b, normal + 1, &matched);
    if (r == 0)
        r = walk(&m, dir, normal + 1, "", matched, err);
    if (r == 0 && m.n > 0)
        *ret = TAKE_PTR(top);
    return r;
}
