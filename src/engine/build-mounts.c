/*
 * RUN --mount: caches that outlive the build, files of the context or of stages, secrets, and
 * memory.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/build-entries.h"
#include "engine/build-mounts.h"
#include "kernel/mount.h"

#define SECRET_MAX    ((size_t)512000)
#define PRIVATE_TRIES 64

/* --- the key --- */

/* The contents of what is bound; secrets and caches are not what a result is made of. */
static int add_bound(struct build_stage *s, const struct build_mount *m, struct sha256 *h,
                     struct error *err)
{
    struct build *b = s->build;
    struct build_root *from = NULL;
    _cleanup_(build_entries_done) struct build_entries entries = {0};
    _cleanup_files_ struct store_files *files = NULL;
    int r;
    if (m->from) {
        if ((r = build_root_from(s, m->from, &from, err)) == 0)
            build_key_add_layers(h, from);
        return r;
    }
    if (b->context.fd < 0)
        return error_invalid(err, "--mount: there is no context to mount from");
    if ((r = store_files_open(b->e->store, &files, err)) < 0)
        return r;
    struct build_walk w = {
        .b = b, .root = b->context.fd, .context = true, .files = files, .to = &entries};
    _cleanup_free_ char *path = path_normalize(m->source ? m->source : "/");
    r = build_entries_add(&w, path + 1, "", err);
    if (r < 0)
        return r;
    build_entries_digest(&entries, false, h);
    return store_files_write(files, err);
}

int build_mounts_key(struct build_stage *s, const struct build_mounts *m, struct sha256 *h,
                     struct error *err)
{
    int r = 0;
    sha256_add_u64(h, m->n);
    for (size_t i = 0; r == 0 && i < m->n; i++) {
        const struct build_mount *x = &m->list[i];
        const char *const texts[] = {x->target, x->source, x->from, x->id,  x->env,
                                     x->mode,   x->uid,    x->gid,  x->size};
        sha256_add_u64(h, x->kind);
        sha256_add_u64(h, x->writable && !x->read_only);
        for (size_t k = 0; k < ARRAY_SIZE(texts); k++)
            sha256_add_text(h, texts[k]);
        if (x->kind == KIND_BIND)
            r = add_bound(s, x, h, err);
    }
    return r;
}

/* --- making them --- */

void build_mounts_add(struct spec_mounts *to, const char *type, const char *source,
                      const char *target, const char *data, bool read_only)
{
    to->list = xreallocarray(to->list, to->n + 1, sizeof(*to->list));
    to->list[to->n++] = (struct spec_mount){.type = xstrdup(type),
                                            .source = xstrdup(source),
                                            .target = xstrdup(target),
                                            .data = xstrdup(data),
                                            .read_only = read_only};
}

int build_mount_text(struct build *b, const char *text, size_t len, mode_t mode, uint32_t uid,
                     uint32_t gid, char **ret_path, struct error *err)
{
    _cleanup_free_ char *path = NULL;
    int r = build_mount_point(b, false, &path, err);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    r = fd < 0 ? -errno : fd_write_all(fd, text, len);
    if (r == 0 && (fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0))
        r = -errno;
    if (r < 0)
        return error_errno(err, r, "write %s", path);
    *ret_path = TAKE_PTR(path);
    return 0;
}

/* An overlay of *path: with whiteouts over it (masks, may be NULL), and writable for one step. */
static int lay_over(struct build *b, char **path, char *masks, bool writable, struct error *err)
{
    _cleanup_free_ char *scratch = NULL, *place = NULL;
    _cleanup_close_ int fd = -EBADF, target = -EBADF;
    int r;
    if ((r = build_mount_point(b, true, &scratch, err)) < 0 ||
        (r = build_mount_point(b, true, &place, err)) < 0 || (r = bundle_make(scratch, err)) < 0)
        return r;
    char *lower[] = {*path, masks, NULL};
    _cleanup_free_ char *upper = path_join(scratch, "upper"), *work = path_join(scratch, "work");
    const struct mount_overlay o = {.lower = lower,
                                    .upper = writable ? upper : NULL,
                                    .work = writable ? work : NULL,
                                    .scratch = place,
                                    .user_ns = -EBADF};
    if ((r = mount_overlay(&o, &fd, err)) < 0)
        return r;
    target = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (target < 0 || (r = mount_attach(fd, target)) < 0)
        return error_errno(err, target < 0 ? errno : r, "mount a copy");
    xreplace(path, place);
    return 0;
}

/* What of the bound directory does not show, and where writes go. */
static int dress(struct build *b, const struct build_mount *m, int fd, char **place,
                 struct error *err)
{
    _cleanup_free_ char *masks = NULL;
    bool writable = m->writable && !m->read_only;
    int r = m->from ? 0 : build_masks(b, fd, m->source ? m->source : "/", &masks, err);
    return r < 0 || (!masks && !writable) ? r : lay_over(b, place, masks, writable, err);
}

/* What is bound gets a place of its own among our mounts: no name in somebody's tree is resolved a
 * second time. */
static int make_bind(struct build_stage *s, struct build_mount *m, struct spec_mounts *to,
                     struct error *err)
{
    struct build *b = s->build;
    struct build_root *from = &b->context;
    struct stat st;
    _cleanup_free_ char *place = NULL;
    int r = m->from ? build_root_from(s, m->from, &from, err) : 0;
    if (r == 0 && m->from)
        r = build_root_open(b, from, err);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = path_open_in_root(from->fd, m->source ? m->source : "/", O_PATH, 0);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, fd < 0 ? fd : errno, "--mount: source=%.100s", m->source);
    if ((r = build_mount_point(b, S_ISDIR(st.st_mode), &place, err)) < 0)
        return r;
    struct fd_path source = fd_path(fd);
    if (mount(source.text, place, NULL, MS_BIND | MS_REC, NULL) < 0)
        return error_errno(err, errno, "--mount: bind %.100s", m->source);
    bool writable = m->writable && !m->read_only;
    if (writable && !S_ISDIR(st.st_mode))
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "--mount=type=bind,rw: only of a directory");
    if (S_ISDIR(st.st_mode) && (r = dress(b, m, fd, &place, err)) < 0)
        return r;
    build_mounts_add(to, "bind", place, m->target, NULL, !writable);
    return 0;
}

static int make_cache_directory(const struct build_mount *m, const char *path, struct error *err)
{
    uint32_t uid = 0, gid = 0;
    mode_t mode = 0755;
    int r;
    if ((r = build_mount_mode(m->mode, 0755, &mode, err)) < 0 ||
        (r = build_mount_id(m->uid, 0, &uid, err)) < 0 ||
        (r = build_mount_id(m->gid, 0, &gid, err)) < 0)
        return r;
    if (mkdir(path, 0700) < 0)
        return errno == EEXIST ? 0 : error_errno(err, errno, "create %s", path);
    if (chown(path, uid, gid) < 0 || chmod(path, mode) < 0)
        return error_errno(err, errno, "create %s", path);
    return 0;
}

/* -EWOULDBLOCK when somebody else holds it and waiting is not wanted. */
static int lock_cache(struct build_mount *m, const char *path, bool wait, struct error *err)
{
    m->lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (m->lock < 0)
        return error_errno(err, errno, "open %s", path);
    while (flock(m->lock, wait ? LOCK_EX : LOCK_EX | LOCK_NB) < 0) {
        int r = -errno;
        if (r == -EINTR && (r = build_interrupted(err)) == 0)
            continue;
        m->lock = close_fd(m->lock);
        return r;
    }
    return 0;
}

static int make_cache(struct build_stage *s, struct build_mount *m, struct spec_mounts *to,
                      struct error *err)
{
    const char *id = m->id ? m->id : m->target;
    const char *sharing = m->sharing ? m->sharing : "shared";
    bool alone = strcmp(sharing, "private") == 0;
    _cleanup_free_ char *dir = path_join(s->build->e->store->root, "cache/build");
    struct sha256 h;
    sha256_init(&h);
    sha256_add_text(&h, id);
    struct build_key name = build_key_end(&h);
    int r = path_make_dirs(dir, 0700);
    if (r < 0)
        return error_errno(err, r, "create %s", dir);
    for (unsigned int i = 0; i < PRIVATE_TRIES; i++) {
        _cleanup_free_ char *path = xasprintf("%s/%.32s-%u", dir, name.text, i);
        r = make_cache_directory(m, path, err);
        if (r == 0 && strcmp(sharing, "shared") != 0)
            r = lock_cache(m, path, !alone, err);
        if (r == -EWOULDBLOCK)
            continue;
        if (r == 0)
            build_mounts_add(to, "bind", path, m->target, NULL, m->read_only);
        return r;
    }
    return error_set(err, ERROR_LIMIT, EBUSY, "the cache \"%.60s\" is used %u times at once", id,
                     PRIVATE_TRIES);
}

static int make_tmpfs(struct build_mount *m, struct spec_mounts *to)
{
    uint64_t bytes = 0;
    char data[40];
    if (m->size)
        (void)!parse_size(m->size, &bytes);
    snprintf(data, sizeof(data), "size=%llu", (unsigned long long)bytes);
    build_mounts_add(to, "tmpfs", NULL, m->target, m->size ? data : NULL, false);
    return 0;
}

/* --secret id=NAME[,src=FILE|env=VARIABLE]: what it holds, owned; -ENOENT when there is none. */
static int read_secret(struct build *b, const char *id, struct buf *out, struct error *err)
{
    for (size_t i = 0; b->o->secrets && b->o->secrets[i]; i++) {
        _cleanup_strv_ char **parts = strv_split(b->o->secrets[i], ',');
        const char *name = env_get(parts, "id"), *path = env_get(parts, "src");
        const char *variable = env_get(parts, "env");
        path = path ? path : env_get(parts, "source");
        if (!name || strcmp(name, id) != 0)
            continue;
        const char *value = variable ? getenv(variable) : !path ? getenv(id) : NULL;
        if (value)
            return buf_add_str(out, value) < 0 ? error_errno(err, EFBIG, "secret %.40s", id) : 0;
        _cleanup_close_ int fd = open(path ? path : id, O_RDONLY | O_CLOEXEC);
        int r = fd < 0 ? -errno : fd_read_to_end(fd, out);
        return r < 0 ? error_errno(err, r, "secret %.40s: %.200s", id, path ? path : id) : 0;
    }
    return -ENOENT;
}

static int make_secret(struct build_stage *s, struct build_mount *m, struct spec_mounts *to,
                       char ***env, struct error *err)
{
    _cleanup_buf_ struct buf secret = BUF_INIT(SECRET_MAX);
    _cleanup_free_ char *path = NULL;
    struct error why = ERROR_INIT;
    uint32_t uid, gid;
    mode_t mode;
    int r = read_secret(s->build, m->id, &secret, &why);
    if (r < 0 && !why.code)
        return m->required ? error_set(err, ERROR_NOT_FOUND, ENOENT,
                                       "the secret \"%.60s\" is required: give it with --secret "
                                       "id=%.60s,src=FILE",
                                       m->id, m->id)
                           : 0;
    if (r < 0) {
        if (err)
            *err = why;
        return r;
    }
    const char *text = secret.data ? secret.data : "";
    if (m->env) {
        _cleanup_free_ char *pair = xasprintf("%s=%s", m->env, text);
        env_set(env, pair);
    }
    if (!m->target)
        return 0;
    if ((r = build_mount_id(m->uid, 0, &uid, err)) < 0 ||
        (r = build_mount_id(m->gid, 0, &gid, err)) < 0 ||
        (r = build_mount_mode(m->mode, 0400, &mode, err)) < 0 ||
        (r = build_mount_text(s->build, text, secret.len, mode, uid, gid, &path, err)) < 0)
        return r;
    build_mounts_add(to, "bind", path, m->target, NULL, true);
    return 0;
}

int build_mounts_make(struct build_stage *s, struct build_mounts *m, struct spec_mounts *to,
                      char ***env, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < m->n; i++) {
        struct build_mount *x = &m->list[i];
        switch (x->kind) {
        case KIND_BIND:
            r = make_bind(s, x, to, err);
            break;
        case KIND_CACHE:
            r = make_cache(s, x, to, err);
            break;
        case KIND_TMPFS:
            r = make_tmpfs(x, to);
            break;
        case KIND_SECRET:
            r = make_secret(s, x, to, env, err);
            break;
        }
    }
    return r;
}
