/* An instance's files: as a flat archive, as a list of changes, as a new image. */
#pragma once

#include "engine/engine.h"

/* Its whole root, without what is mounted on it, as a tar into fd. A machine must be running. */
int engine_export(struct engine *e, const char *reference, int fd, struct error *err) _must_check_;

/* What an instance has changed of its image, or an image's last layer of those below it, or the
 * second of two images of the first: lines "A /path", "C /path", "D /path" in the order of the
 * paths. *ret is owned. */
int engine_diff(struct engine *e, const char *reference, const char *other, char ***ret,
                struct error *err) _must_check_;

struct commit_options {
    const char *reference; /* the instance */
    const char *name;      /* the image's name[:tag], or NULL */
    const char *author, *message;
    char *const *changes; /* Dockerfile instructions */
    bool pause;           /* a running container stands still meanwhile */
};
/* *ret_id is owned. */
int engine_commit(struct engine *e, const struct commit_options *o, char **ret_id,
                  struct error *err) _must_check_;
