/*
 * What a build wants of images: layers that exist before their image does, found again by the key
 * of what they were made from (service/store/build.h), and at the end the image.
 *
 * A finished step is published at once, row and file in one transaction, so that a build which
 * fails later, or is killed, goes on from there the next time. While any build runs nobody forgets
 * steps.
 */
#pragma once

#include "service/image/image.h"
#include "service/store/build.h"

struct image_build {
    struct store *store;
    char *work; /* a directory of its own below ROOT/tmp, gone at the end */
    int work_fd;
    int held; /* the same directory as it was locked; -EBADF: work_fd has the lock */
    int lock;
};
int image_build_begin(struct store *s, struct image_build *ret, struct error *err) _must_check_;
/* After a change of the mount namespace: renames go between directories of one mount only. */
int image_build_reopen(struct image_build *b, struct error *err) _must_check_;
void image_build_end(struct image_build *b);

/* *ret_found: whether the step is known and its layer is there. ret->diff_id NULL: it changed
 * nothing. The layer's strings are owned. */
int image_build_cached(struct image_build *b, const char *key, struct image_layer *ret,
                       int64_t *ret_created_ns, bool *ret_found, struct error *err) _must_check_;
/* The tar at fd becomes the layer of the step with this key. */
int image_build_layer(struct image_build *b, int fd, const char *key, int64_t created_ns,
                      struct image_layer *ret, struct error *err) _must_check_;
/* The step with this key has changed nothing. */
int image_build_unchanged(struct image_build *b, const char *key, int64_t created_ns,
                          struct error *err) _must_check_;

/* An archive (tar, compressed or not) as an EROFS file at path. ERROR_CORRUPT when it is none. */
int image_build_erofs(int fd, const char *path, struct error *err) _must_check_;
/* An archive (tar, compressed or not) as a read-only file system that vanishes with *ret_fd, a
 * detached mount. ERROR_CORRUPT when it is no archive. */
int image_build_archive(struct image_build *b, int fd, int *ret_fd, struct error *err) _must_check_;

struct image_build_result {
    const char *config; /* JSON */
    const char *architecture, *variant;
    int64_t created_ns;
    const struct image_layer *layers;
    size_t n_layers;
    char *const *names; /* canonical */
};
/* *ret_id is owned. */
int image_build_publish(struct image_build *b, const struct image_build_result *result,
                        char **ret_id, struct error *err) _must_check_;

/* Forgets steps that no build has used since before_ns; ERROR_CONFLICT while one runs. */
int image_build_forget(struct store *s, int64_t before_ns, uint64_t *ret_bytes,
                       struct error *err) _must_check_;

/* A layer's file, mounted nowhere yet: a descriptor. */
int image_layer_mount(const char *erofs, struct error *err) _must_check_;
