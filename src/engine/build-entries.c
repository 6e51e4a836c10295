#include "engine/build-entries.h"

#include <fcntl.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "kernel/tree.h"

#define READ_BYTES ((size_t)262144)
#define LINK_MAX   4096u
/* A file that was changed this short a time before it was read may change again without its times
 * showing it, where they are coarse. */
#define SETTLED_S   2
#define MATCHES_MAX 65536u

void build_entries_done(struct build_entries *e)
{
    for (size_t i = 0; i < e->n; i++) {
        free(e->list[i].source);
        free(e->list[i].target);
        free(e->list[i].link);
        free(e->list[i].text);
    }
    free(e->list);
    *e = (struct build_entries){0};
}

static int add_entry(struct build_walk *w, const char *source, const char *target,
                     const struct stat *st, struct build_entry **ret, struct error *err)
{
    struct build_entries *e = w->to;
    if (e->n == BUILD_ENTRIES_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG, "more than %u files", BUILD_ENTRIES_MAX);
    if (e->n == e->room) {
        e->room = e->room ? 2 * e->room : 64;
        e->list = xreallocarray(e->list, e->room, sizeof(*e->list));
    }
    e->list[e->n] =
        (struct build_entry){.source = xstrdup(source), .target = xstrdup(target), .st = *st};
    *ret = &e->list[e->n++];
    return 0;
}

static void drop_last(struct build_entries *e)
{
    struct build_entry *last = &e->list[--e->n];
    free(last->source);
    free(last->target);
    free(last->link);
}

/* --- contents --- */

static int digest_file(int fd, unsigned char ret[static SHA256_SIZE])
{
    static unsigned char buffer[READ_BYTES];
    struct sha256 h;
    ssize_t n;
    sha256_init(&h);
    while ((n = fd_read_full(fd, buffer, sizeof(buffer))) > 0)
        sha256_add(&h, buffer, (size_t)n);
    sha256_end(&h, ret);
    return n < 0 ? (int)n : 0;
}

static bool is_settled(const struct stat *st)
{
    time_t now = time(NULL);
    return st->st_ctim.tv_sec + SETTLED_S < now && st->st_mtim.tv_sec + SETTLED_S < now;
}

static int add_digest(struct build_walk *w, int dir, const char *name, struct build_entry *e,
                      struct error *err)
{
    struct stat st;
    bool known = false;
    if (!w->files)
        return 0;
    int r = store_files_find(w->files, &e->st, e->digest, &known, err);
    if (r < 0 || known)
        return r;
    _cleanup_close_ int fd =
        openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, errno, "open %.200s", e->source);
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERROR_CONFLICT, ESTALE, "%.200s changed while it was read",
                         e->source);
    e->st = st;
    if ((r = digest_file(fd, e->digest)) < 0)
        return error_errno(err, r, "read %.200s", e->source);
    if (is_settled(&st))
        store_files_set(w->files, &st, e->digest);
    return 0;
}

static int add_link(int dir, const char *name, struct build_entry *e, struct error *err)
{
    char target[LINK_MAX + 1];
    ssize_t n = readlinkat(dir, name, target, LINK_MAX);
    if (n < 0)
        return error_errno(err, errno, "read %.200s", e->source);
    e->link = xstrndup(target, (size_t)n);
    return 0;
}

/* --- the walk --- */

static int walk_directory(struct build_walk *w, int fd, const char *source, const char *target,
                          const bool *matched, struct error *err);

static char *below(const char *directory, const char *name)
{
    return *directory ? xasprintf("%s/%s", directory, name) : xstrdup(name);
}

/* What is left out stays only where something in it was kept ("!"). */
static int walk_kept(struct build_walk *w, int dir, const char *name, const struct stat *st,
                     const char *source, const char *target, bool excluded, const bool *own,
                     struct error *err)
{
    struct build_entry *e;
    if (S_ISSOCK(st->st_mode) || (excluded && (!S_ISDIR(st->st_mode) || !w->b->ignore.any_negated)))
        return 0;
    int r = add_entry(w, source, target, st, &e, err);
    if (r < 0)
        return r;
    if (S_ISREG(st->st_mode))
        return add_digest(w, dir, name, e, err);
    if (S_ISLNK(st->st_mode))
        return add_link(dir, name, e, err);
    if (!S_ISDIR(st->st_mode))
        return 0;
    size_t n = w->to->n;
    _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, "open %.200s", source);
    r = walk_directory(w, fd, source, target, own, err);
    if (r == 0 && excluded && w->to->n == n)
        drop_last(w->to);
    return r;
}

static int walk_entry(struct build_walk *w, int dir, const char *name, const char *source,
                      const char *target, const bool *matched, struct error *err)
{
    struct stat st;
    bool excluded = false;
    _cleanup_free_ bool *own = NULL;
    if (w->context && w->b->ignore.n > 0) {
        own = xcalloc(w->b->ignore.n, sizeof(*own));
        excluded = ignore_excludes(&w->b->ignore, source, matched, own);
    }
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, errno, "%.200s", source);
    return walk_kept(w, dir, name, &st, source, target, excluded, own, err);
}

static int walk_directory(struct build_walk *w, int fd, const char *source, const char *target,
                          const bool *matched, struct error *err)
{
    _cleanup_strv_ char **names = NULL;
    int r = path_list_names(fd, &names);
    if (r < 0)
        return error_errno(err, r, "read %.200s", source);
    if (++w->depth > TREE_MAX_DEPTH)
        return error_set(err, ERROR_LIMIT, E2BIG, "%.100s...: more than %d directories deep",
                         source, TREE_MAX_DEPTH);
    for (size_t i = 0; r == 0 && names[i]; i++) {
        _cleanup_free_ char *from = below(source, names[i]);
        _cleanup_free_ char *to = below(target, names[i]);
        r = walk_entry(w, fd, names[i], from, to, matched, err);
    }
    w->depth--;
    return r == 0 ? build_interrupted(err) : r;
}

static bool is_excluded(const struct build_walk *w, const char *source, bool **ret_matched)
{
    return w->context && build_is_excluded(w->b, source, ret_matched);
}

static int not_found(const struct build_walk *w, const char *source, struct error *err)
{
    return error_set(err, ERROR_NOT_FOUND, ENOENT, "\"%.200s\" is not in the %s", source,
                     w->context ? "context, or .dockerignore leaves it out"
                                : "image it is copied from");
}

/* What a source's own name leads to. */
static int add_top(struct build_walk *w, int fd, const char *source, const char *target,
                   const bool *matched, struct error *err)
{
    struct stat st;
    struct build_entry *e;
    if (fstat(fd, &st) < 0)
        return error_errno(err, errno, "%.200s", source);
    if (S_ISDIR(st.st_mode)) {
        _cleanup_close_ int dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return dir < 0 ? error_errno(err, errno, "open %.200s", source)
                       : walk_directory(w, dir, source, target, matched, err);
    }
    int r = add_entry(w, source, target, &st, &e, err);
    if (r < 0 || !S_ISREG(st.st_mode))
        return r;
    struct fd_path proc = fd_path(fd);
    bool known = false;
    if (!w->files || (r = store_files_find(w->files, &st, e->digest, &known, err)) < 0 || known)
        return r;
    _cleanup_close_ int file = open(proc.text, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    r = file < 0 ? -errno : digest_file(file, e->digest);
    if (r < 0)
        return error_errno(err, r, "read %.200s", source);
    if (is_settled(&st))
        store_files_set(w->files, &st, e->digest);
    return 0;
}

int build_entries_add(struct build_walk *w, const char *source, const char *target,
                      struct error *err)
{
    _cleanup_free_ bool *matched = NULL;
    bool excluded = is_excluded(w, source, &matched);
    _cleanup_close_ int fd = path_open_in_root(w->root, source, O_PATH, 0);
    size_t n = w->to->n;
    struct stat st;
    if (fd == -ENOENT || (excluded && !w->b->ignore.any_negated))
        return not_found(w, source, err);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, fd < 0 ? fd : errno, "%.200s", source);
    if (excluded && !S_ISDIR(st.st_mode))
        return not_found(w, source, err);
    int r = add_top(w, fd, source, target, matched, err);
    return r == 0 && excluded && w->to->n == n ? not_found(w, source, err) : r;
}

int build_entries_add_text(struct build_walk *w, const char *target, const char *text,
                           struct error *err)
{
    const struct stat st = {.st_mode = S_IFREG | 0644,
                            .st_nlink = 1,
                            .st_size = (off_t)strlen(text),
                            .st_mtim.tv_sec = w->b->created_ns / 1000000000};
    struct build_entry *e;
    struct sha256 h;
    int r = add_entry(w, "", target, &st, &e, err);
    if (r < 0)
        return r;
    e->text = xstrdup(text);
    sha256_init(&h);
    sha256_add(&h, text, strlen(text));
    sha256_end(&h, e->digest);
    return 0;
}

/* --- patterns --- */

/* Every match of one part of a pattern below the paths that were found so far. */
static int match_part(const struct build_walk *w, char *const *found, const char *part, char ***ret,
                      struct error *err)
{
    _cleanup_strv_ char **next = strv_copy(NULL);
    _cleanup_pattern_ struct pattern *p = NULL;
    bool plain = pattern_is_plain(part);
    size_t n = 0;
    int r = plain ? 0 : pattern_compile(part, false, &p, err);
    for (size_t i = 0; r == 0 && found[i]; i++) {
        _cleanup_strv_ char **names = NULL;
        if (plain) {
            strv_take(&next, below(found[i], part));
            continue;
        }
        _cleanup_close_ int fd = path_open_in_root(w->root, found[i], O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0 || path_list_names(fd, &names) < 0)
            continue; /* no directory: nothing matches in it */
        for (size_t k = 0; names[k] && n < MATCHES_MAX; k++)
            if (pattern_matches(p, names[k])) {
                strv_take(&next, below(found[i], names[k]));
                n++;
            }
    }
    if (r == 0 && n == MATCHES_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG, "\"%.100s\" matches more than %u files", part,
                         MATCHES_MAX);
    if (r == 0)
        *ret = TAKE_PTR(next);
    return r;
}

int build_sources_find(const struct build_walk *w, const char *source, char ***ret,
                       struct error *err)
{
    _cleanup_free_ char *path = path_normalize(source);
    _cleanup_strv_ char **parts = strv_split(path + 1, '/');
    _cleanup_strv_ char **found = NULL;
    int r = 0;
    strv_add(&found, "");
    for (size_t i = 0; r == 0 && parts[i]; i++) {
        char **next = NULL;
        if ((r = match_part(w, found, parts[i], &next, err)) == 0) {
            strv_free(found);
            found = next;
        }
    }
    if (r < 0)
        return r;
    if (!found[0])
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "nothing in the %s matches \"%.200s\"",
                         w->context ? "context" : "image", source);
    *ret = TAKE_PTR(found);
    return 0;
}

/* --- the key --- */

void build_entries_digest(const struct build_entries *e, bool owners, struct sha256 *h)
{
    sha256_add_u64(h, e->n);
    for (size_t i = 0; i < e->n; i++) {
        const struct build_entry *x = &e->list[i];
        sha256_add_text(h, x->target);
        sha256_add_text(h, x->link);
        sha256_add_u64(h, S_ISLNK(x->st.st_mode) ? S_IFLNK : x->st.st_mode);
        sha256_add_u64(h, S_ISREG(x->st.st_mode) ? (uint64_t)x->st.st_size : 0);
        sha256_add_u64(h, S_ISCHR(x->st.st_mode) || S_ISBLK(x->st.st_mode) ? x->st.st_rdev : 0);
        sha256_add_u64(h, owners ? x->st.st_uid : 0);
        sha256_add_u64(h, owners ? x->st.st_gid : 0);
        if (S_ISREG(x->st.st_mode))
            sha256_add(h, x->digest, sizeof(x->digest));
    }
}
