/* Whether disks still are what was imported, to the last byte. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "service/image/disk-internal.h"

static const struct disk_chunk *find_chunk(const struct disk_index *index, uint32_t position)
{
    for (size_t low = 0, high = index->n_chunks; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (index->chunks[middle].position == position)
            return &index->chunks[middle];
        if (index->chunks[middle].position < position)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

struct verify {
    struct store *s;
    disk_broken broken;
    void *context;
    uint64_t bytes;
};

/* Unless it was removed while it was read. */
static int report(struct verify *v, const struct store_disk_pack *pack, uint32_t position,
                  const char *what, struct error *err)
{
    _cleanup_strv_ char **users = NULL;
    _cleanup_free_ char *line = NULL;
    int r = store_disk_users(v->s, pack->id, position, &users, err);
    if (r < 0 || !users[0])
        return r;
    line = xasprintf("disk pack %s, chunk %u: %s", pack->name, position, what);
    return v->broken(v->context, pack->id, position, line, err);
}

/* The pack's chunks against the digests of what is in it now. */
static int compare(struct verify *v, const struct store_disk_pack *pack,
                   const struct disk_index *found, struct error *err)
{
    _cleanup_free_ struct store_disk_chunk *chunks = NULL;
    size_t n;
    int r = store_disk_pack_chunks(v->s, pack->id, &chunks, &n, err);
    for (size_t i = 0; r == 0 && i < n; i++) {
        const struct disk_chunk *c = find_chunk(found, chunks[i].position);
        v->bytes += chunks[i].bytes;
        if (!c || strcmp(c->hex, chunks[i].hex) != 0)
            r = report(v, pack, chunks[i].position, "it is not what it was", err);
    }
    return r;
}

static int verify_pack(struct verify *v, const struct store_disk_pack *pack, struct error *err)
{
    _cleanup_(disk_index_done) struct disk_index found = {0};
    _cleanup_free_ char *name = NULL;
    _cleanup_close_ int fd = -EBADF;
    struct error missing = ERROR_INIT;
    struct stat st = {0};
    int r = store_disk_pack_name(v->s, pack->id, &name, err);
    if (r < 0 || !name) /* removed meanwhile */
        return r;
    if (disk_open_pack(v->s, pack->id, &fd, NULL, &missing) == 0 && fstat(fd, &st) == 0 &&
        st.st_size > 0)
        r = disk_helper_cut(fd, -EBADF, (uint64_t)st.st_size, NULL, &found, err);
    return r < 0 ? r : compare(v, pack, &found, err);
}

int disk_verify(struct store *s, disk_broken broken, void *context, uint64_t *ret_bytes,
                struct error *err)
{
    struct verify v = {.s = s, .broken = broken, .context = context};
    struct store_disk_pack *packs = NULL;
    int r = store_disk_packs(s, &packs, err);
    for (size_t i = 0; r == 0 && packs[i].name; i++)
        r = verify_pack(&v, &packs[i], err);
    store_disk_packs_free(packs);
    *ret_bytes = v.bytes;
    return r;
}

int disk_verify_config(struct store *s, const char *image_id, const char *text, size_t len,
                       struct error *err)
{
    _cleanup_(disk_index_done) struct disk_index index = {0};
    _cleanup_free_ struct store_disk_chunk *map = NULL;
    size_t n;
    int r = disk_index_parse(text, len, &index, err);
    if (r < 0 || (r = store_disk_map(s, image_id, &map, &n, err)) < 0)
        return r;
    bool same = n == index.n_chunks;
    for (size_t i = 0; same && i < n; i++)
        same = map[i].position == index.chunks[i].position &&
               strcmp(map[i].hex, index.chunks[i].hex) == 0;
    return same ? 0
                : error_set(err, ERROR_CORRUPT, EBADMSG,
                            "its configuration names other chunks than the store");
}
