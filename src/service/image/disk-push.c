/*
 * A disk to a registry: an OCI artifact whose configuration is the disk's own and whose layers are
 * its chunks, each one zstd frame. The same chunk is the same frame wherever it is packed, so a
 * registry keeps once what two versions share, and only what it has not is sent.
 */
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "service/image/disk-internal.h"
#include "service/image/push-internal.h"
#include "service/store/registry.h"
#include "wire/image/digest.h"
#include "wire/image/manifest-make.h"

#define UPLOADS      4
#define MANIFEST_MAX ((size_t)4 << 20) /* what registries take at most */

struct disk_push {
    struct push *p;
    int packed;
    struct disk_index index;
    int64_t under_way[UPLOADS]; /* -1: none */
    uint64_t total, done;
};

static void tell(const struct disk_push *d, enum image_layer_state state)
{
    const struct image_push *how = d->p->how;
    const struct image_pull_event e = {
        .digest = d->p->image->id, .n = 1, .state = state, .done = d->done, .total = d->total};
    if (how->event)
        how->event(how->context, &e);
}

static char *chunk_digest(const struct disk_chunk *c)
{
    return xasprintf(DIGEST_PREFIX "%s", c->packed_hex);
}

/* Waits until one more can be sent, or until all have been. */
static int settle(struct disk_push *d, bool all, size_t *ret_free, struct error *err)
{
    for (;;) {
        _cleanup_(registry_answer_done) struct registry_answer a = {0};
        size_t busy = 0;
        for (size_t i = 0; i < UPLOADS; i++) {
            busy += d->under_way[i] >= 0;
            if (d->under_way[i] < 0)
                *ret_free = i;
        }
        if (busy == 0 || (!all && busy < UPLOADS))
            return 0;
        int r = registry_session_receive(d->p->session, &a, err);
        if (r < 0)
            return r;
        for (size_t i = 0; a.ended && i < UPLOADS; i++)
            if (d->under_way[i] == a.id)
                d->under_way[i] = -1;
        if (a.failure.code)
            return error_set(err, a.failure.kind, a.failure.code, "%s", a.failure.msg);
    }
}

static int send_chunk(struct disk_push *d, const struct disk_chunk *c, const char *digest,
                      struct error *err)
{
    size_t free_place = 0;
    int r = settle(d, false, &free_place, err);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = memfd_create("proa-chunk", MFD_CLOEXEC);
    r = fd < 0 ? -errno : disk_copy_range(d->packed, c->packed_at, fd, 0, c->packed_bytes);
    if (r < 0)
        return error_errno(err, r, "read a chunk");
    return push_send_blob(d->p, digest, c->packed_bytes, fd, &d->under_way[free_place], err);
}

static int send_chunks(struct disk_push *d, struct error *err)
{
    size_t unused;
    int r = 0;
    for (size_t i = 0; r == 0 && i < d->index.n_chunks; i++) {
        const struct disk_chunk *c = &d->index.chunks[i];
        _cleanup_free_ char *digest = chunk_digest(c);
        bool there = false;
        r = push_is_there(d->p, digest, &there, err);
        if (r == 0 && !there)
            r = send_chunk(d, c, digest, err);
        d->done += c->packed_bytes;
        tell(d, LAYER_UPLOADING);
    }
    return r < 0 ? r : settle(d, true, &unused, err);
}

static int make_manifest(struct disk_push *d, char **ret, struct error *err)
{
    const struct disk_index *index = &d->index;
    const struct manifest_part config = {DISK_CONFIG_TYPE, d->p->image->id,
                                         strlen(d->p->image->config_json)};
    struct manifest_part *layers = xcalloc(index->n_chunks + 1, sizeof(*layers));
    for (size_t i = 0; i < index->n_chunks; i++)
        layers[i] = (struct manifest_part){DISK_CHUNK_TYPE, chunk_digest(&index->chunks[i]),
                                           index->chunks[i].packed_bytes};
    char *text = manifest_make(&config, layers, index->n_chunks);
    for (size_t i = 0; i < index->n_chunks; i++)
        free((char *)layers[i].digest);
    free(layers);
    if (strlen(text) > MANIFEST_MAX) {
        free(text);
        return error_set(err, ERROR_LIMIT, EFBIG,
                         "the disk has %zu chunks: no registry takes a manifest of so many",
                         index->n_chunks);
    }
    *ret = text;
    return 0;
}

static int pack(struct disk_push *d, struct error *err)
{
    struct push *p = d->p;
    tell(d, LAYER_PACKING);
    _cleanup_close_ int raw = image_work_unnamed(p->work, err);
    if (raw < 0)
        return raw;
    int r = disk_export(p->store, p->image->id, raw, "raw", err);
    if (r == 0)
        r = disk_helper_pack(raw, d->packed, p->image->disk_bytes, &d->index, err);
    for (size_t i = 0; r == 0 && i < d->index.n_chunks; i++)
        d->total += d->index.chunks[i].packed_bytes;
    return r;
}

static int push_all(struct disk_push *d, struct image_pushed *ret, struct error *err)
{
    struct push *p = d->p;
    _cleanup_free_ char *text = NULL;
    int r;
    if ((r = pack(d, err)) < 0 || (r = make_manifest(d, &text, err)) < 0 ||
        (r = send_chunks(d, err)) < 0 || (r = push_config(p, err)) < 0 ||
        (r = push_manifest(p, text, ret, err)) < 0)
        return r;
    tell(d, LAYER_DONE);
    return store_digest_add(p->store, p->image->id, p->repository, ret->digest, err);
}

int push_disk(struct push *p, struct image_pushed *ret, struct error *err)
{
    struct disk_push d = {.p = p, .packed = image_work_unnamed(p->work, err)};
    if (d.packed < 0)
        return d.packed;
    for (size_t i = 0; i < UPLOADS; i++)
        d.under_way[i] = -1;
    int r = push_all(&d, ret, err);
    disk_index_done(&d.index);
    close_fd(d.packed);
    return r;
}
