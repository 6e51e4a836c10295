/*
 * What was pushed into repositories: blobs, manifests and tags, as rows. Their files are
 * ROOT/blobs/ALGORITHM/HEX, shared by all repositories and with the images of the store; a file
 * goes when no row here or there names it (store_blob_used). Digests are sha256 or sha512.
 *
 * An image of the store is in the repository of each of its names ("REPOSITORY:TAG"), without rows
 * of its own here; only the manifest that was made for it, when somebody asked, is remembered.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "service/store/store.h"

struct store_manifest {
    char *digest, *media_type;
    char *subject;       /* digest, or NULL */
    char *artifact_type; /* or NULL */
    char *annotations;   /* a JSON object, or NULL */
    uint64_t bytes;
};
void store_manifest_done(struct store_manifest *m);
void store_manifest_list_free(struct store_manifest *list); /* ended by a NULL digest; takes NULL */

int store_content_add_blob(struct store *s, const char *repository, const char *digest,
                           uint64_t bytes, struct error *err) _must_check_;
/* repository NULL: in any. */
int store_content_find_blob(struct store *s, const char *repository, const char *digest,
                            bool *ret_found, uint64_t *ret_bytes, struct error *err) _must_check_;
int store_content_remove_blob(struct store *s, const char *repository, const char *digest,
                              bool *ret_removed, struct error *err) _must_check_;

int store_content_add_manifest(struct store *s, const char *repository,
                               const struct store_manifest *m, struct error *err) _must_check_;
/* *ret_found false: there is none, and *ret is left alone. */
int store_content_find_manifest(struct store *s, const char *repository, const char *digest,
                                bool *ret_found, struct store_manifest *ret,
                                struct error *err) _must_check_;
/* With its tags. */
int store_content_remove_manifest(struct store *s, const char *repository, const char *digest,
                                  bool *ret_removed, struct error *err) _must_check_;
int store_content_referrers(struct store *s, const char *repository, const char *subject,
                            struct store_manifest **ret, struct error *err) _must_check_;

/* image_id: the image of the store that the manifest became, or NULL. */
int store_content_set_tag(struct store *s, const char *repository, const char *tag,
                          const char *digest, const char *image_id, struct error *err) _must_check_;
/* *ret_digest and *ret_image_id are owned; both NULL when there is no such tag. */
int store_content_find_tag(struct store *s, const char *repository, const char *tag,
                           char **ret_digest, char **ret_image_id, struct error *err) _must_check_;
int store_content_remove_tag(struct store *s, const char *repository, const char *tag,
                             bool *ret_removed, struct error *err) _must_check_;
/* The tags of a manifest, or of all (digest NULL); with those of images when digest is NULL.
 * Sorted, owned. */
int store_content_tags(struct store *s, const char *repository, const char *digest, char ***ret,
                       struct error *err) _must_check_;
/* Every repository that has something, images' included; sorted, owned. */
int store_content_repositories(struct store *s, char ***ret, struct error *err) _must_check_;

/* Whether an image of this repository has the digest as configuration (*ret_layer false) or, of its
 * uncompressed tar, as layer. *ret_bytes: of the tar; 0 for a configuration. */
int store_content_of_image(struct store *s, const char *repository, const char *digest,
                           bool *ret_found, bool *ret_layer, uint64_t *ret_bytes,
                           struct error *err) _must_check_;
/* The manifest that was made for an image; *ret_digest is NULL when none was. */
int store_content_made(struct store *s, const char *image_id, char **ret_digest,
                       uint64_t *ret_bytes, struct error *err) _must_check_;
int store_content_set_made(struct store *s, const char *image_id, const char *digest,
                           uint64_t bytes, struct error *err) _must_check_;
/* The image of this repository whose made manifest has the digest; NULL when there is none. */
int store_content_made_image(struct store *s, const char *repository, const char *digest,
                             char **ret_image_id, struct error *err) _must_check_;

/* Every digest that a row here has, once, with the size it should have. *ret is owned:
 * store_content_list_free. */
struct store_content {
    char *digest; /* NULL ends the list */
    uint64_t bytes;
};
int store_content_list(struct store *s, struct store_content **ret, struct error *err) _must_check_;
void store_content_list_free(struct store_content *list); /* takes NULL */
/* Removes every row that has the digest, with its tags. */
int store_content_forget(struct store *s, const char *digest, struct error *err) _must_check_;

/* Manifests with each of their tags, by repository and tag; repository NULL: of all. *ret is owned,
 * ended by a NULL repository. */
struct store_content_entry {
    char *repository, *digest, *media_type;
    char *tag, *subject; /* or NULL */
    uint64_t bytes;      /* of the manifest */
    int64_t added_ns;
};
int store_content_entries(struct store *s, const char *repository, struct store_content_entry **ret,
                          struct error *err) _must_check_;
void store_content_entries_free(struct store_content_entry *list); /* takes NULL */
/* The blobs of a repository that were added, or pushed again, before. */
int store_content_blobs(struct store *s, const char *repository, int64_t before_ns,
                        struct store_content **ret, struct error *err) _must_check_;
