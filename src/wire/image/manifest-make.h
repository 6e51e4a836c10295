/* Writing the documents around an image; the same values give the same text. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/image/manifest.h"

#define MEDIA_TYPE_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_TYPE_OCI_INDEX    "application/vnd.oci.image.index.v1+json"
#define MEDIA_TYPE_OCI_CONFIG   "application/vnd.oci.image.config.v1+json"

struct manifest_part {
    const char *media_type, *digest;
    uint64_t size;
};

/* Of a layer compressed with "none", "gzip" or "zstd". */
const char *media_type_of_layer(const char *compression);

/* An OCI manifest; owned. */
char *manifest_make(const struct manifest_part *config, const struct manifest_part *layers,
                    size_t n_layers);

struct index_entry {
    struct manifest_part manifest;
    const char *os, *architecture, *variant; /* variant NULL: not said */
    const char *name;                        /* NULL: none */
};
/* An OCI index; owned. */
char *index_make(const struct index_entry *entries, size_t n);

/* manifest.json of docker save; owned. */
char *docker_manifest_make(const struct docker_image *images, size_t n);
