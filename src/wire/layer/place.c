/*
 * Paths of entries, resolved in the tree built so far, as a process chrooted into it would: a
 * symlink on the way is followed, absolute ones from the top, ".." of a target stops at the top. A
 * path's own ".." is refused: no honest archiver writes one. What the entry itself names on its way
 * and is missing is created; what a symlink names and is missing is an error, because there is no
 * knowing what it would be in the layers below.
 */
#include <string.h>

#include "wire/layer/layer-internal.h"

#define REST_MAX (2 * (LAYER_PATH_MAX + 1))

struct walk {
    struct erofs_writer *w;
    const char *path; /* for messages */
    bool create;
    struct erofs_inode *dir;
    char rest[REST_MAX]; /* what is still to be walked */
    size_t own;          /* how many last bytes of it are the entry's own, not a symlink's */
    unsigned int links;
};

static int refuse(const struct walk *k, struct error *err, const char *why)
{
    return error_set(err, ERROR_CORRUPT, EBADMSG, "\"%.200s\" %s", k->path, why);
}

static int make_directory(struct walk *k, const char *name, size_t len, bool opaque,
                          struct error *err)
{
    static const struct erofs_attributes implicit = {.mode = S_IFDIR | 0755};
    struct erofs_inode *made;
    int r = erofs_add(k->w, k->dir, name, len, &implicit, &made, err);
    if (r < 0)
        return r;
    k->dir = made;
    return opaque ? layer_set_opaque(k->w, made, err) : 0;
}

static int follow(struct walk *k, const struct erofs_inode *symlink, size_t after,
                  struct error *err)
{
    const char *target = erofs_target(symlink);
    size_t target_len = strlen(target), rest_len = strlen(k->rest + after);
    if (++k->links > LAYER_LINKS_MAX)
        return refuse(k, err, "goes through too many symbolic links");
    if (target_len + 1 + rest_len >= REST_MAX)
        return refuse(k, err, "is too long with the symbolic links it goes through");
    memmove(k->rest + target_len + 1, k->rest + after, rest_len + 1);
    memcpy(k->rest, target, target_len);
    k->rest[target_len] = '/';
    k->own = MIN(k->own, rest_len);
    if (*target == '/')
        k->dir = erofs_root(k->w);
    return 0;
}

/* One component, which is not the path's last. `after`: where the rest begins behind it. */
static int step(struct walk *k, size_t len, size_t after, struct error *err)
{
    const char *name = k->rest;
    bool own = strlen(name) <= k->own;
    struct erofs_inode *found;
    if (len == 2 && memcmp(name, "..", 2) == 0) {
        if (own)
            return refuse(k, err, "contains \"..\"");
        k->dir = erofs_parent(k->dir);
        return 0;
    }
    if (len > EROFS_NAME_MAX)
        return refuse(k, err, "contains a name of more than 255 bytes");
    found = erofs_lookup(k->w, k->dir, name, len);
    if (found && erofs_is_symlink(found))
        return follow(k, found, after, err);
    if (found && erofs_is_directory(found)) {
        k->dir = found;
        return 0;
    }
    bool whiteout = found && erofs_is_whiteout(found);
    if (found && !whiteout)
        return refuse(k, err, "lies below what is not a directory");
    if (!own)
        return refuse(k, err, "goes through a symbolic link that leads to nothing in the archive");
    if (!k->create)
        return refuse(k, err, "is not in the archive");
    if (whiteout)
        erofs_remove(k->w, k->dir, name, len);
    return make_directory(k, name, len, whiteout, err);
}

/* Cuts the last name off: trailing slashes and "/." do not count. */
static int split_last(const struct walk *k, struct layer_place *ret, size_t *ret_len,
                      struct error *err)
{
    size_t len = strlen(ret->text);
    for (;;) {
        if (len > 0 && ret->text[len - 1] == '/')
            len--;
        else if (len > 0 && ret->text[len - 1] == '.' && (len == 1 || ret->text[len - 2] == '/'))
            len--;
        else
            break;
    }
    ret->text[len] = '\0';
    const char *slash = strrchr(ret->text, '/');
    ret->name = slash ? slash + 1 : ret->text;
    ret->len = strlen(ret->name);
    *ret_len = (size_t)(ret->name - ret->text);
    if (strcmp(ret->name, "..") == 0)
        return refuse(k, err, "contains \"..\"");
    if (ret->len > EROFS_NAME_MAX)
        return refuse(k, err, "contains a name of more than 255 bytes");
    return 0;
}

int layer_find_place(struct erofs_writer *w, const char *path, bool create, struct layer_place *ret,
                     struct error *err)
{
    struct walk k = {.w = w, .path = path, .create = create, .dir = erofs_root(w)};
    size_t parent_len, len = strlen(path);
    if (len > LAYER_PATH_MAX)
        return error_set(err, ERROR_CORRUPT, ENAMETOOLONG, "\"%.60s...\" is longer than %u bytes",
                         path, LAYER_PATH_MAX);
    memcpy(ret->text, path, len + 1);
    int r = split_last(&k, ret, &parent_len, err);
    if (r < 0)
        return r;
    memcpy(k.rest, ret->text, parent_len);
    k.rest[parent_len] = '\0';
    k.own = parent_len;
    while (k.rest[0]) {
        size_t n = strcspn(k.rest, "/");
        size_t after = n + strspn(k.rest + n, "/");
        bool skip = n == 0 || (n == 1 && k.rest[0] == '.');
        unsigned int links = k.links;
        if (!skip && (r = step(&k, n, after, err)) < 0)
            return r;
        if (k.links == links) /* following a link has already replaced the rest */
            memmove(k.rest, k.rest + after, strlen(k.rest + after) + 1);
    }
    ret->dir = k.dir;
    return 0;
}
