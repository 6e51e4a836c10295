/*
 * Into and out of packs. Which chunks are in the store already is asked inside the transaction that
 * publishes, so no other command can add or remove any between the question and the answer; what is
 * there is then punched out of the new pack again. It was written for nothing, but to the page
 * cache mostly, and the alternative would hold the store's lock while a disk is read.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/text.h"
#include "service/image/disk-internal.h"
#include "wire/image/digest.h"

#define SUFFIX      ".pack"
#define SHARE_LEAST 16 /* a pack brings this part of the disk at least, or is not shared */

char *disk_pack_file(const char *name)
{
    return xasprintf("%s" SUFFIX, name);
}

int disk_open_directory(struct store *s, struct error *err)
{
    _cleanup_free_ char *path = path_join(s->root, DISK_DIRECTORY);
    int r = path_make_dirs(path, 0700);
    return r < 0 ? error_errno(err, r, "create %s", path) : image_open_dir(s, DISK_DIRECTORY, err);
}

/* --- placing the chunks of a new disk --- */

struct candidate {
    int64_t pack;
    size_t chunk; /* of the index */
};

struct placing {
    const struct disk_index *index;
    int64_t *packs; /* by chunk; 0: not placed yet */
    size_t current;
    struct candidate *candidates;
    size_t n_candidates, capacity;
};

static void placing_done(struct placing *p)
{
    free(p->packs);
    free(p->candidates);
}

static void add_candidate(void *context, int64_t pack)
{
    struct placing *p = context;
    if (p->n_candidates == p->capacity) {
        p->capacity = p->capacity ? p->capacity * 2 : 64;
        p->candidates = xreallocarray(p->candidates, p->capacity, sizeof(*p->candidates));
    }
    p->candidates[p->n_candidates++] = (struct candidate){pack, p->current};
}

static int by_pack(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->pack != y->pack)
        return x->pack < y->pack ? -1 : 1;
    return x->chunk < y->chunk ? -1 : x->chunk > y->chunk;
}

/* The pack that has most of what is not placed yet; 0 when none has enough. */
static int64_t best_pack(const struct placing *p)
{
    int64_t best = 0;
    size_t most = 0;
    for (size_t i = 0, n; i < p->n_candidates; i += n) {
        size_t open = 0;
        for (n = 0; i + n < p->n_candidates && p->candidates[i + n].pack == p->candidates[i].pack;
             n++)
            open += p->packs[p->candidates[i + n].chunk] == 0;
        if (open > most) {
            most = open;
            best = p->candidates[i].pack;
        }
    }
    return most * SHARE_LEAST >= p->index->n_chunks ? best : 0;
}

static int share(struct store *s, struct placing *p, struct error *err)
{
    const struct disk_index *index = p->index;
    int64_t pack;
    for (p->current = 0; p->current < index->n_chunks; p->current++) {
        const struct disk_chunk *c = &index->chunks[p->current];
        int r = store_disk_find(s, c->hex, c->position, add_candidate, p, err);
        if (r < 0)
            return r;
    }
    if (p->n_candidates > 0)
        qsort(p->candidates, p->n_candidates, sizeof(*p->candidates), by_pack);
    while (p->n_candidates > 0 && (pack = best_pack(p)) != 0)
        for (size_t i = 0; i < p->n_candidates; i++)
            if (p->candidates[i].pack == pack && p->packs[p->candidates[i].chunk] == 0)
                p->packs[p->candidates[i].chunk] = pack;
    return 0;
}

/* --- the new pack --- */

static int punch(int fd, uint64_t from, uint64_t to)
{
    off_t data = from < to ? lseek(fd, (off_t)from, SEEK_DATA) : -1;
    if (data < 0 || (uint64_t)data >= to)
        return 0; /* nothing there */
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
                     (off_t)(to - from)) < 0
               ? -errno
               : 0;
}

/* Everything but these chunks (by position). */
static int punch_others(int fd, const struct store_disk_chunk *keep, size_t n, struct error *err)
{
    struct stat st;
    uint64_t from = 0;
    int r = fstat(fd, &st) < 0 ? -errno : 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        r = punch(fd, from, keep[i].position * DISK_CHUNK_BYTES);
        from = (keep[i].position + (uint64_t)1) * DISK_CHUNK_BYTES;
    }
    if (r == 0)
        r = punch(fd, from, (uint64_t)st.st_size);
    /* Without holes only room is lost. */
    return r < 0 && r != -EOPNOTSUPP ? error_errno(err, r, "free what a pack does not need") : 0;
}

static int move_pack(struct image_draft *d, const char *name, const struct store_disk_chunk *keep,
                     size_t n, struct error *err)
{
    _cleanup_close_ int to = disk_open_directory(d->work->store, err);
    if (to < 0)
        return to;
    _cleanup_close_ int fd = openat(d->work->fd, "pack", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, "open a pack");
    _cleanup_free_ char *file = disk_pack_file(name);
    int r = punch_others(fd, keep, n, err);
    if (r == 0 && renameat(d->work->fd, "pack", to, file) < 0)
        r = error_errno(err, errno, "put %s into %s", file, d->work->store->root);
    return r;
}

/* What was found nowhere stays where it is in the new pack. */
static int add_pack(struct image_draft *d, struct placing *p, struct error *err)
{
    struct store *s = d->work->store;
    const struct disk_index *index = p->index;
    char name[33];
    size_t n = 0;
    int64_t pack = 0;
    int r = 0;
    _cleanup_free_ struct store_disk_chunk *keep = xcalloc(index->n_chunks + 1, sizeof(*keep));
    random_hex(name, 16);
    for (size_t i = 0; r == 0 && i < index->n_chunks; i++) {
        const struct disk_chunk *c = &index->chunks[i];
        if (p->packs[i] != 0)
            continue;
        if (pack == 0 && (r = store_disk_add_pack(s, name, &pack, err)) < 0)
            return r;
        p->packs[i] = pack;
        keep[n] = (struct store_disk_chunk){
            .position = c->position, .pack = pack, .bytes = c->data_bytes};
        memcpy(keep[n].hex, c->hex, sizeof(c->hex));
        r = store_disk_add_chunk(s, &keep[n++], err);
    }
    return r < 0 || n == 0 ? r : move_pack(d, name, keep, n, err);
}

static int add_map(struct store *s, const char *id, const struct placing *p, struct error *err)
{
    size_t n = p->index->n_chunks;
    _cleanup_free_ struct store_disk_chunk *map = xcalloc(n + 1, sizeof(*map));
    for (size_t i = 0; i < n; i++) {
        map[i].position = p->index->chunks[i].position;
        map[i].pack = p->packs[i];
    }
    return store_disk_add(s, id, p->index->virtual_bytes, map, n, err);
}

static int publish(struct image_draft *d, const struct disk_index *index, struct error *err)
{
    struct store *s = d->work->store;
    _cleanup_(placing_done) struct placing p = {.index = index};
    bool known = false;
    int r = store_disk_get(s, d->row.id, &known, NULL, NULL, err);
    if (r == 0)
        r = image_draft_publish(d, err);
    if (r < 0 || known) /* it is there, and has its names now */
        return r;
    p.packs = xcalloc(index->n_chunks + 1, sizeof(*p.packs));
    if ((r = share(s, &p, err)) < 0 || (r = add_pack(d, &p, err)) < 0)
        return r;
    return add_map(s, d->row.id, &p, err);
}

int disk_publish(struct image_draft *d, const struct disk_index *index, struct error *err)
{
    struct store *s = d->work->store;
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = publish(d, index, err);
    int ended = store_end(s, r == 0, r == 0 ? err : NULL);
    if (r < 0 || ended < 0)
        (void)!image_remove_orphans(s, NULL);
    return r < 0 ? r : ended;
}

/* --- sweeping --- */

static const struct store_disk_pack *find_pack(const struct store_disk_pack *packs,
                                               const char *file)
{
    size_t len = strlen(file), suffix = strlen(SUFFIX);
    for (const struct store_disk_pack *p = packs; p->name; p++)
        if (len == strlen(p->name) + suffix && strncmp(file, p->name, len - suffix) == 0)
            return p;
    return NULL;
}

int disk_pack_known(struct store *s, const char *file, bool *ret_known, struct error *err)
{
    struct store_disk_pack *packs = NULL;
    int r = store_disk_packs(s, &packs, err);
    if (r < 0)
        return r;
    *ret_known = find_pack(packs, file) != NULL;
    store_disk_packs_free(packs);
    return 0;
}

/* A pack that somebody reads stays as it is, until the next time. */
static int trim_pack(struct store *s, int dir, const char *file, int64_t pack, struct error *err)
{
    _cleanup_free_ struct store_disk_chunk *chunks = NULL;
    size_t n;
    _cleanup_close_ int fd = openat(dir, file, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return 0;
    int r = store_disk_pack_chunks(s, pack, &chunks, &n, err);
    return r < 0 ? r : punch_others(fd, chunks, n, err);
}

static int sweep(struct store *s, DIR *dir, const struct store_disk_pack *packs, struct error *err)
{
    struct dirent *e;
    int r = 0;
    while (r == 0 && (e = readdir(dir))) {
        size_t len = strlen(e->d_name), suffix = strlen(SUFFIX);
        if (len <= suffix || strcmp(e->d_name + len - suffix, SUFFIX) != 0)
            continue;
        const struct store_disk_pack *pack = find_pack(packs, e->d_name);
        if (pack)
            r = trim_pack(s, dirfd(dir), e->d_name, pack->id, err);
        else
            unlinkat(dirfd(dir), e->d_name, 0);
    }
    return r;
}

int disk_sweep(struct store *s, struct error *err)
{
    struct store_disk_pack *packs = NULL;
    _cleanup_free_ char *path = path_join(s->root, DISK_DIRECTORY);
    DIR *dir = opendir(path);
    if (!dir) /* no disk was ever imported */
        return errno == ENOENT ? 0 : error_errno(err, errno, "read %s", path);
    int r = store_begin(s, err);
    if (r == 0) {
        r = store_disk_packs(s, &packs, err);
        if (r == 0)
            r = sweep(s, dir, packs, err);
        store_disk_packs_free(packs);
        int ended = store_end(s, r == 0, r == 0 ? err : NULL);
        r = r < 0 ? r : ended;
    }
    closedir(dir);
    return r;
}
