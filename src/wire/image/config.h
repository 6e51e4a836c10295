/* The configuration of an image: parsing it, and making one for an imported file system. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct image_config {
    char *architecture, *os, *variant; /* variant may be NULL */
    int64_t created_ns;
    char **diff_ids; /* valid digests, bottom first; never NULL */
    /* NULL when absent */
    char **entrypoint, **cmd, **env, **exposed_ports, **volumes, **labels /* "key=value" */;
    char *user, *working_dir, *stop_signal;
};
void image_config_done(struct image_config *c);

/* Labels under "proa." are dropped: they are the engine's words, not an image's. */
int image_config_parse(const char *text, size_t len, struct image_config *ret,
                       struct error *err) _must_check_;

struct image_config_new {
    const char *parent;  /* the configuration of the image it is made from, or NULL */
    const char *diff_id; /* of the layer that is new */
    const char *created_by, *author, *message; /* for the history; may be NULL */
    char *const *changes;                      /* Dockerfile instructions, or NULL */
    int64_t created_ns;
};
/* *ret_json is owned. A change that is not understood is ERROR_INVALID and quoted. */
int image_config_make(const struct image_config_new *n, char **ret_json,
                      struct error *err) _must_check_;
