/* A new image of an old one and one more layer. */
#pragma once

#include "service/image/image.h"

struct image_commit;

/* The layer is read first; nothing is visible before image_commit_finish. */
int image_commit_begin(struct store *s, const struct image *parent, struct image_commit **ret,
                       struct error *err) _must_check_;
void image_commit_free(struct image_commit *c); /* takes NULL */
DEFINE_CLEANUP(struct image_commit *, image_commit_free)
#define _cleanup_commit_ _cleanup_(image_commit_free_cleanup)

/* tar_fd: the layer's archive, read to its end. */
int image_commit_layer(struct image_commit *c, int tar_fd, struct error *err) _must_check_;

struct image_commit_as {
    const char *name;                          /* name[:tag] or NULL */
    const char *created_by, *author, *message; /* for the history; may be NULL */
    char *const *changes;                      /* as image_import's; may be NULL */
};
/* Whether it would be taken: before a long layer is made for nothing. */
int image_commit_check(const struct image *parent, const struct image_commit_as *as,
                       struct error *err) _must_check_;
/* *ret_id is owned. */
int image_commit_finish(struct image_commit *c, const struct image_commit_as *as, char **ret_id,
                        struct error *err) _must_check_;
