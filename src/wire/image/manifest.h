/*
 * The documents around an image: OCI and Docker (schema 2) manifests and indexes, and the
 * manifest.json of docker save. Parsed from text whose digest the caller has checked.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define MANIFEST_LAYERS_MAX 256u
#define MANIFEST_ITEMS_MAX  1024u  /* manifests of an index, images of an archive */
#define MANIFEST_CHUNKS_MAX 32768u /* layers of a disk; its size is what bounds them */

struct manifest_descriptor {
    char *media_type; /* may be NULL in indexes of old tools */
    char *digest;     /* valid (digest.h) */
    uint64_t size;
    char *os, *architecture, *variant; /* of an index's entries; NULL when not said */
    char *name;                        /* the annotation that names the image, or NULL */
    bool attestation;                  /* describes another entry: no image */
};

struct manifest {
    bool index;                        /* items are manifests; otherwise layers, bottom first */
    bool disk;                         /* a disk's (wire/disk/disk.h): the layers are chunks */
    struct manifest_descriptor config; /* of a manifest */
    struct manifest_descriptor *items;
    size_t n_items;
};
void manifest_done(struct manifest *m);

/* media_type: what the document was announced as, or NULL. A document that is a manifest and an
 * index at once, or something else than announced, is refused. `what` names it in messages. */
int manifest_parse(const char *text, size_t len, const char *media_type, const char *what,
                   struct manifest *ret, struct error *err) _must_check_;

struct docker_image {
    char *config;  /* member names, not yet normalised */
    char **layers; /* bottom first */
    char **names;  /* "repository:tag" as written; may be empty */
};
struct docker_manifest {
    struct docker_image *images;
    size_t n_images;
};
void docker_manifest_done(struct docker_manifest *m);
int docker_manifest_parse(const char *text, size_t len, struct docker_manifest *ret,
                          struct error *err) _must_check_;

/* The host's architecture in the words of these documents ("amd64"). */
const char *platform_host_architecture(void);
struct image_platform {
    char os[32], architecture[32], variant[32]; /* variant "": any */
};
/* "linux/arm64", "linux/arm/v7"; NULL gives the host's. ERROR_INVALID. */
int platform_parse(const char *text, struct image_platform *ret, struct error *err) _must_check_;
/* The entry of an index to take; -ENOENT with the list of what there is. */
int manifest_choose_for(const struct manifest *index, const struct image_platform *wanted,
                        const struct manifest_descriptor **ret, struct error *err) _must_check_;
/* The same for this host. */
int manifest_choose(const struct manifest *index, const struct manifest_descriptor **ret,
                    struct error *err) _must_check_;
