/* Layers from a registry into ROOT/partial; private to this folder. */
#pragma once

#include "service/image/internal.h"
#include "service/image/pull.h"
#include "wire/image/manifest.h"

/* partial.c: everything by the hex digits of the compressed digest. */
int image_partial_open(struct store *s, struct error *err) _must_check_;
/* 1 and the locked file, 0 when another one holds it. */
int image_partial_lock(int dir, const char *hex, int *ret_fd, struct error *err) _must_check_;
/* For who holds the lock: an empty file to write the layer's ".erofs" or ".split" to; and both are
 * whole. */
int image_partial_output(int dir, const char *hex, const char *ending,
                         struct error *err) _must_check_;
int image_partial_finish(int dir, const char *hex, const struct store_layer *l,
                         struct error *err) _must_check_;
/* Whether it is whole already; ret->diff_id is owned. */
bool image_partial_finished(int dir, const char *hex, struct store_layer *ret);
/* Its files into another directory, by the hex digits of its diff id. */
int image_partial_link(int dir, const char *hex, int to, const char *to_hex,
                       struct error *err) _must_check_;
void image_partial_remove(int dir, const char *hex);
/* Removes it unless somebody holds it. */
void image_partial_release(int dir, const char *hex);

struct image_fetch {
    struct store *store;
    struct registry_session *session;
    const struct image_pull *how;
    const struct manifest_descriptor *layers; /* bottom first */
    char *const *diff_ids;                    /* as many */
    size_t n;
};
/* Gets those that the store does not have; afterwards each is in the store or finished in
 * ROOT/partial. */
int image_fetch_run(const struct image_fetch *f, struct error *err) _must_check_;
