/*
 * build: a Containerfile and a context become an image.
 *
 * For a process of its own: it makes itself a private mount namespace, in which the roots of stages
 * are mounted, so that whatever kills it leaves no mount behind.
 */
#pragma once

#include "engine/engine.h"

struct build_report {
    void *context;
    void (*line)(void *context, const char *text); /* "STEP 1/4: FROM x"; may be NULL */
    /* What a command prints; stream is 1 or 2. May be NULL. */
    void (*output)(void *context, int stream, const char *data, size_t len);
};

struct build_options {
    const char *context;     /* a directory, or "-": an archive or a Containerfile on stdin */
    const char *file;        /* "-": stdin; NULL: Containerfile or Dockerfile of the context */
    char *const *names;      /* what the image is to be called; may be NULL */
    const char *target;      /* the stage that is wanted; NULL: the last */
    const char *platform;    /* os/arch[/variant]; NULL: the host's */
    const char *network;     /* of RUN: "default", "none", "host"; NULL: default */
    char *const *build_args; /* NAME=VALUE */
    char *const *labels;     /* NAME=VALUE */
    char *const *secrets;    /* id=NAME[,src=FILE|env=VARIABLE] */
    char *const *add_hosts;  /* NAME:ADDRESS */
    char *const *ulimits;    /* NAME=SOFT[:HARD] */
    bool no_cache, squash;
    bool vm; /* RUN in light machines */
    bool has_epoch;
    int64_t epoch_s; /* times are at most this */
    struct build_report report;
    /* Makes sure that a base image is in the store; *image is replaced when it goes by another name
     * there. NULL: only what is there is used. */
    int (*get_image)(void *context, struct engine *e, char **image, struct error *err);
    void *get_image_context;
};

/* *ret_id is owned. A command that fails is ERROR_INVALID with its place, itself and its status. */
int engine_build(struct engine *e, const struct build_options *o, char **ret_id,
                 struct error *err) _must_check_;

/* Removes what the build cache keeps, or only what was not used for older_than_s. */
int engine_build_prune(struct engine *e, int64_t older_than_s, uint64_t *ret_bytes,
                       struct error *err) _must_check_;
