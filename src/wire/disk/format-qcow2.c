/*
 * qcow2 (QEMU's docs/interop/qcow2.txt), versions 2 and 3: the header, its extensions, and where
 * the two levels of tables point to. The last is for images that were cut off: QEMU reads zeros
 * behind the end of a file, so half a download would become half a disk without a word.
 */
#include "base/alloc.h"
#include "wire/disk/format-internal.h"

enum {
    V2_HEADER = 72,
    V3_HEADER = 104,
    HEADER_MAX = 4096,
    EXTENSIONS_MAX = 64,
    CLUSTER_BITS_MIN = 9,
    CLUSTER_BITS_MAX = 21,
    SNAPSHOTS_MAX = 65536,
};

#define L1_MAX_ENTRIES (32u << 20 >> 3) /* QEMU's own bound: 32 MiB */

/* Incompatible features that do not lead out of the file. */
#define FEATURE_DIRTY       (1ull << 0)
#define FEATURE_CORRUPT     (1ull << 1)
#define FEATURE_DATA_FILE   (1ull << 2)
#define FEATURE_COMPRESSION (1ull << 3)
#define FEATURE_EXTENDED_L2 (1ull << 4)
#define FEATURES_FINE       (FEATURE_DIRTY | FEATURE_COMPRESSION | FEATURE_EXTENDED_L2)

#define EXTENSION_END       0u
#define EXTENSION_DATA_FILE 0x44415441u
#define EXTENSION_CRYPTO    0x0537be77u

static int refuse_name(struct error *err, const char *what)
{
    return error_set(err, ERROR_DENIED, EACCES,
                     "the qcow2 image names %s: only images that are whole in one file are taken "
                     "(`qemu-img convert` makes one)",
                     what);
}

static int check_features(uint64_t features, struct error *err)
{
    if (features & FEATURE_DATA_FILE)
        return refuse_name(err, "a data file");
    if (features & FEATURE_CORRUPT)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the qcow2 image is marked corrupt");
    if (features & ~FEATURES_FINE)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "the qcow2 image needs features that are not known (%#llx)",
                         (unsigned long long)(features & ~FEATURES_FINE));
    return 0;
}

static int check_extensions(const struct disk_reader *r, uint64_t at, uint64_t end,
                            struct error *err)
{
    uint8_t head[8];
    for (unsigned int n = 0; at + sizeof(head) <= MIN(end, r->bytes); n++) {
        int e = disk_read(r, at, head, sizeof(head), err);
        if (e < 0)
            return e;
        uint32_t type = (uint32_t)disk_be(head, 4);
        uint64_t len = disk_be(head + 4, 4);
        if (type == EXTENSION_END)
            return 0;
        if (type == EXTENSION_DATA_FILE)
            return refuse_name(err, "a data file");
        if (type == EXTENSION_CRYPTO)
            return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "the qcow2 image is encrypted");
        if (n >= EXTENSIONS_MAX || len > end - at)
            return error_set(err, ERROR_CORRUPT, EBADMSG,
                             "the qcow2 header's extensions are broken");
        at += sizeof(head) + ((len + 7) & ~7ull);
    }
    return 0;
}

/* Version 3 says how long the header is; version 2 is fixed. */
static int header_length(const uint8_t *h, uint64_t version, uint64_t *ret, struct error *err)
{
    if (version == 2) {
        *ret = V2_HEADER;
        return 0;
    }
    *ret = disk_be(h + 100, 4);
    if (*ret < V3_HEADER || *ret > HEADER_MAX || *ret % 8 != 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the qcow2 header has %llu bytes",
                         (unsigned long long)*ret);
    return check_features(disk_be(h + 72, 8), err);
}

/* The first table must be able to hold the disk, and lie in the file. */
static int check_tables(const struct disk_reader *r, const uint8_t *h, uint64_t cluster_bits,
                        uint64_t bytes, struct error *err)
{
    uint64_t entries = disk_be(h + 36, 4), offset = disk_be(h + 40, 8);
    uint64_t per_entry = 1ull << (2 * cluster_bits - 4); /* with extended entries, 16 bytes */
    uint64_t needed = bytes / (per_entry * 2) + (bytes % (per_entry * 2) != 0);
    if (entries < needed || entries > L1_MAX_ENTRIES || disk_be(h + 60, 4) > SNAPSHOTS_MAX)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the qcow2 header's tables are broken");
    if (entries > 0 && (offset % (1ull << cluster_bits) != 0 || offset > r->bytes ||
                        entries * 8 > r->bytes - offset))
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the qcow2 image is cut off");
    return 0;
}

#define L2_OFFSET     0x00fffffffffffe00ull
#define L2_COMPRESSED (1ull << 62)

/* Where an entry's data begins; 0: nowhere. */
static uint64_t data_offset(uint64_t entry, uint64_t cluster_bits)
{
    if (entry & L2_COMPRESSED)
        return entry & ((1ull << (62 - (cluster_bits - 8))) - 1);
    return entry & L2_OFFSET;
}

struct tables {
    const struct disk_reader *r;
    uint64_t cluster_bits, entry_bytes;
    uint8_t *l2;
};

static int check_l2(const struct tables *t, uint64_t offset, struct error *err)
{
    size_t bytes = (size_t)1 << t->cluster_bits;
    int e = offset % bytes != 0 ? -EBADMSG : disk_read(t->r, offset, t->l2, bytes, NULL);
    for (size_t at = 0; e == 0 && at < bytes; at += t->entry_bytes)
        if (data_offset(disk_be(t->l2 + at, 8), t->cluster_bits) >= t->r->bytes)
            e = -EBADMSG;
    return e == -EBADMSG ? error_set(err, ERROR_CORRUPT, EBADMSG,
                                     "the qcow2 image is cut off, or its tables are broken")
           : e < 0       ? error_errno(err, e, "read the disk image")
                         : 0;
}

/* The table at offset and all tables that it names. */
static int check_entries(const struct tables *t, uint64_t offset, uint64_t n, struct error *err)
{
    uint8_t l1[4096];
    int e = 0;
    for (uint64_t i = 0, part; e == 0 && i < n; i += part) {
        part = MIN(n - i, (uint64_t)sizeof(l1) / 8);
        e = disk_read(t->r, offset + i * 8, l1, (size_t)part * 8, err);
        for (uint64_t k = 0; e == 0 && k < part; k++) {
            uint64_t l2 = disk_be(l1 + k * 8, 8) & L2_OFFSET;
            e = l2 ? check_l2(t, l2, err) : 0;
        }
    }
    return e;
}

static int check_contents(const struct disk_reader *r, const uint8_t *h, uint64_t bytes,
                          struct error *err)
{
    uint64_t cluster_bits = disk_be(h + 20, 4);
    bool extended = disk_be(h + 4, 4) > 2 && (disk_be(h + 72, 8) & FEATURE_EXTENDED_L2);
    struct tables t = {r, cluster_bits, extended ? 16 : 8, xcalloc(1, (size_t)1 << cluster_bits)};
    uint64_t per_table = (1ull << cluster_bits) / t.entry_bytes << cluster_bits;
    uint64_t n = bytes / per_table + (bytes % per_table != 0); /* the others are not looked at */
    int e = check_entries(&t, disk_be(h + 40, 8), MIN(n, disk_be(h + 36, 4)), err);
    free(t.l2);
    return e;
}

int disk_check_qcow2(const struct disk_reader *r, uint64_t *ret_virtual_bytes, struct error *err)
{
    uint8_t h[V3_HEADER] = {0};
    uint64_t length;
    int e = disk_read(r, 0, h, V2_HEADER, err);
    if (e < 0)
        return e;
    uint64_t version = disk_be(h + 4, 4), cluster_bits = disk_be(h + 20, 4);
    if (memcmp(h, "QFI\xfb", 4) != 0 || version < 2 || version > 3)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "not a qcow2 image of version 2 or 3");
    if (version == 3 &&
        (e = disk_read(r, V2_HEADER, h + V2_HEADER, V3_HEADER - V2_HEADER, err)) < 0)
        return e;
    if (disk_be(h + 8, 8) != 0 || disk_be(h + 16, 4) != 0)
        return refuse_name(err, "a backing file");
    if (disk_be(h + 32, 4) != 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "the qcow2 image is encrypted");
    if (cluster_bits < CLUSTER_BITS_MIN || cluster_bits > CLUSTER_BITS_MAX)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "the qcow2 image has clusters of 2^%llu bytes",
                         (unsigned long long)cluster_bits);
    if ((e = header_length(h, version, &length, err)) < 0 ||
        (e = check_extensions(r, length, 1ull << cluster_bits, err)) < 0)
        return e;
    *ret_virtual_bytes = disk_be(h + 24, 8);
    if (*ret_virtual_bytes > DISK_MAX_BYTES)
        return 0; /* the caller's to say */
    e = check_tables(r, h, cluster_bits, *ret_virtual_bytes, err);
    return e < 0 ? e : check_contents(r, h, *ret_virtual_bytes, err);
}
