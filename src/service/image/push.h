/* Images to a registry. */
#pragma once

#include "service/image/pull.h"

struct image_push {
    const char *image;          /* as image_find takes it */
    const struct reference *to; /* with a registry; without a tag: "latest" */
    const struct registry_options *registry;
    const char *compression; /* of layers that have to be packed: "gzip" (NULL too) or "zstd" */
    unsigned int parallel;   /* uploads at once; 0: 4 */
    void (*event)(void *context, const struct image_pull_event *e); /* may be NULL */
    void *context;
};
struct image_pushed {
    char *digest; /* of the manifest; owned */
    uint64_t bytes;
};
/* What the registry has already is not sent again, what it has in another repository is mounted
 * from there. An image that came from a registry keeps its manifest when its layers are there in
 * the same form. */
int image_push(struct store *s, const struct image_push *how, struct image_pushed *ret,
               struct error *err) _must_check_;
