/*
 * VHDX ([MS-VHDX]): a region table says where the metadata is, the metadata has the size and
 * whether there is a parent. QEMU reads the same tables; a log that has to be played back first
 * would need writing, so an image that was not closed is refused by it.
 */
#include "wire/disk/format-internal.h"

enum {
    REGION_TABLE = 192 << 10, /* and a copy 64 KiB later */
    REGION_TABLE_COPY = 256 << 10,
    REGION_HEAD = 16,
    REGION_ENTRY = 32,
    METADATA_HEAD = 32,
    METADATA_ENTRY = 32,
    ENTRIES_MAX = 64, /* five regions and items are defined */
};

static const uint8_t guid_metadata[16] = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                          0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e};
static const uint8_t guid_parameters[16] = {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                            0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b};
static const uint8_t guid_size[16] = {0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
                                      0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8};
static const uint8_t guid_parent[16] = {0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45,
                                        0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c};

static int broken(struct error *err)
{
    return error_set(err, ERROR_CORRUPT, EBADMSG, "the vhdx image's tables are broken");
}

/* Where the metadata region is, by the first table or its copy. */
static int find_metadata(const struct disk_reader *r, uint64_t table, uint64_t *ret,
                         struct error *err)
{
    uint8_t head[REGION_HEAD], entry[REGION_ENTRY];
    int e = disk_read(r, table, head, sizeof(head), err);
    if (e < 0)
        return e;
    uint64_t n = disk_le(head + 8, 4);
    if (memcmp(head, "regi", 4) != 0 || n > ENTRIES_MAX)
        return broken(err);
    for (uint64_t i = 0; i < n; i++) {
        e = disk_read(r, table + REGION_HEAD + i * REGION_ENTRY, entry, sizeof(entry), err);
        if (e < 0)
            return e;
        if (memcmp(entry, guid_metadata, 16) == 0) {
            *ret = disk_le(entry + 16, 8);
            return 0;
        }
    }
    return broken(err);
}

struct items {
    uint64_t bytes;
    bool parent;
};

static int read_item(const struct disk_reader *r, uint64_t metadata, const uint8_t *entry,
                     struct items *items, struct error *err)
{
    uint8_t value[8] = {0};
    uint64_t at = metadata + disk_le(entry + 16, 4);
    if (memcmp(entry, guid_parent, 16) == 0)
        items->parent = true;
    bool size = memcmp(entry, guid_size, 16) == 0;
    if (!size && memcmp(entry, guid_parameters, 16) != 0)
        return 0;
    int e = disk_read(r, at, value, sizeof(value), err);
    if (e < 0)
        return e;
    if (size)
        items->bytes = disk_le(value, 8);
    else
        items->parent |= disk_le(value + 4, 4) & 2;
    return 0;
}

int disk_check_vhdx(const struct disk_reader *r, uint64_t *ret_virtual_bytes, struct error *err)
{
    uint8_t head[METADATA_HEAD], entry[METADATA_ENTRY];
    struct items items = {0};
    uint64_t metadata;
    int e = disk_read(r, 0, head, 8, err);
    if (e < 0)
        return e;
    if (memcmp(head, "vhdxfile", 8) != 0)
        return broken(err);
    if (find_metadata(r, REGION_TABLE, &metadata, NULL) < 0 &&
        (e = find_metadata(r, REGION_TABLE_COPY, &metadata, err)) < 0)
        return e;
    if ((e = disk_read(r, metadata, head, sizeof(head), err)) < 0)
        return e;
    uint64_t n = disk_le(head + 10, 2);
    if (memcmp(head, "metadata", 8) != 0 || n > ENTRIES_MAX)
        return broken(err);
    for (uint64_t i = 0; i < n; i++) {
        e = disk_read(r, metadata + METADATA_HEAD + i * METADATA_ENTRY, entry, sizeof(entry), err);
        if (e < 0 || (e = read_item(r, metadata, entry, &items, err)) < 0)
            return e;
    }
    if (items.parent)
        return error_set(err, ERROR_DENIED, EACCES,
                         "the vhdx image has a parent: only images that are whole in one file are "
                         "taken (`qemu-img convert` makes one)");
    *ret_virtual_bytes = items.bytes;
    return 0;
}
