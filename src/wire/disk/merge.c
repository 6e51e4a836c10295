#include "wire/disk/merge.h"

#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "wire/disk/disk.h"

enum { CLUSTER_BITS = 16, HEADER_BYTES = 104 };
#define CLUSTER     ((uint64_t)1 << CLUSTER_BITS)
#define ENTRIES     (CLUSTER / 8)
#define OFFSET_MASK 0x00fffffffffffe00ull
#define COMPRESSED  (1ull << 62)
#define COPIED      (1ull << 63)
#define IS_ZERO     1ull
#define DIRTY       1ull /* the one incompatible feature that means nothing to who only reads */
#define BYTES_MAX   ((uint64_t)16 << 40)

typedef uint8_t table[CLUSTER];

struct layer {
    int fd;
    uint64_t l1_at, l1_entries;
    table *l2; /* of the part that is looked at */
    bool has_l2;
};

struct merging {
    struct layer layers[DISK_LAYERS_MAX];
    size_t n;
    int raw, out;
    uint64_t bytes;
    table *data, *l2;
    /* Of an overlay that is written. */
    uint64_t l1_at, next;
    bool has_l2;
};

static uint64_t get(const uint8_t *p, size_t bytes)
{
    uint64_t n = 0;
    for (size_t i = 0; i < bytes; i++)
        n = n << 8 | p[i];
    return n;
}

static void put(uint8_t *p, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

static int corrupt(struct error *err, const char *why)
{
    return error_set(err, ERROR_CORRUPT, EBADMSG, "an overlay is none of ours: %s", why);
}

static int read_at(int fd, uint64_t at, void *data, size_t len, struct error *err)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, (char *)data + done, len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, errno, "read a disk");
        if (n == 0)
            return corrupt(err, "it ends before what it speaks of");
        done += (size_t)n;
    }
    return 0;
}

/* Of data the end of the file is zeros, as for QEMU. */
static int read_data(int fd, uint64_t at, uint8_t *data, size_t len, struct error *err)
{
    off_t end = lseek(fd, 0, SEEK_END);
    size_t n = end < 0 || (uint64_t)end <= at ? 0 : (size_t)MIN((uint64_t)end - at, (uint64_t)len);
    memset(data + n, 0, len - n);
    return n > 0 ? read_at(fd, at, data, n, err) : 0;
}

static int write_at(const struct merging *m, uint64_t at, const void *data, size_t len,
                    struct error *err)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(m->out, (const char *)data + done, len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set(err, errno == ENOSPC ? ERROR_LIMIT : ERROR_SYSTEM, errno,
                             "write the disk: %s", strerror(errno));
        done += (size_t)n;
    }
    return 0;
}

static int open_layer(struct merging *m, int fd, struct error *err)
{
    uint8_t h[HEADER_BYTES];
    struct layer *l = &m->layers[m->n++];
    *l = (struct layer){.fd = fd, .l2 = xcalloc(1, sizeof(table))};
    int r = read_at(fd, 0, h, sizeof(h), err);
    if (r < 0)
        return r;
    uint64_t bytes = get(h + 24, 8);
    l->l1_entries = get(h + 36, 4);
    l->l1_at = get(h + 40, 8);
    if (memcmp(h, "QFI\xfb", 4) != 0 || get(h + 4, 4) != 3 || get(h + 20, 4) != CLUSTER_BITS)
        return corrupt(err, "its header");
    if (get(h + 8, 8) != 0 || get(h + 32, 4) != 0 || get(h + 60, 4) != 0 ||
        (get(h + 72, 8) & ~DIRTY) != 0)
        return corrupt(err, "it names something behind it, or has features that ours have not");
    if (bytes == 0 || bytes > BYTES_MAX || bytes % 512 || l->l1_at % CLUSTER ||
        l->l1_at > INT64_MAX / 2 || l->l1_entries > BYTES_MAX / CLUSTER / ENTRIES ||
        l->l1_entries * ENTRIES * CLUSTER < bytes)
        return corrupt(err, "its sizes");
    m->bytes = bytes; /* the last one counts */
    return 0;
}

/* Its table for one part of the disk, if it has one. */
static int read_table(struct layer *l, uint64_t part, struct error *err)
{
    uint8_t e[8];
    l->has_l2 = false;
    if (part >= l->l1_entries)
        return 0;
    int r = read_at(l->fd, l->l1_at + part * 8, e, sizeof(e), err);
    uint64_t at = get(e, 8) & OFFSET_MASK;
    if (r < 0 || at == 0)
        return r;
    if (at % CLUSTER)
        return corrupt(err, "a table between clusters");
    l->has_l2 = true;
    return read_at(l->fd, at, *l->l2, sizeof(table), err);
}

/* --- an overlay that is written --- */

/* A table of its own for each part that has anything, where the last byte was. */
static int put_entry(struct merging *m, uint64_t part, uint64_t i, uint64_t value,
                     struct error *err)
{
    uint8_t e[8];
    if (!m->has_l2) {
        memset(*m->l2, 0, sizeof(table));
        put(e, m->next | COPIED, sizeof(e));
        int r = write_at(m, m->l1_at + part * 8, e, sizeof(e), err);
        if (r < 0)
            return r;
        m->has_l2 = true;
        m->next += CLUSTER;
    }
    put(*m->l2 + i * 8, value, 8);
    return 0;
}

static int finish_part(struct merging *m, uint64_t part, struct error *err)
{
    uint8_t e[8];
    if (!m->has_l2)
        return 0;
    int r = read_at(m->out, m->l1_at + part * 8, e, sizeof(e), err);
    m->has_l2 = false;
    return r < 0 ? r : write_at(m, get(e, 8) & OFFSET_MASK, *m->l2, sizeof(table), err);
}

static int put_cluster(struct merging *m, uint64_t part, uint64_t i, struct error *err)
{
    uint64_t at = 0;
    int r = 0;
    if (!m->has_l2) /* takes its own place first */
        r = put_entry(m, part, i, 0, err);
    at = m->next;
    m->next += CLUSTER;
    if (r == 0)
        r = write_at(m, at, *m->data, sizeof(table), err);
    return r < 0 ? r : put_entry(m, part, i, at | COPIED, err);
}

/* The first block has its place (disk_overlay_write), the others come last. */
static uint64_t block_at(const struct merging *m, uint64_t b)
{
    return b == 0 ? 2 * CLUSTER : m->next + (b - 1) * CLUSTER;
}

/* Every cluster of the file is used once. */
static int put_refcounts(struct merging *m, struct error *err)
{
    uint64_t used = m->next / CLUSTER, per = CLUSTER / 2, blocks = 1;
    while (blocks * per < used + blocks - 1)
        blocks++;
    memset(*m->l2, 0, sizeof(table));
    for (uint64_t b = 0; b < blocks; b++)
        put(*m->l2 + b * 8, block_at(m, b), 8);
    int r = write_at(m, CLUSTER, *m->l2, sizeof(table), err);
    for (uint64_t b = 0; r == 0 && b < blocks; b++) {
        for (uint64_t i = 0; i < per; i++)
            put(*m->l2 + i * 2, b * per + i < used + blocks - 1, 2);
        r = write_at(m, block_at(m, b), *m->l2, sizeof(table), err);
    }
    return r;
}

static int begin_out(struct merging *m, struct error *err)
{
    off_t end = 0;
    uint8_t at[8];
    int r = m->raw >= 0 ? (ftruncate(m->out, (off_t)m->bytes) < 0 ? -errno : 0)
                        : disk_overlay_write(m->out, m->bytes);
    if (r == 0 && m->raw < 0 && (end = lseek(m->out, 0, SEEK_END)) < 0)
        r = -errno;
    if (r < 0)
        return error_errno(err, r, "make the disk");
    if (m->raw >= 0)
        return 0;
    r = read_at(m->out, 40, at, sizeof(at), err);
    m->l1_at = get(at, sizeof(at));
    m->next = ((uint64_t)end + CLUSTER - 1) / CLUSTER * CLUSTER;
    return r;
}

/* --- what is seen --- */

enum seen {
    SEEN_NOTHING,
    SEEN_ZEROS,
    SEEN_DATA,
};

static int look(struct merging *m, uint64_t i, enum seen *ret, struct error *err)
{
    *ret = SEEN_NOTHING;
    for (size_t k = m->n; k-- > 0;) {
        const struct layer *l = &m->layers[k];
        uint64_t e = l->has_l2 ? get(*l->l2 + i * 8, 8) : 0, at = e & OFFSET_MASK;
        if (e & COMPRESSED)
            return corrupt(err, "a compressed cluster");
        if (e & IS_ZERO) {
            *ret = SEEN_ZEROS;
            return 0;
        }
        if (at % CLUSTER)
            return corrupt(err, "a cluster between clusters");
        if (at) {
            *ret = SEEN_DATA;
            return read_data(l->fd, at, *m->data, sizeof(table), err);
        }
    }
    return 0;
}

static bool all_zeros(const uint8_t *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static int look_below(struct merging *m, uint64_t at, size_t len, enum seen *ret, struct error *err)
{
    off_t data = lseek(m->raw, (off_t)at, SEEK_DATA);
    if (data < 0 || (uint64_t)data >= at + len)
        return 0;
    *ret = SEEN_DATA;
    return read_data(m->raw, at, *m->data, sizeof(table), err);
}

static int merge_cluster(struct merging *m, uint64_t part, uint64_t i, struct error *err)
{
    uint64_t at = (part * ENTRIES + i) * CLUSTER;
    size_t len = (size_t)MIN(CLUSTER, m->bytes - at);
    enum seen seen;
    int r = look(m, i, &seen, err);
    if (r == 0 && seen == SEEN_NOTHING && m->raw >= 0)
        r = look_below(m, at, len, &seen, err);
    if (r < 0 || seen == SEEN_NOTHING)
        return r;
    if (seen == SEEN_DATA && all_zeros(*m->data, len))
        seen = SEEN_ZEROS;
    if (m->raw >= 0)
        return seen == SEEN_ZEROS ? 0 : write_at(m, at, *m->data, len, err);
    return seen == SEEN_ZEROS ? put_entry(m, part, i, IS_ZERO, err) : put_cluster(m, part, i, err);
}

static int merge_part(struct merging *m, uint64_t part, struct error *err)
{
    uint64_t left = (m->bytes + CLUSTER - 1) / CLUSTER - part * ENTRIES;
    bool any = m->raw >= 0;
    int r = 0;
    for (size_t k = 0; r == 0 && k < m->n; k++) {
        r = read_table(&m->layers[k], part, err);
        any = any || m->layers[k].has_l2;
    }
    for (uint64_t i = 0; r == 0 && any && i < MIN(ENTRIES, left); i++)
        r = merge_cluster(m, part, i, err);
    return r < 0 ? r : finish_part(m, part, err);
}

static int merge_all(struct merging *m, const struct disk_merge *how, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < how->n; i++)
        r = open_layer(m, how->overlays[i], err);
    if (r == 0)
        r = begin_out(m, err);
    for (uint64_t part = 0; r == 0 && part * ENTRIES * CLUSTER < m->bytes; part++)
        r = merge_part(m, part, err);
    return r < 0 || m->raw >= 0 ? r : put_refcounts(m, err);
}

int disk_merge_run(const struct disk_merge *how, uint64_t *ret_bytes, struct error *err)
{
    if (how->n == 0 || how->n > DISK_LAYERS_MAX)
        return error_invalid(err, "from 1 to %u overlays", DISK_LAYERS_MAX);
    struct merging *m = xnew(struct merging);
    *m = (struct merging){.raw = how->raw, .out = how->out};
    m->data = xcalloc(1, sizeof(table));
    m->l2 = xcalloc(1, sizeof(table));
    int r = merge_all(m, how, err);
    if (r == 0)
        *ret_bytes = m->bytes;
    for (size_t i = 0; i < m->n; i++)
        free(m->layers[i].l2);
    free(m->data);
    free(m->l2);
    free(m);
    return r;
}
