/*
 * Disks in the store: rows only; the packs are files of service/image (disk.h there). A disk is an
 * image (image.h) with a row here. Its map says which pack each of its chunks is in;
 * chunks that no map names lose their rows when a disk is removed, packs when they have no chunk.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "service/store/store.h"

struct store_disk_chunk {
    uint32_t position;
    int64_t pack;
    uint32_t bytes; /* without its blocks of zeros */
    char hex[65];   /* SHA-256 of the chunk */
};

/* *ret_found false: the image is no disk. The others may be NULL. ret_bytes: its data. */
int store_disk_get(struct store *s, const char *image_id, bool *ret_found,
                   uint64_t *ret_virtual_bytes, uint64_t *ret_bytes,
                   struct error *err) _must_check_;

/* *ret_shared: the data of it that another disk has, too. */
int store_disk_shared(struct store *s, const char *image_id, uint64_t *ret_shared,
                      struct error *err) _must_check_;
/* All disks together, each chunk once; *ret_idle: of those that no instance is made from. */
int store_disk_total(struct store *s, uint64_t *ret_bytes, uint64_t *ret_idle,
                     struct error *err) _must_check_;
/* The disks that have this chunk, as a vector of image ids; owned. */
int store_disk_users(struct store *s, int64_t pack, uint32_t position, char ***ret_ids,
                     struct error *err) _must_check_;

/* The map, by position; *ret is owned. */
int store_disk_map(struct store *s, const char *image_id, struct store_disk_chunk **ret,
                   size_t *ret_n, struct error *err) _must_check_;

/* Calls for every pack that has a chunk of this digest at this position. */
int store_disk_find(struct store *s, const char *hex, uint32_t position,
                    void (*each)(void *context, int64_t pack), void *context,
                    struct error *err) _must_check_;

int store_disk_add_pack(struct store *s, const char *name, int64_t *ret_pack,
                        struct error *err) _must_check_;
int store_disk_add_chunk(struct store *s, const struct store_disk_chunk *c,
                         struct error *err) _must_check_;
/* The image's row is there. map: pack and position are used. */
int store_disk_add(struct store *s, const char *image_id, uint64_t virtual_bytes,
                   const struct store_disk_chunk *map, size_t n, struct error *err) _must_check_;

/* Takes the disk's rows away, before its image's row; *ret_bytes: data that nobody needs now. An
 * image that is no disk is fine. */
int store_disk_remove(struct store *s, const char *image_id, uint64_t *ret_bytes,
                      struct error *err) _must_check_;

struct store_disk_pack {
    int64_t id;
    char *name;
};
/* Ended by a NULL name; store_disk_packs_free. */
int store_disk_packs(struct store *s, struct store_disk_pack **ret, struct error *err) _must_check_;
void store_disk_packs_free(struct store_disk_pack *list); /* takes NULL */
/* The chunks of a pack, by position; *ret is owned. */
int store_disk_pack_chunks(struct store *s, int64_t pack, struct store_disk_chunk **ret,
                           size_t *ret_n, struct error *err) _must_check_;
/* Owned; NULL when there is no such pack. */
int store_disk_pack_name(struct store *s, int64_t pack, char **ret, struct error *err) _must_check_;
