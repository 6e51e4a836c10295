/* What was pushed into this store, for whoever looks after it. */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "service/store/store.h"

/* "REPOSITORY:TAG" (the tag), "REPOSITORY@DIGEST" (the manifest with its tags) or "REPOSITORY" (all
 * of it). Images of the store stay. ERROR_NOT_FOUND. */
int content_remove(struct store *s, const char *reference, struct error *err) _must_check_;

/* Removes what nobody can name any more: manifests without a tag, unless an index that stays lists
 * them or they belong to one that stays; and blobs that no manifest of their repository needs. What
 * was pushed after before_ns stays: it may be a part of something that is still coming. *ret_done:
 * a line each; *ret_bytes: what was given back. */
int content_prune(struct store *s, int64_t before_ns, char ***ret_done, uint64_t *ret_bytes,
                  struct error *err) _must_check_;
