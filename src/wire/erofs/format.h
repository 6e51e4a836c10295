/*
 * The on-disk structures of EROFS, as far as the writer uses them. All numbers little endian.
 * https://docs.kernel.org/filesystems/erofs.html describes them.
 */
#pragma once

#include <stdint.h>

#define EROFS_BLOCK_BITS   12u
#define EROFS_BLOCK_SIZE   (1u << EROFS_BLOCK_BITS)
#define EROFS_SUPER_OFFSET 1024u
#define EROFS_MAGIC        0xe0f5e1e2u
#define EROFS_NULL_ADDRESS 0xffffffffu /* a hole in a chunk map */
#define EROFS_SLOT_BITS    5u          /* a node id counts 32-byte slots */

#define EROFS_COMPAT_SB_CHECKSUM    0x1u
#define EROFS_COMPAT_MTIME          0x2u /* inode times are modification times */
#define EROFS_INCOMPAT_CHUNKED_FILE 0x4u
#define EROFS_FORMAT_EXTENDED       0x1u /* bit 0 of i_format; the layout is in bits 1 to 3 */
#define EROFS_CHUNK_MAX_EXTRA_BITS  31u

enum erofs_layout {
    EROFS_LAYOUT_PLAIN = 0,  /* consecutive blocks */
    EROFS_LAYOUT_INLINE = 2, /* as plain, the last part behind the inode */
    EROFS_LAYOUT_CHUNKS = 4, /* a map of equal chunks, holes possible, behind the inode */
};

enum erofs_file_type {
    EROFS_FT_REGULAR = 1,
    EROFS_FT_DIRECTORY = 2,
    EROFS_FT_CHARACTER = 3,
    EROFS_FT_BLOCK = 4,
    EROFS_FT_FIFO = 5,
    EROFS_FT_SOCKET = 6,
    EROFS_FT_SYMLINK = 7,
};

struct erofs_disk_super {
    uint32_t magic;
    uint32_t checksum; /* crc32c of the first block from the superblock on, this field zero */
    uint32_t feature_compat;
    uint8_t block_bits;
    uint8_t extension_slots;
    uint16_t root_nid;
    uint64_t inodes;
    uint64_t build_time;
    uint32_t build_time_ns;
    uint32_t blocks;
    uint32_t meta_block;
    uint32_t xattr_block;
    uint8_t uuid[16];
    uint8_t volume_name[16];
    uint32_t feature_incompat;
    uint8_t reserved[44];
} __attribute__((packed));
_Static_assert(sizeof(struct erofs_disk_super) == 128, "superblock");

struct erofs_disk_inode {
    uint16_t format;
    uint16_t xattr_count; /* 0, or (bytes of the xattr body - 12) / 4 + 1 */
    uint16_t mode;
    uint16_t reserved;
    uint64_t size;
    uint32_t where; /* first block, device number, or chunk format */
    uint32_t ino;
    uint32_t uid;
    uint32_t gid;
    int64_t mtime;
    uint32_t mtime_ns;
    uint32_t links;
    uint8_t reserved2[16];
} __attribute__((packed));
_Static_assert(sizeof(struct erofs_disk_inode) == 64, "extended inode");

struct erofs_disk_dirent {
    uint64_t nid;
    uint16_t name_offset;
    uint8_t type;
    uint8_t reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct erofs_disk_dirent) == 12, "directory entry");

struct erofs_disk_xattr_header {
    uint32_t name_filter;
    uint8_t shared_count;
    uint8_t reserved[7];
} __attribute__((packed));
_Static_assert(sizeof(struct erofs_disk_xattr_header) == 12, "xattr header");

struct erofs_disk_xattr {
    uint8_t name_len;
    uint8_t name_index; /* which prefix is left out of the name */
    uint16_t value_len;
} __attribute__((packed));
