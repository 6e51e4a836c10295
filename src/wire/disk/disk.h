/*
 * A disk in chunks: what its versions share, and what names it.
 *
 * A disk is a row of 4 MiB chunks of its raw contents, at fixed places. A chunk of zeros is a hole
 * and is nowhere. Fixed places, because a guest changes a disk in place: what a new version did not
 * touch is still where it was, so cutting by content would find nothing more and cost a rolling
 * hash over every byte. 4 MiB, because a chunk is a layer in a registry, and a manifest of at most
 * 4 MiB holds about 25,000 of those: 100 GiB of data. Smaller chunks would share more of what
 * changes in many small places.
 *
 * The disk's configuration lists its chunks' digests. Its own digest is the disk's identity, as the
 * configuration's is of an application image: the same contents, however they came (raw, qcow2,
 * vmdk), have the same id, so nothing else may be in it: no time, no name of a tool.
 *
 * In the store a disk's chunks lie in packs: sparse files in which each chunk is at its own place
 * of the disk. QEMU reads them as they are, through maps (below), so a machine starts from a disk
 * at once whatever it shares with others.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define DISK_CHUNK_BYTES ((uint64_t)4 << 20)
#define DISK_MAX_CHUNKS  65536u                                        /* with data: 256 GiB */
#define DISK_MEDIA_TYPE  "application/vnd.proa.disk.v1+json"           /* artifactType */
#define DISK_CONFIG_TYPE "application/vnd.proa.disk.config.v1+json"    /* the configuration */
#define DISK_CHUNK_TYPE  "application/vnd.proa.disk.chunk.v1.raw+zstd" /* each layer */

struct disk_chunk {
    uint32_t position;   /* in units of DISK_CHUNK_BYTES */
    uint32_t data_bytes; /* without its blocks of zeros; 0 when not known */
    char hex[65];        /* SHA-256 of its bytes, lower case */
    /* When it was packed for a registry: where, and what it is there. */
    uint64_t packed_at;
    uint32_t packed_bytes; /* 0: it was not */
    char packed_hex[65];
};

struct disk_index {
    uint64_t virtual_bytes;
    char *architecture;        /* owned; "amd64" */
    struct disk_chunk *chunks; /* owned; by position, holes left out */
    size_t n_chunks;
};
void disk_index_done(struct disk_index *i);

/* Bytes that the chunk at a position has: all of them but the last have DISK_CHUNK_BYTES. */
uint64_t disk_chunk_length(uint64_t virtual_bytes, uint32_t position);

/* The configuration as text; owned. The same index gives the same bytes. */
char *disk_index_text(const struct disk_index *i);
/* Parses and checks one: sizes, order, limits. */
int disk_index_parse(const char *text, size_t len, struct disk_index *ret,
                     struct error *err) _must_check_;

/* A packed chunk is one zstd frame, which is never longer. */
#define DISK_PACKED_MAX (DISK_CHUNK_BYTES + (64u << 10))

/* What `proa-disk cut` prints and `proa-disk unpack` is given, in the same terms. */
char *disk_cut_text(const struct disk_index *i);
int disk_cut_parse(const json_t *o, struct disk_index *ret, struct error *err) _must_check_;

/*
 * A map is a qcow2 file without data: its tables say which chunks are in a pack (a data file, in
 * qcow2's terms, which QEMU is given as a descriptor; no name is in the map). Chunks of other packs
 * are not in it, and are read from what is behind the map: the next map. QEMU wants the places in a
 * data file to be those of the disk, so a chunk that moved is not shared. The packs of a disk do
 * not overlap in it, so their order does not matter.
 */
/* Writes the map of the chunks at these positions into an empty file. 0 or -errno. */
int disk_map_write(int fd, uint64_t virtual_bytes, const uint32_t *positions,
                   size_t n) _must_check_;

/*
 * An overlay is an empty qcow2 file that names nothing behind it: QEMU is told what that is, by
 * descriptor. Snapshots are chains of them.
 */
/* Writes one into an empty file. 0 or -errno. */
int disk_overlay_write(int fd, uint64_t virtual_bytes) _must_check_;
/* The size of the disk in such a file, which QEMU may have written since: at most 16 TiB. */
int disk_overlay_size(int fd, uint64_t *ret_virtual_bytes) _must_check_;

/*
 * QEMU's -blockdev nodes as JSON, new. A file by the path that QEMU knows it by, without locks of
 * QEMU's own; and a chain of parts, each a map in front of its pack. path(i, map) gives the paths,
 * NULL for the map of a part that is raw; what it returns is used before it is called again.
 */
json_t *disk_file_node(const char *path, bool read_only);
json_t *disk_chain_node(size_t n, const char *(*path)(void *context, size_t part, bool map),
                        void *context);
