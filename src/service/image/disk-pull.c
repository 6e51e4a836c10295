/*
 * A disk from a registry. What the store has at the same place is copied from there; the other
 * chunks are downloaded into memory, a few at once, and gathered in one file. Then proa-disk checks
 * the frames' digests and unpacks them, and the whole disk is cut again: each chunk has to be what
 * the configuration says before anything is visible.
 */
#include "service/image/disk-pull.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/text.h"
#include "service/image/disk-internal.h"
#include "service/registry/registry.h"
#include "wire/image/digest.h"

#define DOWNLOADS 8

struct download {
    int64_t request; /* -1: none */
    size_t chunk;    /* of the list to unpack */
    int fd;
};

struct fetch {
    const struct disk_pull *how;
    struct image_draft *draft;
    struct disk_index index; /* what the configuration says */
    struct disk_index list;  /* what has to be unpacked */
    int pack, spool;
    uint64_t spool_end, total, done;
    struct download downloads[DOWNLOADS];
};

static void tell(const struct fetch *f, enum image_layer_state state)
{
    const struct image_pull *how = f->how->how;
    const struct image_pull_event e = {
        .digest = f->draft->row.id, .n = 1, .state = state, .done = f->done, .total = f->total};
    if (how->event)
        how->event(how->context, &e);
}

/* --- what the store has --- */

static void take_place(void *context, int64_t pack)
{
    *(int64_t *)context = pack;
}

/* Whether it is what its row says is seen when the disk is cut. */
static int copy_known(struct fetch *f, const struct disk_chunk *c, bool *ret_known,
                      struct error *err)
{
    struct store *s = f->draft->work->store;
    _cleanup_close_ int fd = -EBADF;
    struct error gone = ERROR_INIT;
    int64_t pack = 0;
    uint64_t at = c->position * DISK_CHUNK_BYTES;
    *ret_known = false;
    int r = store_disk_find(s, c->hex, c->position, take_place, &pack, err);
    if (r < 0 || pack == 0 || disk_open_pack(s, pack, &fd, NULL, &gone) < 0)
        return r;
    r = disk_copy_range(fd, at, f->pack, at,
                        disk_chunk_length(f->index.virtual_bytes, c->position));
    *ret_known = r == 0;
    return r < 0 ? error_errno(err, r, "copy a chunk") : 0;
}

/* --- the others --- */

static int ask(struct fetch *f, struct download *d, size_t i, struct error *err)
{
    const struct manifest_descriptor *blob = &f->how->manifest->items[i];
    struct disk_chunk *c = &f->list.chunks[f->list.n_chunks];
    *c = f->index.chunks[i];
    c->packed_bytes = (uint32_t)blob->size;
    memcpy(c->packed_hex, digest_hex(blob->digest), sizeof(c->packed_hex));
    d->chunk = f->list.n_chunks++;
    d->fd = memfd_create("proa-chunk", MFD_CLOEXEC);
    if (d->fd < 0)
        return error_errno(err, errno, "make room for a chunk");
    return registry_session_send(f->how->session,
                                 json_pack("{sssssIsI}", "op", "blob", "digest", blob->digest,
                                           "size", (json_int_t)blob->size, "offset", (json_int_t)0),
                                 &d->fd, 1, &d->request, err);
}

static int take(struct fetch *f, struct download *d, struct error *err)
{
    struct disk_chunk *c = &f->list.chunks[d->chunk];
    c->packed_at = f->spool_end;
    f->spool_end += c->packed_bytes;
    f->done += c->packed_bytes;
    int r = disk_copy_range(d->fd, 0, f->spool, c->packed_at, c->packed_bytes);
    d->fd = close_fd(d->fd);
    d->request = -1;
    tell(f, LAYER_DOWNLOADING);
    return r < 0 ? error_errno(err, r, "keep a chunk") : 0;
}

static int receive(struct fetch *f, struct error *err)
{
    _cleanup_(registry_answer_done) struct registry_answer a = {0};
    int r = registry_session_receive(f->how->session, &a, err);
    for (size_t i = 0; r == 0 && a.ended && i < DOWNLOADS; i++) {
        struct download *d = &f->downloads[i];
        if (d->request != a.id)
            continue;
        if (a.failure.code)
            return error_set(err, a.failure.kind, a.failure.code, "chunk %u: %s",
                             f->list.chunks[d->chunk].position, a.failure.msg);
        r = take(f, d, err);
    }
    return r;
}

/* A place for one more download, or NULL; wait: when none is under way. */
static struct download *find_free(struct fetch *f, size_t *ret_busy)
{
    struct download *found = NULL;
    *ret_busy = 0;
    for (size_t i = 0; i < DOWNLOADS; i++) {
        *ret_busy += f->downloads[i].request >= 0;
        if (f->downloads[i].request < 0)
            found = &f->downloads[i];
    }
    return found;
}

static int get_chunk(struct fetch *f, size_t i, struct error *err)
{
    struct download *d;
    size_t busy;
    bool known = false;
    int r = copy_known(f, &f->index.chunks[i], &known, err);
    if (r < 0 || known) {
        f->done += f->how->manifest->items[i].size;
        return r;
    }
    while (r == 0 && !(d = find_free(f, &busy)))
        r = receive(f, err);
    return r < 0 ? r : ask(f, d, i, err);
}

static int get_chunks(struct fetch *f, struct error *err)
{
    size_t busy;
    int r = 0;
    for (size_t i = 0; r == 0 && i < f->index.n_chunks; i++)
        r = get_chunk(f, i, err);
    while (r == 0 && (find_free(f, &busy), busy > 0))
        r = receive(f, err);
    return r;
}

/* --- all of it --- */

static int check_all(struct fetch *f, struct error *err)
{
    _cleanup_(disk_index_done) struct disk_index found = {0};
    int r = disk_helper_cut(f->pack, -EBADF, f->index.virtual_bytes, NULL, &found, err);
    if (r < 0)
        return r;
    bool same = found.n_chunks == f->index.n_chunks;
    for (size_t i = 0; same && i < found.n_chunks; i++) {
        struct disk_chunk *c = &f->index.chunks[i];
        same = found.chunks[i].position == c->position && strcmp(found.chunks[i].hex, c->hex) == 0;
        c->data_bytes = found.chunks[i].data_bytes;
    }
    return same ? 0
                : error_set(err, ERROR_CORRUPT, EBADMSG,
                            "the disk is not what its configuration says");
}

static int open_files(struct fetch *f, struct error *err)
{
    f->pack = openat(f->draft->work->fd, "pack", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    if (f->pack < 0 || ftruncate(f->pack, (off_t)f->index.virtual_bytes) < 0)
        return error_errno(err, errno, "create a file in %s/tmp", f->draft->work->store->root);
    f->spool = image_work_unnamed(f->draft->work, err);
    return MIN(f->spool, 0);
}

static int fetch_all(struct fetch *f, struct error *err)
{
    const struct manifest *m = f->how->manifest;
    int r = open_files(f, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < m->n_items; i++)
        f->total += m->items[i].size;
    f->list.virtual_bytes = f->index.virtual_bytes;
    f->list.chunks = xcalloc(m->n_items + 1, sizeof(*f->list.chunks));
    tell(f, LAYER_DOWNLOADING);
    if ((r = get_chunks(f, err)) < 0)
        return r;
    tell(f, LAYER_UNPACKING);
    if ((r = disk_helper_unpack(f->spool, f->pack, &f->list, err)) < 0 ||
        (r = check_all(f, err)) < 0 || (r = disk_publish(f->draft, &f->index, err)) < 0)
        return r;
    tell(f, LAYER_DONE);
    return 0;
}

static int parse(struct fetch *f, struct error *err)
{
    const struct manifest *m = f->how->manifest;
    struct store_image *row = &f->draft->row;
    int r = disk_index_parse(f->how->config, strlen(f->how->config), &f->index, err);
    if (r < 0)
        return r;
    if (f->index.n_chunks != m->n_items)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "the configuration has %zu chunks, the manifest %zu", f->index.n_chunks,
                         m->n_items);
    row->id = xstrdup(m->config.digest);
    row->architecture = xstrdup(f->index.architecture);
    row->os = xstrdup("any");
    row->created_ns = time_now_ns();
    return image_draft_blob(f->draft, row->id, f->how->config, strlen(f->how->config), err);
}

int disk_pull(const struct disk_pull *how, struct image_draft *draft, struct error *err)
{
    struct fetch f = {.how = how, .draft = draft, .pack = -EBADF, .spool = -EBADF};
    for (size_t i = 0; i < DOWNLOADS; i++)
        f.downloads[i] = (struct download){.request = -1, .fd = -EBADF};
    int r = parse(&f, err);
    if (r == 0)
        r = fetch_all(&f, err);
    for (size_t i = 0; i < DOWNLOADS; i++)
        close_fd(f.downloads[i].fd);
    disk_index_done(&f.index);
    disk_index_done(&f.list);
    close_fd(f.pack);
    close_fd(f.spool);
    return r;
}
