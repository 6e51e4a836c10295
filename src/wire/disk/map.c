#include <string.h>

#include "base/alloc.h"
#include "wire/disk/disk.h"

/* Clusters as large as qcow2 allows: half a chunk. */
enum { CLUSTER_BITS = 21, HEADER_BYTES = 112 };
#define CLUSTER         ((uint64_t)1 << CLUSTER_BITS)
#define L2_ENTRIES      (CLUSTER / 8)
#define PER_CHUNK       (DISK_CHUNK_BYTES / CLUSTER)
#define OFLAG_COPIED    (1ull << 63) /* says "allocated" where the offset is 0 */
#define DATA_FILE       (1ull << 2)
#define AT_REFCOUNTS    (1 * CLUSTER) /* a table must be there; of a data file none are kept */
#define AT_L1           (2 * CLUSTER)
#define AT_L2(i)        ((3 + (i)) * CLUSTER)
#define L1_ENTRIES(all) (((all) + CLUSTER * L2_ENTRIES - 1) / (CLUSTER * L2_ENTRIES))

static void put(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

static int write_at(int fd, uint64_t offset, const void *data, size_t len)
{
    ssize_t n = pwrite(fd, data, len, (off_t)offset);
    if (n < 0)
        return -errno;
    return (size_t)n == len ? 0 : -EIO;
}

static int write_header(int fd, uint64_t virtual_bytes)
{
    const struct {
        size_t at, bytes;
        uint64_t value;
    } fields[] = {
        {0, 4, 0x514649fb},
        {4, 4, 3},
        {20, 4, CLUSTER_BITS},
        {24, 8, virtual_bytes},
        {36, 4, L1_ENTRIES(virtual_bytes)},
        {40, 8, AT_L1},
        {48, 8, AT_REFCOUNTS},
        {56, 4, 1},
        {72, 8, DATA_FILE},
        {96, 4, 4},
        {100, 4, HEADER_BYTES},
    };
    uint8_t header[HEADER_BYTES + 8] = {0}; /* and the end of no extensions */
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        put(header + fields[i].at, fields[i].value, fields[i].bytes);
    return write_at(fd, 0, header, sizeof(header));
}

static int write_chunk(int fd, uint64_t clusters, uint32_t position)
{
    uint8_t entries[PER_CHUNK * 8];
    uint64_t first = position * PER_CHUNK;
    uint64_t n = first < clusters ? MIN(PER_CHUNK, clusters - first) : 0;
    for (uint64_t i = 0; i < n; i++)
        put(entries + i * 8, (first + i) * CLUSTER | OFLAG_COPIED, 8);
    uint64_t at = AT_L2(first / L2_ENTRIES) + first % L2_ENTRIES * 8;
    return n == 0 ? -EINVAL : write_at(fd, at, entries, n * 8);
}

int disk_map_write(int fd, uint64_t virtual_bytes, const uint32_t *positions, size_t n)
{
    uint64_t l1 = L1_ENTRIES(virtual_bytes), clusters = (virtual_bytes + CLUSTER - 1) / CLUSTER;
    uint8_t entry[8];
    int r = ftruncate(fd, (off_t)AT_L2(l1)) < 0 ? -errno : write_header(fd, virtual_bytes);
    for (uint64_t i = 0; r == 0 && i < l1; i++) {
        put(entry, AT_L2(i) | OFLAG_COPIED, sizeof(entry));
        r = write_at(fd, AT_L1 + i * sizeof(entry), entry, sizeof(entry));
    }
    for (size_t i = 0; r == 0 && i < n; i++)
        r = write_chunk(fd, clusters, positions[i]);
    return r;
}

/* An overlay's own clusters, of qcow2's usual size: what a guest writes is copied by these. */
enum { SMALL_BITS = 16 };
#define SMALL         ((uint64_t)1 << SMALL_BITS)
#define SMALL_L1(all) (((all) + SMALL * (SMALL / 8) - 1) / (SMALL * (SMALL / 8)))
#define SMALL_MAX     ((uint64_t)16 << 40) /* what one cluster of refcount blocks' places reaches */

/* The header, the table of refcounts, its first block, the first table: then data. */
int disk_overlay_write(int fd, uint64_t virtual_bytes)
{
    uint64_t entries = SMALL_L1(virtual_bytes), clusters = (entries * 8 + SMALL - 1) / SMALL;
    const struct {
        size_t at, bytes;
        uint64_t value;
    } fields[] = {
        {0, 4, 0x514649fb},     {4, 4, 3},        {20, 4, SMALL_BITS},
        {24, 8, virtual_bytes}, {36, 4, entries}, {40, 8, 3 * SMALL},
        {48, 8, SMALL},         {56, 4, 1},       {96, 4, 4},
        {100, 4, HEADER_BYTES},
    };
    uint8_t header[HEADER_BYTES + 8] = {0}, place[8], one[2] = {0, 1};
    if (virtual_bytes == 0 || virtual_bytes > SMALL_MAX || virtual_bytes % 512)
        return -EINVAL;
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        put(header + fields[i].at, fields[i].value, fields[i].bytes);
    put(place, 2 * SMALL, sizeof(place));
    int r = ftruncate(fd, (off_t)((3 + clusters) * SMALL)) < 0 ? -errno : 0;
    if (r == 0)
        r = write_at(fd, 0, header, sizeof(header));
    if (r == 0)
        r = write_at(fd, SMALL, place, sizeof(place));
    for (uint64_t i = 0; r == 0 && i < 3 + clusters; i++)
        r = write_at(fd, 2 * SMALL + i * sizeof(one), one, sizeof(one));
    return r;
}

int disk_overlay_size(int fd, uint64_t *ret_virtual_bytes)
{
    uint8_t header[32];
    uint64_t value = 0;
    if (pread(fd, header, sizeof(header), 0) != (ssize_t)sizeof(header))
        return -EINVAL;
    for (size_t i = 24; i < 32; i++)
        value = value << 8 | header[i];
    if (memcmp(header, "QFI\xfb", 4) != 0 || value == 0 || value > SMALL_MAX || value % 512)
        return -EINVAL;
    *ret_virtual_bytes = value;
    return 0;
}
