/*
 * Images from a registry. Layers are downloaded side by side into ROOT/partial (partial.c), each
 * unpacked while it arrives (fetch.c); the image becomes visible when all of it was verified.
 */
#pragma once

#include "service/image/image.h"
#include "service/registry/registry.h"

enum image_layer_state {
    LAYER_EXISTS,      /* in the store already */
    LAYER_WAITING,     /* another command downloads it */
    LAYER_DOWNLOADING, /* done of total bytes */
    LAYER_UNPACKING,   /* all there, not all verified */
    LAYER_DONE,
    LAYER_PACKING, /* for a push: its tar is made and compressed */
    LAYER_UPLOADING,
    LAYER_MOUNTED, /* the registry has it in another repository */
};
const char *image_layer_state_name(enum image_layer_state state); /* "downloading" */

struct image_pull_event {
    const char *digest; /* of the layer as the manifest has it */
    size_t index, n;    /* which of how many */
    enum image_layer_state state;
    uint64_t done, total;
};

struct image_pull {
    const struct reference *from; /* with a registry; without tag and digest: "latest" */
    const struct registry_options *registry;
    const char *platform;  /* "os/architecture[/variant]"; NULL: the host's */
    unsigned int parallel; /* layers at once; 0: 4 */
    void (*event)(void *context, const struct image_pull_event *e); /* may be NULL */
    void *context;
};
struct image_pulled {
    char *id, *name; /* name NULL when pulled by digest */
    char *digest;    /* of the manifest or index that the name stands for */
    bool changed;    /* false: it was there already */
};
void image_pulled_done(struct image_pulled *p);
int image_pull(struct store *s, const struct image_pull *how, struct image_pulled *ret,
               struct error *err) _must_check_;

/* Removes half-downloaded layers that nobody works on and that are older than age_s. */
void image_partial_prune(struct store *s, int64_t age_s);
