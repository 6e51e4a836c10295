/*
 * COPY, ADD and WORKDIR. Docker's rules: of a directory the contents are copied; a file gets the
 * destination's name unless that ends with "/", is a directory in the image, or is to hold several
 * sources; links of the context and of the image are followed inside of each; what comes from the
 * context belongs to root, what comes from an image keeps its owner, unless --chown says otherwise.
 * ADD unpacks archives of the context.
 *
 * The key of a copy out of the context holds the contents; of one out of a stage or an image, its
 * layers, which are named by their contents: nothing has to be read or mounted to see that it is
 * known.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/build-entries.h"
#include "kernel/passwd.h"

struct copy {
    struct build_stage *s;
    const struct containerfile_step *step;
    char **sources;
    char *destination; /* absolute, as it is written */
    bool directory;    /* it ends with a slash */
    char *chown, *chmod;
    struct build_root *from; /* NULL: the context */
    struct store_files *files;
    struct build_layer layer;
    size_t n_plain; /* sources that are files */
};

static void copy_done(struct copy *c)
{
    strv_free(c->sources);
    free(c->destination);
    free(c->chown);
    free(c->chmod);
    store_files_close(c->files);
    build_layer_done(&c->layer);
}

/* --- words --- */

static int expand_flag(struct copy *c, const char *name, char **ret, struct error *err)
{
    const char *value = containerfile_flag(c->step, name);
    return value ? build_expand(c->s, value, ret, err) : 0;
}

static int parse_mode(struct copy *c, struct error *err)
{
    uint32_t mode = 0;
    const char *p = c->chmod;
    if (!p)
        return 0;
    for (; *p >= '0' && *p <= '7' && mode <= 07777; p++)
        mode = mode * 8 + (uint32_t)(*p - '0');
    if (*p || p == c->chmod || mode > 07777)
        return error_invalid(err, "--chmod=%.40s: use an octal number such as 0755", c->chmod);
    c->layer.has_mode = true;
    c->layer.mode = mode;
    return 0;
}

static int read_words(struct copy *c, struct error *err)
{
    size_t n = strv_len(c->step->words);
    int r;
    for (size_t i = 0; i < n; i++) {
        char *word = NULL;
        bool doc = strncmp(c->step->words[i], "<<", 2) == 0 && c->step->n_docs > 0;
        if (doc)
            word = xstrdup(c->step->words[i]);
        else if ((r = build_expand(c->s, c->step->words[i], &word, err)) < 0)
            return r;
        if (!*word && i + 1 < n) {
            free(word);
            return error_invalid(err, "an empty source");
        }
        strv_take(&c->sources, word);
    }
    char *last = c->sources[n - 1];
    size_t len = strlen(last);
    c->directory = len == 0 || last[len - 1] == '/' || strcmp(last, ".") == 0 ||
                   (len > 1 && strcmp(last + len - 2, "/.") == 0);
    c->destination = build_path(c->s, last);
    free(last);
    c->sources[n - 1] = NULL;
    if (n > 2 && !c->directory)
        return error_invalid(err, "several sources need a destination that ends with \"/\"");
    if ((r = expand_flag(c, "chown", &c->chown, err)) < 0 ||
        (r = expand_flag(c, "chmod", &c->chmod, err)) < 0)
        return r;
    return parse_mode(c, err);
}

static int refuse_unsupported(const struct copy *c, struct error *err)
{
    static const char *const flags[] = {"checksum", "keep-git-dir"};
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
        if (containerfile_flag(c->step, flags[i]))
            return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                             "ADD --%s is for sources that are downloaded, which ADD does not do",
                             flags[i]);
    for (size_t i = 0; c->step->kind == CF_ADD && c->sources[i]; i++)
        if (strstr(c->sources[i], "://") || strncmp(c->sources[i], "git@", 4) == 0)
            return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                             "ADD of %.100s: nothing is downloaded here; write RUN curl -fsSLo "
                             "FILE URL, or put the file into the context",
                             c->sources[i]);
    return 0;
}

/* --- sources --- */

static bool is_archive(int root, const char *path)
{
    _cleanup_close_ int fd = path_open_in_root(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    return fd >= 0 && build_is_archive(fd);
}

static struct build_item *add_item(struct copy *c, int root, bool foreign)
{
    struct build_layer *l = &c->layer;
    l->items = xreallocarray(l->items, l->n_items + 1, sizeof(*l->items));
    l->items[l->n_items] = (struct build_item){.root = root, .foreign = foreign};
    return &l->items[l->n_items++];
}

static int open_source_root(struct copy *c, struct error *err)
{
    int fd = c->from ? c->from->fd : c->s->build->context.fd;
    if (fd < 0)
        return error_invalid(err, "there is no context to copy from: it was a Containerfile on "
                                  "stdin alone");
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return copy < 0 ? error_errno(err, errno, "use the context") : copy;
}

/* One path. Its entries go below the destination, or are the destination (target ""). */
static int add_path(struct copy *c, const char *path, bool optional, struct error *err)
{
    struct stat st;
    struct error why = ERROR_INIT;
    _cleanup_close_ int root = open_source_root(c, err);
    if (root < 0)
        return root;
    _cleanup_close_ int fd = path_open_in_root(root, path, O_PATH, 0);
    bool directory = fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    struct build_item *item = add_item(c, TAKE_FD(root), c->from != NULL);
    struct build_walk w = {.b = c->s->build,
                           .root = item->root,
                           .context = !c->from,
                           .files = c->files,
                           .to = &item->entries};
    int r = build_entries_add(&w, path, directory ? "" : base, &why);
    if (r == -ENOENT && optional)
        return 0;
    if (r < 0) {
        if (err)
            *err = why;
        return r;
    }
    c->n_plain += !directory;
    return 0;
}

static int add_source(struct copy *c, const char *source, struct error *err)
{
    _cleanup_strv_ char **paths = NULL;
    struct build_walk w = {.b = c->s->build, .context = !c->from};
    _cleanup_close_ int root = open_source_root(c, err);
    if (root < 0)
        return root;
    w.root = root;
    bool plain = pattern_is_plain(source);
    size_t before = c->layer.n_items, n = 0;
    int r = build_sources_find(&w, source, &paths, err);
    for (size_t i = 0; r == 0 && paths[i]; i++)
        r = add_path(c, paths[i], !plain, err);
    for (size_t i = before; i < c->layer.n_items; i++)
        n += c->layer.items[i].entries.n;
    if (r == 0 && !plain && n == 0)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "nothing in the %s matches \"%.200s\"",
                         c->from ? "image" : "context", source);
    if (r == 0 && !plain && paths[1] && !c->directory)
        return error_invalid(err,
                             "\"%.100s\" matches several files: the destination has to end "
                             "with \"/\"",
                             source);
    return r;
}

static int add_doc(struct copy *c, size_t which, struct error *err)
{
    const struct containerfile_doc *doc = &c->step->docs[which];
    struct containerfile_scope scope = build_scope(c->s);
    _cleanup_free_ char *text = NULL;
    if (strchr(doc->name, '/') || !path_is_name(doc->name))
        return error_invalid(err, "\"%.60s\" is no name of a file", doc->name);
    int r = 0;
    _cleanup_free_ char *body = containerfile_doc_text(doc);
    if (doc->expand)
        r = containerfile_expand_text(&scope, body, &text, err);
    struct build_item *item = add_item(c, -EBADF, false);
    struct build_walk w = {.b = c->s->build, .to = &item->entries};
    if (r == 0)
        r = build_entries_add_text(&w, doc->name, text ? text : body, err);
    c->n_plain++;
    return r;
}

static int add_sources(struct copy *c, struct error *err)
{
    size_t docs = 0;
    int r = 0;
    for (size_t i = 0; r == 0 && c->sources[i]; i++) {
        if (docs < c->step->n_docs && strncmp(c->sources[i], "<<", 2) == 0)
            r = add_doc(c, docs++, err);
        else
            r = add_source(c, c->sources[i], err);
    }
    return r;
}

/* Archives that ADD names are looked into only now, in their place stands what they hold. */
static int unpack_archives(struct copy *c, struct error *err)
{
    for (size_t i = 0; i < c->layer.n_items; i++) {
        struct build_item *item = &c->layer.items[i];
        struct build_entry *e = item->entries.list;
        struct error why = ERROR_INIT;
        int mount = -EBADF;
        if (item->entries.n != 1 || !S_ISREG(e->st.st_mode) || e->text ||
            !is_archive(item->root, e->source))
            continue;
        _cleanup_close_ int fd = path_open_in_root(item->root, e->source, O_RDONLY | O_NONBLOCK, 0);
        if (fd < 0)
            return error_errno(err, fd, "open %.200s", e->source);
        int r = image_build_archive(&c->s->build->image, fd, &mount, &why);
        if (r < 0 && why.kind == ERROR_CORRUPT)
            continue; /* it only looks like one: a file as others */
        if (r < 0)
            return error_set(err, why.kind, why.code, "%.100s: %.300s", e->source, why.msg);
        build_entries_done(&item->entries);
        close_fd(item->root);
        item->root = mount;
        item->foreign = true;
        struct build_walk w = {.b = c->s->build, .root = mount, .to = &item->entries};
        if ((r = build_entries_add(&w, "", "", err)) < 0)
            return r;
        c->n_plain--;
    }
    return 0;
}

/* --- destination --- */

static bool is_directory_in_image(const struct copy *c)
{
    struct stat st;
    _cleanup_close_ int fd = path_open_in_root(c->s->root.fd, c->layer.destination, O_PATH, 0);
    return fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

/* One file, and a destination that is no directory: the file gets its name. */
static int place(struct copy *c, struct error *err)
{
    int r = build_resolve(c->s, c->destination, &c->layer.destination, err);
    if (r < 0 || c->directory || c->n_plain == 0 || is_directory_in_image(c))
        return r;
    for (size_t i = 0; i < c->layer.n_items; i++)
        if (c->layer.items[i].entries.n == 1 &&
            !S_ISDIR(c->layer.items[i].entries.list[0].st.st_mode))
            xreplace(&c->layer.items[i].entries.list[0].target, "");
    return 0;
}

/* A number stands for itself, and for the group too; names are looked up in the image. */
static int find_owner(struct copy *c, struct error *err)
{
    struct passwd_user user = {0};
    struct build_layer *l = &c->layer;
    if (!c->chown)
        return 0;
    int r = passwd_lookup(c->s->root.fd, c->chown, &user, err);
    if (r < 0)
        return error_prefix(err, "--chown=%.60s", c->chown);
    l->has_owner = true;
    l->uid = user.uid;
    l->gid = user.gid;
    if (*c->chown && strspn(c->chown, "0123456789") == strlen(c->chown))
        l->gid = user.uid;
    passwd_user_done(&user);
    return 0;
}

/* --- all of it --- */

static struct build_key make_key(struct copy *c)
{
    struct sha256 h;
    build_key_begin(&h, c->s, c->step->kind == CF_ADD ? "ADD" : "COPY");
    sha256_add_text(&h, c->destination);
    sha256_add_u64(&h, c->directory);
    sha256_add_text(&h, c->chown);
    sha256_add_text(&h, c->chmod);
    if (c->from) {
        build_key_add_list(&h, c->sources);
        build_key_add_layers(&h, c->from);
    }
    for (size_t i = 0; !c->from && i < c->layer.n_items; i++)
        build_entries_digest(&c->layer.items[i].entries, false, &h);
    return build_key_end(&h);
}

static int read_context(struct copy *c, struct error *err)
{
    int r = store_files_open(c->s->build->e->store, &c->files, err);
    if (r == 0)
        r = add_sources(c, err);
    return r < 0 ? r : store_files_write(c->files, err);
}

static int make_layer(struct copy *c, const struct build_key *key, const char *created_by,
                      struct error *err)
{
    struct build *b = c->s->build;
    int r = build_root_open(b, &c->s->root, err);
    if (r == 0 && c->from && (r = build_root_open(b, c->from, err)) == 0)
        r = add_sources(c, err);
    if (r == 0 && c->step->kind == CF_ADD)
        r = unpack_archives(c, err);
    if (r < 0 || (r = find_owner(c, err)) < 0 || (r = place(c, err)) < 0)
        return r;
    return build_layer_make(&c->layer, key, created_by, err);
}

static int find_from(struct copy *c, struct error *err)
{
    const char *from = containerfile_flag(c->step, "from");
    if (!from)
        return 0;
    if (strchr(from, '$'))
        return error_invalid(err, "--from=%.60s: a variable cannot say what to copy from", from);
    return build_root_from(c->s, from, &c->from, err);
}

int build_copy(struct build_stage *s, const struct containerfile_step *step, struct error *err)
{
    _cleanup_(copy_done) struct copy c = {.s = s, .step = step, .layer = {.stage = s}};
    _cleanup_free_ char *created_by =
        xasprintf("%s %s", containerfile_kind_name(step->kind), step->text);
    int r;
    if ((r = read_words(&c, err)) < 0 || (r = refuse_unsupported(&c, err)) < 0 ||
        (r = find_from(&c, err)) < 0 || (!c.from && (r = read_context(&c, err)) < 0))
        return r;
    struct build_key key = make_key(&c);
    r = build_key_use(s, &key, created_by, err);
    return r != 0 ? MIN(r, 0) : make_layer(&c, &key, created_by, err);
}

/* --- WORKDIR --- */

static int make_workdir(struct build_stage *s, const char *path, const struct build_key *key,
                        const char *created_by, struct error *err)
{
    _cleanup_(build_layer_done) struct build_layer l = {.stage = s};
    struct stat st;
    int r = build_root_open(s->build, &s->root, err);
    if (r == 0)
        r = build_resolve(s, path, &l.destination, err);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = path_open_in_root(s->root.fd, l.destination, O_PATH, 0);
    if (fd < 0)
        return build_layer_make(&l, key, created_by, err);
    if (fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode))
        return error_set(err, ERROR_CONFLICT, ENOTDIR, "%.200s is no directory in the image", path);
    struct image_layer none = {0};
    r = image_build_unchanged(&s->build->image, key->text, s->build->created_ns, err);
    if (r == 0)
        build_stage_add(s, &none, created_by, s->build->created_ns);
    return r;
}

int build_workdir(struct build_stage *s, const struct containerfile_step *step, struct error *err)
{
    _cleanup_free_ char *word = NULL, *path = NULL;
    _cleanup_free_ char *created_by = xasprintf("WORKDIR %s", step->text);
    struct sha256 h;
    int r = build_expand(s, step->text, &word, err);
    if (r < 0)
        return r;
    if (!*word)
        return error_invalid(err, "WORKDIR of an empty path");
    path = build_path(s, word);
    json_object_set_new(s->settings, "WorkingDir", json_string(path));
    build_key_begin(&h, s, "WORKDIR");
    sha256_add_text(&h, path);
    struct build_key key = build_key_end(&h);
    r = build_key_use(s, &key, created_by, err);
    return r != 0 ? MIN(r, 0) : make_workdir(s, path, &key, created_by, err);
}
