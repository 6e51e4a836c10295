#include "service/image/build.h"

#include <fcntl.h>
#include <sys/file.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/image/internal.h"
#include "wire/image/digest.h"

static int open_lock(struct store *s, int how, struct error *err)
{
    _cleanup_free_ char *path = path_join(s->root, "cache/build.lock");
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, errno, "open %s", path);
    while (flock(fd, how) < 0)
        if (errno != EINTR)
            return errno == EWOULDBLOCK
                       ? error_set(err, ERROR_CONFLICT, EBUSY, "a build is running")
                       : error_errno(err, errno, "lock %s", path);
    return TAKE_FD(fd);
}

int image_build_begin(struct store *s, struct image_build *ret, struct error *err)
{
    struct image_work work;
    _cleanup_close_ int lock = open_lock(s, LOCK_SH, err);
    if (lock < 0)
        return lock;
    int r = image_work_begin(s, &work, err);
    if (r < 0)
        return r;
    *ret = (struct image_build){.store = s,
                                .work = xasprintf("%s/tmp/%s", s->root, work.name),
                                .work_fd = work.fd,
                                .held = -EBADF,
                                .lock = TAKE_FD(lock)};
    free(work.name);
    return 0;
}

/* The work directory as the rest of this folder knows it; borrows. */
static struct image_work work_of(const struct image_build *b)
{
    return (struct image_work){
        .store = b->store, .name = strrchr(b->work, '/') + 1, .fd = b->work_fd};
}

int image_build_reopen(struct image_build *b, struct error *err)
{
    int fd = open(b->work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, "open %s", b->work);
    b->held = b->work_fd;
    b->work_fd = fd;
    return 0;
}

void image_build_end(struct image_build *b)
{
    if (b->work)
        (void)!path_remove_tree(AT_FDCWD, b->work);
    b->work_fd = close_fd(b->work_fd);
    b->held = close_fd(b->held);
    b->lock = close_fd(b->lock);
    free(b->work);
    b->work = NULL;
}

static struct image_layer make_layer(const struct store *s, const char *diff_id, uint64_t bytes)
{
    return (struct image_layer){
        .diff_id = xstrdup(diff_id),
        .erofs = xasprintf("%s/layers/%s.erofs", s->root, digest_hex(diff_id)),
        .bytes = bytes,
    };
}

int image_build_cached(struct image_build *b, const char *key, struct image_layer *ret,
                       int64_t *ret_created_ns, bool *ret_found, struct error *err)
{
    struct store_step step = {0};
    struct image_layer layer = {0};
    int r = store_step_find(b->store, key, &step, ret_found, err);
    if (r == 0 && *ret_found && step.diff_id) {
        layer = make_layer(b->store, step.diff_id, step.bytes);
        r = image_layer_known(b->store, step.diff_id, ret_found, NULL, err);
    }
    if (r == 0 && *ret_found) {
        *ret = layer;
        *ret_created_ns = step.created_ns;
    } else {
        free(layer.diff_id);
        free(layer.erofs);
    }
    store_step_done(&step);
    return r;
}

int image_build_layer(struct image_build *b, int fd, const char *key, int64_t created_ns,
                      struct image_layer *ret, struct error *err)
{
    struct image_work work = work_of(b);
    _cleanup_(image_draft_done) struct image_draft draft = {.work = &work};
    struct image_helper source = {.in = fd, .need_end = true};
    int r = image_draft_layer(&draft, &source, NULL, NULL, err);
    if (r < 0 || (r = image_draft_keep(&draft, key, created_ns, err)) < 0)
        return r;
    *ret = make_layer(b->store, draft.row.layers[0].diff_id, draft.row.layers[0].bytes);
    return 0;
}

int image_build_unchanged(struct image_build *b, const char *key, int64_t created_ns,
                          struct error *err)
{
    return store_step_add(b->store, key, NULL, created_ns, err);
}

int image_build_erofs(int fd, const char *path, struct error *err)
{
    _cleanup_json_ json_t *result = NULL;
    _cleanup_close_ int out = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0400);
    if (out < 0)
        return error_errno(err, errno, "create %s", path);
    struct image_helper h = {.command = "convert", .in = fd, .out = out, .need_end = true};
    int r = image_helper_run(&h, &result, err);
    if (r < 0)
        unlink(path);
    return r;
}

/* The directory goes with the build's. */
static int unpack_archive(const struct image_build *b, const char *file, struct error *err)
{
    char random[17];
    random_hex(random, 8);
    _cleanup_free_ char *name = xasprintf("archive-%s", random);
    _cleanup_close_ int work = open(b->work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (work < 0)
        return error_errno(err, errno, "open %s", b->work);
    int r = image_unpack(file, work, name, err);
    int fd = r < 0 ? r : openat(work, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return r == 0 && fd < 0 ? error_errno(err, errno, "open %s", name) : fd;
}

int image_build_archive(struct image_build *b, int fd, int *ret_fd, struct error *err)
{
    _cleanup_free_ char *path = path_join(b->work, "archive.erofs");
    int r = image_build_erofs(fd, path, err);
    if (r < 0)
        return r;
    r = image_layers_are_mounted() ? image_layer_mount(path, err) : unpack_archive(b, path, err);
    unlink(path); /* the mount holds it */
    if (r >= 0)
        *ret_fd = r;
    return r < 0 ? r : 0;
}

static void fill_row(struct image_draft *d, const struct image_build_result *result)
{
    struct store_image *row = &d->row;
    row->architecture = xstrdup(result->architecture);
    row->variant = xstrdup(result->variant);
    row->os = xstrdup("linux");
    row->created_ns = result->created_ns;
    row->names = strv_copy(result->names);
    row->layers = xcalloc(result->n_layers, sizeof(*row->layers));
    for (size_t i = 0; i < result->n_layers; i++)
        row->layers[row->n_layers++] = (struct store_layer){
            .diff_id = xstrdup(result->layers[i].diff_id), .bytes = result->layers[i].bytes};
}

/* The same bytes again give the same image: a build that found everything writes nothing. */
static int already_there(struct store *s, const struct store_image *row, bool *ret,
                         struct error *err)
{
    struct store_image old = {0};
    struct error why = ERROR_INIT;
    int r = store_image_by_id(s, digest_hex(row->id), &old, &why);
    *ret = r == 0;
    if (r < 0)
        return 0; /* whatever it is, adding will say it */
    for (size_t i = 0; r == 0 && row->names[i]; i++)
        if (!strv_has(old.names, row->names[i]))
            r = store_image_set_name(s, row->id, row->names[i], err);
    store_image_done(&old);
    return r;
}

int image_build_publish(struct image_build *b, const struct image_build_result *result,
                        char **ret_id, struct error *err)
{
    struct image_work work = work_of(b);
    _cleanup_(image_draft_done) struct image_draft draft = {.work = &work};
    size_t len = strlen(result->config);
    bool there = false;
    draft.row.id = image_text_digest(result->config, len);
    fill_row(&draft, result);
    int r = already_there(b->store, &draft.row, &there, err);
    if (r < 0)
        return r;
    if (!there && ((r = image_draft_blob(&draft, draft.row.id, result->config, len, err)) < 0 ||
                   (r = image_draft_publish(&draft, err)) < 0))
        return r;
    *ret_id = xstrdup(draft.row.id);
    return 0;
}

int image_build_forget(struct store *s, int64_t before_ns, uint64_t *ret_bytes, struct error *err)
{
    _cleanup_work_ struct image_work mark = {.fd = -EBADF};
    struct store_layer *gone = NULL;
    _cleanup_close_ int lock = open_lock(s, LOCK_EX | LOCK_NB, err);
    if (lock < 0)
        return lock;
    int r = image_work_begin(s, &mark, err);
    if (r < 0 || (r = store_steps_forget(s, before_ns, &gone, err)) < 0)
        return r;
    *ret_bytes = 0;
    for (struct store_layer *l = gone; l->diff_id; l++) {
        *ret_bytes += l->bytes;
        (void)!image_unmount_layer(s, digest_hex(l->diff_id));
    }
    store_layer_list_free(gone);
    return image_remove_orphans(s, err);
}
