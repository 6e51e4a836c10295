/* What the files of this folder share. */
#pragma once

#include <archive.h>
#include <archive_entry.h>

#include "wire/erofs/writer.h"
#include "wire/layer/layer.h"
#include "wire/layer/split.h"

/* libarchive reading tar (only tar) out of a stream; what the stream ran into is in error. */
struct layer_tar {
    struct layer_stream *stream;
    struct archive *archive;
    struct split_recorder *split; /* is given all that is read; NULL without, borrowed */
    struct error error;
};
int layer_tar_open(struct layer_tar *t, const struct layer_source *source,
                   struct split_recorder *split, struct error *err) _must_check_;
void layer_tar_close(struct layer_tar *t);
/* 1 with an entry, 0 at the end, < 0. */
int layer_tar_next(struct layer_tar *t, struct archive_entry **ret, struct error *err);
/* 1 with a piece of the entry's contents, 0 at their end, < 0. */
int layer_tar_data(struct layer_tar *t, const void **data, size_t *len, uint64_t *offset,
                   struct error *err);
/* Where in the tar the piece stands that layer_tar_data has just given. */
uint64_t layer_tar_position(const struct layer_tar *t);
/* Reads what follows the end of the archive and gives the digests. */
int layer_tar_finish(struct layer_tar *t, struct layer_digests *ret,
                     struct error *err) _must_check_;

/* Where a path leads in the tree: its directory and its last name (borrowed from `text`). */
struct layer_place {
    struct erofs_inode *dir;
    const char *name; /* empty for the root itself */
    size_t len;
    char text[LAYER_PATH_MAX + 1];
};
/* create: directories that are missing on the way are made (0755, root). */
int layer_find_place(struct erofs_writer *w, const char *path, bool create, struct layer_place *ret,
                     struct error *err) _must_check_;

int layer_set_opaque(struct erofs_writer *w, struct erofs_inode *dir,
                     struct error *err) _must_check_;

/* What a split's head says of the EROFS file: the checksum of all but the contents of files. */
int split_metadata_crc(int erofs_fd, const struct split_head *h, uint64_t *ret,
                       struct error *err) _must_check_;
