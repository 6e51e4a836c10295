#include "wire/disk/cut.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <zstd.h>

#include "base/alloc.h"
#include "base/text.h"

enum { BLOCK = 4096, THREADS_MAX = 4, LEVEL = 3 };

struct cut {
    const struct disk_cut *how;
    uint32_t n_positions;
    atomic_uint next;
    pthread_mutex_t lock; /* over all that follows */
    struct disk_index index;
    size_t capacity;
    uint64_t done, packed_end;
    int failed; /* the first error of a thread */
    struct error err;
};

struct worker {
    struct cut *cut;
    EVP_MD_CTX *hash;
    unsigned char *buffer, *packed;
    ZSTD_CCtx *zstd;
    pthread_t thread;
    bool started;
};

static int pread_all(int fd, void *data, size_t len, uint64_t offset)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, (char *)data + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0) /* shorter than it was: as if zeros were there, which the digest tells */
            memset((char *)data + done, 0, len - done);
        done += n == 0 ? len - done : (size_t)n;
    }
    return 0;
}

static int pwrite_all(int fd, const void *data, size_t len, uint64_t offset)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(fd, (const char *)data + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static bool is_zero(const unsigned char *p, size_t len)
{
    return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

/* Writes what is not zero. Gives how much that is. */
static int write_blocks(int out, const unsigned char *data, size_t len, uint64_t offset,
                        uint32_t *ret_bytes)
{
    uint32_t bytes = 0;
    int r = 0;
    for (size_t at = 0, n; r == 0 && at < len; at += n) {
        bool zero = is_zero(data + at, MIN((size_t)BLOCK, len - at));
        for (n = BLOCK; at + n < len; n += BLOCK)
            if (is_zero(data + at + n, MIN((size_t)BLOCK, len - at - n)) != zero)
                break;
        n = MIN(n, len - at);
        if (zero)
            continue;
        bytes += (uint32_t)n;
        if (out >= 0)
            r = pwrite_all(out, data + at, n, offset + at);
    }
    *ret_bytes = bytes;
    return r;
}

static int hash(EVP_MD_CTX *h, const void *data, size_t len, char *ret_hex)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (EVP_DigestInit_ex(h, EVP_sha256(), NULL) != 1 || EVP_DigestUpdate(h, data, len) != 1 ||
        EVP_DigestFinal_ex(h, digest, NULL) != 1)
        return -EIO;
    hex_encode(digest, 32, ret_hex);
    return 0;
}

/* The same chunk packed twice is the same frame: one level, one thread, no time in it. */
static int pack_chunk(struct worker *w, size_t len, struct disk_chunk *c)
{
    size_t n = ZSTD_compressCCtx(w->zstd, w->packed, DISK_PACKED_MAX, w->buffer, len, LEVEL);
    if (ZSTD_isError(n))
        return -EIO;
    pthread_mutex_lock(&w->cut->lock);
    c->packed_at = w->cut->packed_end;
    w->cut->packed_end += n;
    pthread_mutex_unlock(&w->cut->lock);
    c->packed_bytes = (uint32_t)n;
    int r = hash(w->hash, w->packed, n, c->packed_hex);
    return r < 0 ? r : pwrite_all(w->cut->how->packed, w->packed, n, c->packed_at);
}

/* True when there is nothing but a hole from here to the end of the chunk. */
static bool is_hole(int fd, uint64_t start, size_t len)
{
    off_t data = lseek(fd, (off_t)start, SEEK_DATA);
    return data < 0 ? errno == ENXIO : (uint64_t)data >= start + len;
}

/* ret->data_bytes 0: a hole. */
static int cut_chunk(struct worker *w, uint32_t position, struct disk_chunk *ret)
{
    const struct disk_cut *how = w->cut->how;
    uint64_t start = position * DISK_CHUNK_BYTES;
    size_t len = (size_t)disk_chunk_length(how->bytes, position);
    *ret = (struct disk_chunk){.position = position};
    if (is_hole(how->in, start, len))
        return 0;
    int r = pread_all(how->in, w->buffer, len, start);
    if (r == 0)
        r = write_blocks(how->out, w->buffer, len, start, &ret->data_bytes);
    if (r < 0 || ret->data_bytes == 0)
        return r;
    r = hash(w->hash, w->buffer, len, ret->hex);
    return r == 0 && how->packed >= 0 ? pack_chunk(w, len, ret) : r;
}

static int add_chunk(struct cut *c, const struct disk_chunk *chunk)
{
    struct disk_index *i = &c->index;
    if (chunk->data_bytes == 0)
        return 0;
    if (i->n_chunks == DISK_MAX_CHUNKS)
        return error_set(&c->err, ERROR_LIMIT, EFBIG, "the disk has more than %llu GiB of data",
                         (unsigned long long)(DISK_MAX_CHUNKS * DISK_CHUNK_BYTES >> 30));
    if (i->n_chunks == c->capacity) {
        c->capacity = c->capacity ? c->capacity * 2 : 256;
        i->chunks = xreallocarray(i->chunks, c->capacity, sizeof(*i->chunks));
    }
    i->chunks[i->n_chunks++] = *chunk;
    return 0;
}

/* Records what became of a position; false when the work is over. */
static bool record(struct cut *c, int r, const struct disk_chunk *chunk)
{
    pthread_mutex_lock(&c->lock);
    if (c->failed == 0) {
        if (r < 0)
            c->failed = error_errno(&c->err, r, "cut the disk into chunks");
        else
            c->failed = add_chunk(c, chunk);
        c->done += disk_chunk_length(c->how->bytes, chunk->position);
        if (c->failed == 0 && c->how->progress && chunk->data_bytes > 0)
            c->how->progress(c->done);
    }
    bool on = c->failed == 0;
    pthread_mutex_unlock(&c->lock);
    return on;
}

static void *work(void *argument)
{
    struct worker *w = argument;
    struct disk_chunk chunk;
    for (;;) {
        uint32_t position = atomic_fetch_add(&w->cut->next, 1);
        if (position >= w->cut->n_positions)
            return NULL;
        int r = cut_chunk(w, position, &chunk);
        if (!record(w->cut, r, &chunk))
            return NULL;
    }
}

static int by_position(const void *a, const void *b)
{
    uint32_t x = ((const struct disk_chunk *)a)->position,
             y = ((const struct disk_chunk *)b)->position;
    return x < y ? -1 : x > y;
}

/* The workers wait at the lock until no more of them are made. */
static int run_workers(struct cut *c, struct worker *workers, int (*ready)(struct error *err))
{
    int r = 0;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 1; r == 0 && i < THREADS_MAX; i++) {
        workers[i].started = pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0;
        if (!workers[i].started)
            break; /* fewer do it as well */
    }
    if ((r = ready(&c->err)) < 0)
        c->failed = r;
    pthread_mutex_unlock(&c->lock);
    if (r == 0)
        work(&workers[0]);
    for (size_t i = 1; i < THREADS_MAX; i++)
        if (workers[i].started)
            pthread_join(workers[i].thread, NULL);
    return c->failed;
}

static int prepare(struct cut *c, struct worker *workers)
{
    for (size_t i = 0; i < THREADS_MAX; i++) {
        workers[i] = (struct worker){.cut = c, .hash = EVP_MD_CTX_new()};
        workers[i].buffer = xcalloc(1, DISK_CHUNK_BYTES);
        if (c->how->packed >= 0) {
            workers[i].packed = xcalloc(1, DISK_PACKED_MAX);
            workers[i].zstd = ZSTD_createCCtx();
        }
        if (!workers[i].hash || (c->how->packed >= 0 && !workers[i].zstd))
            return error_set(&c->err, ERROR_SYSTEM, ENOMEM, "no memory to cut a disk with");
    }
    if (c->how->out >= 0 && ftruncate(c->how->out, (off_t)c->how->bytes) < 0)
        return error_errno(&c->err, errno, "make room for the disk");
    return 0;
}

int disk_cut_run(const struct disk_cut *how, int (*ready)(struct error *err),
                 struct disk_index *ret, struct error *err)
{
    struct worker workers[THREADS_MAX] = {0};
    struct cut c = {.how = how, .lock = PTHREAD_MUTEX_INITIALIZER};
    c.n_positions = (uint32_t)((how->bytes + DISK_CHUNK_BYTES - 1) / DISK_CHUNK_BYTES);
    int r = prepare(&c, workers);
    if (r == 0)
        r = run_workers(&c, workers, ready);
    for (size_t i = 0; i < THREADS_MAX; i++) {
        EVP_MD_CTX_free(workers[i].hash);
        ZSTD_freeCCtx(workers[i].zstd);
        free(workers[i].buffer);
        free(workers[i].packed);
    }
    if (r < 0) {
        free(c.index.chunks);
        if (err)
            *err = c.err;
        return r;
    }
    if (c.index.n_chunks > 0)
        qsort(c.index.chunks, c.index.n_chunks, sizeof(*c.index.chunks), by_position);
    c.index.virtual_bytes = how->bytes;
    *ret = c.index;
    return 0;
}

static int unpack_chunk(int in, int out, uint64_t bytes, const struct disk_chunk *c,
                        struct worker *w)
{
    size_t len = (size_t)disk_chunk_length(bytes, c->position);
    uint32_t data;
    char hex[65];
    if (c->packed_bytes == 0 || c->packed_bytes > DISK_PACKED_MAX || len == 0)
        return -EBADMSG;
    int r = pread_all(in, w->packed, c->packed_bytes, c->packed_at);
    if (r == 0)
        r = hash(w->hash, w->packed, c->packed_bytes, hex);
    if (r < 0)
        return r;
    if (memcmp(hex, c->packed_hex, 64) != 0 ||
        ZSTD_decompress(w->buffer, len, w->packed, c->packed_bytes) != len)
        return -EBADMSG;
    return write_blocks(out, w->buffer, len, c->position * DISK_CHUNK_BYTES, &data);
}

int disk_unpack_run(int in, int out, const struct disk_index *index, struct error *err)
{
    struct worker w = {.hash = EVP_MD_CTX_new(),
                       .buffer = xcalloc(1, DISK_CHUNK_BYTES),
                       .packed = xcalloc(1, DISK_PACKED_MAX)};
    int r = w.hash ? 0 : error_set(err, ERROR_SYSTEM, ENOMEM, "no memory to compute digests");
    for (size_t i = 0; r == 0 && i < index->n_chunks; i++) {
        r = unpack_chunk(in, out, index->virtual_bytes, &index->chunks[i], &w);
        if (r == -EBADMSG)
            r = error_set(err, ERROR_CORRUPT, EBADMSG, "chunk %u is not what it should be",
                          index->chunks[i].position);
        else if (r < 0)
            r = error_errno(err, r, "unpack a disk");
    }
    EVP_MD_CTX_free(w.hash);
    free(w.buffer);
    free(w.packed);
    return r;
}
