/*
 * Where registries keep signatures: an image manifest under the tag "sha256-HEX.sig", HEX being the
 * digest of what is signed. Each layer is a payload, its annotation the signature in base64.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"

#define SIGN_MANIFEST_MAX_BYTES ((size_t)1 << 20)
#define SIGN_SIGNATURES_MAX     128u
#define SIGN_SIGNATURE_MAX      ((size_t)8 << 10) /* in base64 */
#define SIGN_MANIFEST_TYPE      "application/vnd.oci.image.manifest.v1+json"
#define SIGN_CONFIG_TYPE        "application/vnd.oci.image.config.v1+json"

struct sign_entry {
    char *digest; /* of the payload; valid */
    uint64_t size;
    char *signature; /* base64, as written */
};

struct sign_manifest {
    struct sign_entry *entries;
    size_t n_entries;
};
void sign_manifest_done(struct sign_manifest *m);

/* "sha256-HEX.sig"; owned. digest is valid. */
char *sign_tag(const char *digest);

/* Layers of other types are left out; a payload that is too large, or has no signature, refuses the
 * whole document. */
int sign_manifest_parse(const char *text, size_t len, struct sign_manifest *ret,
                        struct error *err) _must_check_;

/* Adds one signature to old (the manifest that is there, or NULL), whose other layers stay as they
 * are. *ret_config goes beside it; config_digest of that text is asked for by the second call.
 * Owned. */
int sign_config_make(const char *old, size_t old_len, const char *payload_digest, char **ret_config,
                     struct error *err) _must_check_;
int sign_manifest_make(const char *old, size_t old_len, const struct sign_entry *added,
                       const char *config, const char *config_digest, char **ret,
                       struct error *err) _must_check_;
