/* What the files about disks share. */
#pragma once

#include "service/image/disk.h"
#include "service/image/internal.h"
#include "service/store/disk.h"

/* The program proa-disk (disk-helper.c). */
struct disk_helper {
    char *const *argv; /* after the program's name */
    int in, in_as;     /* the image, and its number there */
    int out, out_as;   /* -EBADF: none */
    int more, more_as; /* another; more_as 0: none */
    void (*progress)(void *context, uint64_t bytes);
    void *context;
};
/* Runs it to the end; *ret is the JSON that it printed; ret NULL: it prints nothing. */
int disk_helper_run(const struct disk_helper *h, json_t **ret, struct error *err) _must_check_;

/* The chunks of a raw disk; out -EBADF or where a copy goes. index->architecture is left alone. */
int disk_helper_cut(int in, int out, uint64_t bytes, const struct disk_import *progress,
                    struct disk_index *ret, struct error *err) _must_check_;
/* The chunks of a raw disk as frames in a file, with their places there. */
int disk_helper_pack(int raw, int packed, uint64_t bytes, struct disk_index *ret,
                     struct error *err) _must_check_;
/* The opposite, of what somebody else packed: every frame's digest is checked. */
int disk_helper_unpack(int packed, int raw, const struct disk_index *index,
                       struct error *err) _must_check_;
/* Between formats, by qemu-img, of an image that has been checked. Both files become those of a
 * user of nobody's; the caller takes the result back. */
int disk_helper_convert(int in, const char *format, int out, const char *to, uint64_t bytes,
                        struct error *err) _must_check_;

/* Makes the disk visible: the file "pack" in the draft's work directory is the whole disk, raw
 * (disk-pack.c). draft: its row and the configuration are complete. */
int disk_publish(struct image_draft *draft, const struct disk_index *index,
                 struct error *err) _must_check_;

/* "NAME.pack"; owned. */
char *disk_pack_file(const char *name);
/* ROOT/disks, made when it is not there; a descriptor. */
int disk_open_directory(struct store *s, struct error *err) _must_check_;

/* A pack to read, held shared: while it is, disk_sweep leaves it alone. ret_path: owned, or NULL.
 */
int disk_open_pack(struct store *s, int64_t pack, int *ret_fd, char **ret_path,
                   struct error *err) _must_check_;

/* Copies the data of one range, holes left out. 0 or -errno. */
int disk_copy_range(int from, uint64_t from_at, int to, uint64_t to_at, uint64_t len) _must_check_;
