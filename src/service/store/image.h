/*
 * Images and layers in the store: rows only; the files are service/image's. An image row is added
 * after its files are in place, so that what a row names exists.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "service/store/store.h"

struct store_layer {
    char *diff_id;      /* "sha256:..." of the uncompressed tar */
    uint64_t bytes;     /* of the EROFS file */
    uint64_t tar_bytes; /* of the uncompressed tar */
};

struct store_image {
    char *id;       /* "sha256:..." of the configuration */
    char *manifest; /* digest of the manifest it came with, or NULL (import, docker save) */
    char *architecture, *os, *variant;
    int64_t created_ns;
    char **names; /* NULL-terminated, sorted */
    struct store_layer *layers;
    size_t n_layers;
};

void store_image_done(struct store_image *i);
void store_image_list_free(struct store_image *list); /* ended by a NULL id; takes NULL */

/* Adds the image with its layers (each layer once) and moves its names here from whichever image
 * had them. An image that is there already only gains the names. */
int store_image_add(struct store *s, const struct store_image *i, struct error *err) _must_check_;

/* By name, or by id or its beginning. ERROR_NOT_FOUND with a bare message; ERROR_CONFLICT when a
 * beginning fits several. */
int store_image_by_name(struct store *s, const char *name, struct store_image *ret,
                        struct error *err) _must_check_;
int store_image_by_id(struct store *s, const char *prefix, struct store_image *ret,
                      struct error *err) _must_check_;

/* Newest first; *ret is owned, store_image_list_free. */
int store_image_list(struct store *s, struct store_image **ret, struct error *err) _must_check_;

/* Gives a name to an image, taking it from another one. */
int store_image_set_name(struct store *s, const char *id, const char *name,
                         struct error *err) _must_check_;
int store_image_drop_name(struct store *s, const char *name, struct error *err) _must_check_;

/* Removes the image and its names. Layers that no image needs any more lose their rows and are
 * given back for their files to be removed: *ret is owned, ended by a NULL diff_id. */
int store_image_remove(struct store *s, const char *id, struct store_layer **ret,
                       struct error *err) _must_check_;
void store_layer_list_free(struct store_layer *list); /* takes NULL */

/* All layers; *ret is owned, ended by a NULL diff_id. */
int store_layer_list(struct store *s, struct store_layer **ret, struct error *err) _must_check_;
/* Removes the rows of layers that neither an image nor the build cache needs, inside a transaction
 * of the caller's. They are added to *list as store_image_remove gives them (begins as one empty
 * element). */
int store_layers_drop_unused(struct store *s, struct store_layer **list,
                             struct error *err) _must_check_;

/* *ret_known: whether a layer of this diff id is in the store; bytes may be NULL. */
int store_layer_known(struct store *s, const char *diff_id, bool *ret_known, uint64_t *ret_bytes,
                      struct error *err) _must_check_;
/* *ret_used: whether any image needs the blob "sha256:..." as manifest or configuration, or any
 * repository has it (content.h). */
int store_blob_used(struct store *s, const char *digest, bool *ret_used,
                    struct error *err) _must_check_;

/* What was made from the image, as words ("instance 0123456789ab", owned); NULL: nothing. */
int store_image_user(struct store *s, const char *id, char **ret_user,
                     struct error *err) _must_check_;
