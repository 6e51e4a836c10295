/*
 * The build cache: what a step of a build has made, by the key of everything that it was made from;
 * and digests of files of build contexts, by what their inodes said when they were read.
 *
 * A row of the cache keeps its layer as an image would.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "service/store/image.h"

#define STORE_DIGEST_BYTES 32

struct store_step {
    char *diff_id; /* NULL: the step changed no file; owned */
    uint64_t bytes, tar_bytes;
    int64_t created_ns;
};
void store_step_done(struct store_step *step);

int store_step_find(struct store *s, const char *key, struct store_step *ret, bool *ret_found,
                    struct error *err) _must_check_;
/* With the layer's row where it is new (layer NULL: nothing changed); replaces what was there. */
int store_step_add(struct store *s, const char *key, const struct store_layer *layer,
                   int64_t created_ns, struct error *err) _must_check_;
/* Forgets steps that no build has used since before_ns, and all files. Layers that nothing needs
 * any more are given as by store_image_remove. */
int store_steps_forget(struct store *s, int64_t before_ns, struct store_layer **ret,
                       struct error *err) _must_check_;

/* How many steps are known, and the bytes of the layers that only they keep. */
int store_steps_usage(struct store *s, size_t *ret_steps, uint64_t *ret_bytes,
                      struct error *err) _must_check_;

/* Many files are looked up in a row: the statements stay prepared, and until store_files_write (or
 * close) one read transaction lasts, in which nothing else may be changed. */
struct store_files;
int store_files_open(struct store *s, struct store_files **ret, struct error *err) _must_check_;
void store_files_close(struct store_files *f); /* takes NULL */
DEFINE_CLEANUP(struct store_files *, store_files_close)
#define _cleanup_files_ _cleanup_(store_files_close_cleanup)
/* Whether a file with this inode, size and times is known. */
int store_files_find(struct store_files *f, const struct stat *st,
                     unsigned char ret[static STORE_DIGEST_BYTES], bool *ret_found,
                     struct error *err) _must_check_;
/* Remembered until store_files_write puts all of them down in one transaction. */
void store_files_set(struct store_files *f, const struct stat *st,
                     const unsigned char digest[static STORE_DIGEST_BYTES]);
int store_files_write(struct store_files *f, struct error *err) _must_check_;
