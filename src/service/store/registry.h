/*
 * What the store remembers of registries: by which digests images are known where, and in which
 * compressed forms their layers are there. A repository is written as names of images are
 * ("debian", "localhost:5000/x"). Rows go with their image or layer.
 */
#pragma once

#include "base/error.h"
#include "service/store/image.h"
#include "service/store/store.h"

/* "repository@digest" is another name of the image. */
int store_digest_add(struct store *s, const char *image_id, const char *repository,
                     const char *digest, struct error *err) _must_check_;
/* "repository@sha256:..." of an image, sorted; *ret is an owned vector. */
int store_digest_list(struct store *s, const char *image_id, char ***ret,
                      struct error *err) _must_check_;
/* The id of an image known by it, owned; NULL when there is none. architecture NULL: any. */
int store_digest_find(struct store *s, const char *repository, const char *digest,
                      const char *architecture, char **ret_image_id,
                      struct error *err) _must_check_;

struct store_layer_blob {
    char *digest; /* of the compressed bytes */
    uint64_t bytes;
    char *media_type;
    char *repository; /* where it is */
};
int store_layer_blob_add(struct store *s, const char *diff_id, const struct store_layer_blob *b,
                         struct error *err) _must_check_;
/* *ret is owned, ended by a NULL digest: store_layer_blob_list_free. */
int store_layer_blob_list(struct store *s, const char *diff_id, struct store_layer_blob **ret,
                          struct error *err) _must_check_;
void store_layer_blob_list_free(struct store_layer_blob *list); /* takes NULL */
