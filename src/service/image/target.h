/*
 * Where a saved image goes: a tar archive or a directory. Members are named once each; their times
 * and owners say nothing, so that the same images give the same archive.
 */
#pragma once

#include "base/buf.h"
#include "service/image/internal.h"

struct image_target {
    struct image_work *work;
    int archive;    /* the descriptor of an archive, or -EBADF */
    int dir;        /* or the directory */
    struct buf out; /* the archive's headers on their way */
};
/* archive < 0: the directory at path, made when it is not there, must be empty. */
int image_target_open(struct image_work *work, int archive, const char *path,
                      struct image_target *ret, struct error *err) _must_check_;
/* Ends the archive. */
int image_target_finish(struct image_target *t, struct error *err) _must_check_;
void image_target_close(struct image_target *t);

int image_target_dir(struct image_target *t, const char *name, struct error *err) _must_check_;
int image_target_text(struct image_target *t, const char *name, const char *text, size_t len,
                      struct error *err) _must_check_;
int image_target_link(struct image_target *t, const char *name, const char *to,
                      struct error *err) _must_check_;
/* The layer's tar, whose size is known, as it is. */
int image_target_layer(struct image_target *t, const char *name, const struct image_layer *layer,
                       struct error *err) _must_check_;
/* The layer compressed, as blobs/sha256/HEX of what it becomes. */
int image_target_packed_layer(struct image_target *t, const struct image_layer *layer,
                              const char *compression, struct image_archive *ret,
                              struct error *err) _must_check_;
