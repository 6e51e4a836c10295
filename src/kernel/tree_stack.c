/* The stack of open directories of an extraction (tree_receive.c), and names on the way into it. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "kernel/tree-internal.h"
#include "kernel/tree_receive-internal.h"

int receiver_apply(int fd, const struct attributes *a)
{
    if (!a->set)
        return 0;
    if (fchown(fd, a->uid, a->gid) < 0 && (errno != EPERM || geteuid() == 0))
        return -errno;
    if (fchmod(fd, a->mode) < 0 || futimens(fd, a->times) < 0)
        return -errno;
    return 0;
}

struct attributes receiver_attributes(const struct receiver *r, const struct tar_entry *e)
{
    struct attributes a = {.set = true, .mode = e->mode, .uid = e->uid, .gid = e->gid};
    if (r->owned) {
        a.mode &= e->type == TAR_DIRECTORY ? 01777 : 0777;
        a.uid = r->uid;
        a.gid = r->gid;
    }
    a.times[0] = a.times[1] = (struct timespec){(time_t)e->mtime, (long)e->mtime_ns};
    return a;
}

/* A stream says what an EROFS has; in a user namespace an overlay looks for another name. */
static int set_opaque(int fd, const struct tar_entry *e, struct error *err)
{
    if (fsetxattr(fd, "user.overlay.opaque", "y", 1, 0) < 0)
        return error_errno(err, errno, "hide what is below %.200s (attributes of users)", e->path);
    return 0;
}

int receiver_set_xattrs(const struct receiver *r, int fd, const struct tar_entry *e,
                        struct error *err)
{
    int result = 0;
    for (size_t i = 0; r->layer && result == 0 && i < e->n_xattrs; i++) {
        const struct tar_xattr *x = &e->xattrs[i];
        if (strcmp(x->name, "trusted.overlay.opaque") == 0 && e->type == TAR_DIRECTORY)
            result = set_opaque(fd, e, err);
        else if (tree_xattr_is_kept(x->name) && fsetxattr(fd, x->name, x->value, x->len, 0) < 0 &&
                 errno != EOPNOTSUPP && errno != EPERM)
            result = error_errno(err, errno, "set the attribute %.64s of %.200s", x->name, e->path);
    }
    return result;
}

int receiver_set_root(const struct receiver *r, const struct tar_entry *e, struct error *err)
{
    struct attributes a = receiver_attributes(r, e);
    int result = receiver_apply(r->base, &a);
    return result < 0 ? error_errno(err, result, "set the attributes of the root")
                      : receiver_set_xattrs(r, r->base, e, err);
}

/* --- the stack of directories --- */

int receiver_top(const struct receiver *r)
{
    return r->depth > 0 ? r->levels[r->depth - 1].fd : r->base;
}

int receiver_leave(struct receiver *r, size_t down_to, struct error *err)
{
    int result = 0;
    while (r->depth > down_to) {
        struct level *l = &r->levels[--r->depth];
        int applied = receiver_apply(l->fd, &l->attributes);
        if (applied < 0 && result == 0)
            result = error_errno(err, applied, "set the attributes of %.200s", l->name);
        l->fd = close_fd(l->fd);
        free(l->name);
    }
    return result;
}

int receiver_open(struct receiver *r, const char *name, bool make, struct error *err)
{
    if (r->depth == TREE_MAX_DEPTH)
        return error_set(err, ERROR_LIMIT, E2BIG, "more than %d directories deep", TREE_MAX_DEPTH);
    int parent = receiver_top(r);
    if (make && mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
        return error_errno(err, errno, "make the directory %.200s", name);
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
        return error_set(err, ERROR_CONFLICT, ENOTDIR,
                         "%.200s is no directory (or a symbolic link to one)", name);
    if (fd < 0)
        return error_errno(err, errno, "open %.200s", name);
    r->levels[r->depth++] = (struct level){.fd = fd, .name = xstrdup(name)};
    return 0;
}

int receiver_enter(struct receiver *r, char *const *parts, size_t n, struct error *err)
{
    size_t shared = 0;
    while (shared < n && shared < r->depth && strcmp(r->levels[shared].name, parts[shared]) == 0)
        shared++;
    int result = receiver_leave(r, shared, err);
    for (size_t i = shared; result == 0 && i < n; i++)
        result = receiver_open(r, parts[i], true, err);
    return result;
}

/* --- names --- */

int receiver_parts(struct receiver *r, const char *path, char ***ret, struct error *err)
{
    _cleanup_strv_ char **raw = strv_split(path, '/'), **parts = NULL;
    for (size_t i = 0; raw[i]; i++) {
        if (!*raw[i] || strcmp(raw[i], ".") == 0)
            continue;
        if (!path_is_name(raw[i]))
            return error_set(err, ERROR_CORRUPT, EINVAL, "the stream holds the name \"%.200s\"",
                             path);
        strv_add(&parts, raw[i]);
    }
    if (r->wanted && parts && strcmp(parts[0], r->wanted) != 0)
        return error_set(err, ERROR_CORRUPT, EINVAL,
                         "the stream holds \"%.200s\", which was not asked for", path);
    if (r->rename) {
        if (!r->top)
            r->top = xstrdup(parts ? parts[0] : ".");
        if (strcmp(r->top, ".") == 0) {
            char **longer = NULL;
            strv_add(&longer, r->rename);
            for (size_t i = 0; parts && parts[i]; i++)
                strv_add(&longer, parts[i]);
            strv_free(parts);
            parts = longer;
        } else if (!parts || strcmp(parts[0], r->top) != 0) {
            return error_set(err, ERROR_CONFLICT, EINVAL,
                             "the stream holds more than one thing, and %s is no directory",
                             r->rename);
        } else {
            xreplace(&parts[0], r->rename);
        }
    }
    *ret = TAKE_PTR(parts);
    return 0;
}
