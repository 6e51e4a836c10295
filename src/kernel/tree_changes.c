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

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "kernel/tree-internal.h"

struct changes {
    struct tree_writer w;
    unsigned int depth;
};

static void changes_done(struct changes *c)
{
    tree_writer_done(&c->w);
}

/* c->w.path is the directory's with its slash. */
static int send_mark(struct changes *c, const char *prefix, const char *name, struct error *err)
{
    _cleanup_free_ char *path = xasprintf("%s%s%s", c->w.path.data, prefix, name);
    return tree_put_mark(&c->w, path, err);
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
    int r = tree_writer_xattrs(&c->w, fd, &x, err);
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
                return error_errno(err, errno, "%.200s", c->w.path.data);
            continue;
        }
        if (!S_ISDIR(st.st_mode)) {
            ret->opaque = true;
            break;
        }
        int fd = openat(l->fds[i], name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            return error_errno(err, errno, "open %.200s", c->w.path.data);
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
    int r = descend(c, l, first, name, &below, err);
    if (r < 0)
        return r;
    if (++c->depth > TREE_MAX_DEPTH)
        return error_set(err, ERROR_LIMIT, E2BIG, "%.100s...: more than %d directories deep",
                         c->w.path.data, TREE_MAX_DEPTH);
    if (fstat(below.fds[0], &st) < 0)
        return error_errno(err, errno, "look at %.200s", c->w.path.data);
    if ((r = buf_add(&c->w.path, "/", 1)) < 0)
        return error_errno(err, r, "%.200s", c->w.path.data);
    r = tree_put_directory(&c->w, below.fds[0], &st, err);
    if (r == 0 && below.opaque)
        r = send_mark(c, "", TREE_OPAQUE, err);
    if (r == 0)
        r = send_level(c, &below, err);
    c->depth--;
    return r;
}

/* The topmost layer that has the name decides what it is. */
static int send_child(struct changes *c, const struct level *l, const char *name, struct error *err)
{
    struct stat st;
    size_t base = c->w.path.len, first = 0;
    while (first < l->n && fstatat(l->fds[first], name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT)
            return error_errno(err, errno, "%.100s%.100s", c->w.path.data, name);
        first++;
    }
    if (first == l->n)
        return error_errno(err, ENOENT, "%.100s%.100s", c->w.path.data, name);
    int r = tree_check_name(&c->w, name, err);
    if (r < 0)
        return r;
    if (is_whiteout(&st))
        return send_mark(c, TREE_WHITEOUT, name, err);
    r = buf_add_str(&c->w.path, name);
    r = r < 0                 ? error_errno(err, r, "%.200s", c->w.path.data)
        : S_ISDIR(st.st_mode) ? send_directory(c, l, first, name, err)
                              : tree_put(&c->w, l->fds[first], name, &st, err);
    c->w.path.len = base;
    c->w.path.data[base] = '\0';
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
        return error_errno(err, r, "read %.200s", c->w.path.data);
    for (size_t i = 0; r == 0 && names[i]; i++)
        if (i == 0 || strcmp(names[i], names[i - 1]) != 0)
            r = send_child(c, l, names[i], err);
    return r;
}

int tree_send_changes(const int *dirs, size_t n, int64_t newest_ns, int out_fd, struct error *err)
{
    const struct level top = {.fds = (int *)dirs, .n = n};
    _cleanup_(changes_done) struct changes c = {.depth = 0};
    tree_writer_init(&c.w, out_fd);
    /* Not sparse: where holes are is the file system's choice, and the bytes must be the same. */
    c.w.attributes = c.w.layer = c.w.still = true;
    c.w.newest_ns = newest_ns;
    int r = buf_add_str(&c.w.path, "");
    if (r == 0)
        r = send_level(&c, &top, err);
    return r < 0 ? r : tree_writer_end(&c.w, err);
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
