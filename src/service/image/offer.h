/*
 * Images as a registry offers them to others. The compressed layers that an image once came with
 * are not kept, and a stream that was compressed by somebody else cannot be made again. So the
 * layers are offered uncompressed: their digest is the diff id and their size is known, which makes
 * the manifest a matter of writing it down, with no byte of a layer read before it is wanted.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "service/store/image.h"
#include "service/store/store.h"

/* The manifest for an image: made and kept as a blob when it was not there. *ret_digest is owned.
 * ERROR_UNSUPPORTED when a layer cannot be given back. */
int image_offer(struct store *s, const struct store_image *i, char **ret_digest,
                uint64_t *ret_bytes, struct error *err) _must_check_;

/* The tar of a layer, byte for byte, from a process that writes it: the reading end of its pipe and
 * its pid, both the caller's. */
int image_offer_layer(struct store *s, const char *diff_id, int *ret_fd, pid_t *ret_pid,
                      struct error *err) _must_check_;

/* Makes images of the store of a manifest or index whose parts are all in ROOT/blobs/sha256, under
 * these names. *ret_id is owned. */
int image_load_stored(struct store *s, const char *digest, uint64_t size, char *const *names,
                      char **ret_id, struct error *err) _must_check_;
