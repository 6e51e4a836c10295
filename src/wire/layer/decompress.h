/*
 * The uncompressing half of a layer_stream (stream.h): reads an archive, hashes it as it comes, and
 * gives its uncompressed bytes. Touches nothing that is shared, so that it can run in a thread.
 */
#pragma once

#include "wire/layer/stream.h"

struct decompressor;

int decompressor_open(const struct layer_source *source, struct decompressor **ret,
                      struct error *err) _must_check_;
void decompressor_free(struct decompressor *s); /* takes NULL */
DEFINE_CLEANUP(struct decompressor *, decompressor_free)
#define _cleanup_decompressor_ _cleanup_(decompressor_free_cleanup)

/* The archive was not compressed: its digest is that of what comes out. */
bool decompressor_is_plain(const struct decompressor *s);
/* Between 1 and room bytes; 0 at the end, at which the whole archive has been read. */
int decompressor_next(struct decompressor *s, char *out, size_t room, size_t *ret_len,
                      struct error *err) _must_check_;
/* Of the archive, once, after the end. ret has LAYER_DIGEST_SIZE. */
int decompressor_digest(struct decompressor *s, char *ret, uint64_t *ret_bytes,
                        struct error *err) _must_check_;

/* SHA-256 of what is added; NULL when memory is gone. */
struct layer_hash;
struct layer_hash *layer_hash_new(void);
void layer_hash_free(struct layer_hash *h); /* takes NULL */
int layer_hash_add(struct layer_hash *h, const void *data, size_t len,
                   struct error *err) _must_check_;
/* "sha256:..."; ends it. */
int layer_hash_text(struct layer_hash *h, char *ret, struct error *err) _must_check_;
