/*
 * The download of an image's layers: one loop over the session with the registry and over a
 * proa-layer for each layer that is on its way. The helper of the session writes a layer's bytes
 * into its file in ROOT/partial and a byte into a pipe; proa-layer reads the file as it grows and
 * ends when it has seen all of it, or when the pipe is closed. So a layer is unpacked and both of
 * its digests are computed while it arrives, and what was received is still there for the next try.
 *
 * A layer goes through: EXISTS; or WAITING (somebody else has its lock) and then EXISTS or the
 * rest; or DOWNLOADING, UNPACKING, DONE. A layer whose bytes were partly those of an earlier try
 * and turn out wrong is got once more from its first byte.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/process.h"
#include "service/image/fetch.h"
#include "wire/image/digest.h"

#define PARALLEL     4
#define PARALLEL_MAX 16
#define LOCK_POLL_MS 100
/* What a layer may unpack to: nothing that is not a bomb comes near this. */
#define UNPACKED_FREE  ((uint64_t)8 << 30)
#define UNPACKED_RATIO 200
#define UNPACKED_MOST  ((uint64_t)64 << 30)

enum stage {
    STAGE_WANTED,  /* not begun, or its lock is held by somebody else */
    STAGE_RUNNING, /* downloading and unpacking */
    STAGE_OVER,
};

struct fetch_layer {
    const struct manifest_descriptor *blob;
    const char *diff_id, *hex;
    size_t index;
    enum stage stage;
    enum image_layer_state told;
    int file; /* locked */
    uint64_t had;
    int64_t request; /* -1: none under way */
    bool again;
    struct image_helper_child child;
    struct error download_error;
};

struct fetch {
    const struct image_fetch *spec;
    int dir;
    struct fetch_layer *layers;
    size_t n, running, limit;
};

const char *image_layer_state_name(enum image_layer_state state)
{
    static const char *const names[] = {
        [LAYER_EXISTS] = "exists",
        [LAYER_WAITING] = "waiting",
        [LAYER_DOWNLOADING] = "downloading",
        [LAYER_UNPACKING] = "unpacking",
        [LAYER_DONE] = "done",
        [LAYER_PACKING] = "packing",
        [LAYER_UPLOADING] = "uploading",
        [LAYER_MOUNTED] = "mounted",
    };
    return names[state];
}

static void tell(struct fetch *f, struct fetch_layer *l, enum image_layer_state state,
                 uint64_t done)
{
    const struct image_pull *how = f->spec->how;
    const struct image_pull_event e = {.digest = l->blob->digest,
                                       .index = l->index,
                                       .n = f->n,
                                       .state = state,
                                       .done = done,
                                       .total = l->blob->size};
    if (how->event && (state != l->told || state == LAYER_DOWNLOADING))
        how->event(how->context, &e);
    l->told = state;
}

static void over(struct fetch *f, struct fetch_layer *l, enum image_layer_state state)
{
    if (l->stage == STAGE_RUNNING)
        f->running--;
    l->stage = STAGE_OVER;
    l->file = close_fd(l->file); /* and its lock */
    tell(f, l, state, l->blob->size);
}

/* The same blob twice is got once; that it should be two different layers is a lie. */
static int find_twins(struct fetch *f, struct fetch_layer *l, struct error *err)
{
    for (struct fetch_layer *o = f->layers; o < l; o++) {
        if (strcmp(o->blob->digest, l->blob->digest) != 0)
            continue;
        if (strcmp(o->diff_id, l->diff_id) != 0 || o->blob->size != l->blob->size)
            return error_set(err, ERROR_CORRUPT, EBADMSG,
                             "layer %.19s is listed twice with different contents",
                             l->blob->digest);
        l->stage = STAGE_OVER;
    }
    return 0;
}

static int ask_for_blob(struct fetch *f, struct fetch_layer *l, int wake, struct error *err)
{
    const int fds[] = {l->file, wake};
    json_t *request = json_pack("{sssssIsI}", "op", "blob", "digest", l->blob->digest, "size",
                                (json_int_t)l->blob->size, "offset", (json_int_t)l->had);
    return registry_session_send(f->spec->session, request, fds, ARRAY_SIZE(fds), &l->request, err);
}

/* What an earlier try left, if it can be a beginning. */
static int size_of_file(struct fetch_layer *l, struct error *err)
{
    struct stat st;
    if (fstat(l->file, &st) < 0)
        return error_errno(err, errno, "look at partial/%.12s", l->hex);
    l->had = (uint64_t)st.st_size;
    if (l->again || l->had > l->blob->size) {
        if (ftruncate(l->file, 0) < 0)
            return error_errno(err, errno, "empty partial/%.12s", l->hex);
        l->had = 0;
    }
    return 0;
}

static uint64_t most_unpacked(uint64_t bytes)
{
    return MIN(UNPACKED_FREE + UNPACKED_RATIO * MIN(bytes, UNPACKED_MOST), UNPACKED_MOST);
}

static int begin(struct fetch *f, struct fetch_layer *l, struct error *err)
{
    int pipe_fds[2], r;
    if ((r = size_of_file(l, err)) < 0)
        return r;
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    _cleanup_close_ int wake_read = pipe_fds[0], wake_write = pipe_fds[1];
    _cleanup_close_ int out = image_partial_output(f->dir, l->hex, ".erofs", err);
    if (out < 0)
        return out;
    _cleanup_close_ int split = image_partial_output(f->dir, l->hex, ".split", err);
    if (split < 0)
        return split;
    if ((r = fd_set_nonblock(wake_write, true)) < 0)
        return error_errno(err, r, "make a pipe");
    const struct image_helper h = {.command = "convert",
                                   .in = l->file,
                                   .out = out,
                                   .has_split = true,
                                   .split = split,
                                   .ranged = true,
                                   .size = l->blob->size,
                                   .max_bytes = most_unpacked(l->blob->size),
                                   .follows = true,
                                   .follow = wake_read};
    if ((r = image_helper_start(&h, &l->child, err)) < 0)
        return r;
    l->stage = STAGE_RUNNING;
    f->running++;
    error_clear(&l->download_error);
    tell(f, l, l->had < l->blob->size ? LAYER_DOWNLOADING : LAYER_UNPACKING, l->had);
    l->request = -1;
    return l->had < l->blob->size ? ask_for_blob(f, l, wake_write, err) : 0;
}

/* Its lock is ours. Meanwhile somebody else may have got it. */
static int begin_unless_there(struct fetch *f, struct fetch_layer *l, struct error *err)
{
    struct store_layer have = {0};
    bool known = false;
    int r = image_layer_known(f->spec->store, l->diff_id, &known, NULL, err);
    if (r < 0)
        return r;
    bool finished = !known && image_partial_finished(f->dir, l->hex, &have);
    bool same = finished && strcmp(have.diff_id, l->diff_id) == 0;
    free(have.diff_id);
    if (known)
        image_partial_remove(f->dir, l->hex);
    if (known || same) {
        over(f, l, LAYER_EXISTS);
        return 0;
    }
    if (finished)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "layer %.19s does not have the contents that the configuration names",
                         l->blob->digest);
    return begin(f, l, err);
}

/* What the store has is not touched; what another pull works on is looked at again later. */
static int try_layer(struct fetch *f, struct fetch_layer *l, struct error *err)
{
    bool known = false;
    int r = image_layer_known(f->spec->store, l->diff_id, &known, NULL, err);
    if (r < 0)
        return r;
    if (known) {
        over(f, l, LAYER_EXISTS);
        return 0;
    }
    r = image_partial_lock(f->dir, l->hex, &l->file, err);
    if (r > 0)
        return begin_unless_there(f, l, err);
    if (r == 0)
        tell(f, l, LAYER_WAITING, 0);
    return r;
}

/* *ret_wait: some are waited for that others hold. */
static int begin_more(struct fetch *f, bool *ret_wait, struct error *err)
{
    *ret_wait = false;
    for (size_t i = 0; i < f->n && f->running < f->limit; i++) {
        struct fetch_layer *l = &f->layers[i];
        if (l->stage != STAGE_WANTED)
            continue;
        int r = try_layer(f, l, err);
        if (r < 0)
            return error_prefix(err, "layer %.19s", l->blob->digest);
        *ret_wait |= l->stage == STAGE_WANTED;
    }
    return 0;
}

static int handle_answer(struct fetch *f, struct error *err)
{
    _cleanup_(registry_answer_done) struct registry_answer a = {0};
    int r = registry_session_receive(f->spec->session, &a, err);
    for (size_t i = 0; r == 0 && i < f->n; i++) {
        struct fetch_layer *l = &f->layers[i];
        if (l->stage != STAGE_RUNNING || l->request != a.id)
            continue;
        if (a.ended) {
            l->request = -1;
            l->download_error = a.failure;
        }
        tell(f, l, a.ended ? LAYER_UNPACKING : LAYER_DOWNLOADING, a.received);
    }
    return r;
}

/* From the first byte: what an earlier try left was wrong. */
static int begin_again(struct fetch *f, struct fetch_layer *l, struct error *err)
{
    int64_t id;
    int r = 0;
    if (l->request >= 0) /* it must not write into the file any more */
        r = registry_session_send(
            f->spec->session,
            json_pack("{sssI}", "op", "cancel", "request", (json_int_t)l->request), NULL, 0, &id,
            err);
    if (r < 0)
        return r;
    l->again = true;
    f->running--;
    return begin(f, l, err);
}

/* proa-layer has ended: what became of the layer? */
static int finish(struct fetch *f, struct fetch_layer *l, struct error *err)
{
    _cleanup_json_ json_t *result = NULL;
    struct store_layer layer = {0};
    struct error why = ERROR_INIT;
    int r = image_helper_finish(&l->child, &result, &why);
    if (l->download_error.code) { /* why proa-layer got no more */
        *err = l->download_error;
        return -err->code;
    }
    if (r == 0)
        r = image_check_layer(result, l->diff_id, l->blob->digest, &layer, &why);
    if (r < 0 && why.kind == ERROR_CORRUPT && l->had > 0)
        return begin_again(f, l, err);
    if (r < 0) {
        *err = why;
        image_partial_remove(f->dir, l->hex); /* it would be as wrong the next time */
        return r;
    }
    r = image_partial_finish(f->dir, l->hex, &layer, err);
    free(layer.diff_id);
    if (r == 0 && ftruncate(l->file, 0) < 0)
        r = error_errno(err, errno, "empty partial/%.12s", l->hex);
    if (r == 0)
        over(f, l, LAYER_DONE);
    return r;
}

/* A layer is over when its proa-layer is; a download that failed ends it by closing the pipe. */
static int handle_child(struct fetch *f, struct fetch_layer *l, struct error *err)
{
    int r = image_helper_read(&l->child, err);
    return r <= 0 ? r : finish(f, l, err);
}

static int wait_for_news(struct fetch *f, bool waits, struct error *err)
{
    struct pollfd fds[1 + 2 * PARALLEL_MAX];
    struct fetch_layer *owners[1 + 2 * PARALLEL_MAX];
    nfds_t n = 1;
    fds[0] = (struct pollfd){registry_session_fd(f->spec->session), POLLIN, 0};
    for (size_t i = 0; i < f->n; i++) {
        struct fetch_layer *l = &f->layers[i];
        if (l->stage != STAGE_RUNNING)
            continue;
        for (int k = 0; k < 2; k++) {
            fds[n] = (struct pollfd){k ? l->child.err_fd : l->child.out_fd, POLLIN, 0};
            owners[n++] = l;
        }
    }
    if (poll(fds, n, waits ? LOCK_POLL_MS : -1) < 0)
        return errno == EINTR ? 0 : error_errno(err, errno, "wait for layers");
    if (fds[0].revents) {
        int r = handle_answer(f, err);
        if (r < 0)
            return r;
    }
    for (nfds_t i = 1; i < n; i++) {
        int r = fds[i].revents && owners[i]->stage == STAGE_RUNNING
                    ? handle_child(f, owners[i], err)
                    : 0;
        if (r < 0)
            return error_prefix(err, "layer %.19s", owners[i]->blob->digest);
    }
    return 0;
}

static bool all_over(const struct fetch *f)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->layers[i].stage != STAGE_OVER)
            return false;
    return true;
}

static int run(struct fetch *f, struct error *err)
{
    bool waits;
    int r = 0;
    for (size_t i = 0; r == 0 && i < f->n; i++)
        r = find_twins(f, &f->layers[i], err);
    while (r == 0 && !all_over(f)) {
        r = begin_more(f, &waits, err);
        if (r == 0 && !all_over(f))
            r = wait_for_news(f, waits || f->running == 0, err);
    }
    return r;
}

int image_fetch_run(const struct image_fetch *spec, struct error *err)
{
    struct fetch f = {.spec = spec, .n = spec->n, .limit = spec->how->parallel};
    if (f.limit == 0 || f.limit > PARALLEL_MAX)
        f.limit = f.limit ? PARALLEL_MAX : PARALLEL;
    f.dir = image_partial_open(spec->store, err);
    if (f.dir < 0)
        return f.dir;
    f.layers = xcalloc(spec->n, sizeof(*f.layers));
    for (size_t i = 0; i < f.n; i++)
        f.layers[i] = (struct fetch_layer){.blob = &spec->layers[i],
                                           .diff_id = spec->diff_ids[i],
                                           .hex = digest_hex(spec->layers[i].digest),
                                           .index = i,
                                           .told = LAYER_DONE,
                                           .file = -EBADF,
                                           .request = -1,
                                           .child = IMAGE_HELPER_CHILD_INIT};
    int r = run(&f, err);
    for (size_t i = 0; i < f.n; i++) {
        image_helper_abandon(&f.layers[i].child);
        f.layers[i].file = close_fd(f.layers[i].file);
    }
    free(f.layers);
    close_fd(f.dir);
    return r;
}
