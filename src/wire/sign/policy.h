/*
 * The policy file: what is asked of an image, by where it comes from and what it is called, before
 * anything of it is kept. Its words are those of containers-policy.json(5), and one more:
 *
 *   {"default": [REQUIREMENT...],
 *    "transports": {"docker": {"registry.example.com/team": [REQUIREMENT...], "": [...]}, ...}}
 *
 *   insecureAcceptAnything, reject
 *   sigstoreSigned   keyPath, keyPaths, keyData or keyDatas; signedIdentity
 *   requireDigest    the reference must name a digest (ours: other programs refuse this word)
 *
 * The most specific scope counts, and of it every requirement. A known word that cannot be checked
 * here (signedBy, Fulcio, Rekor, PKI) refuses the images that it applies to; a word that nobody
 * knows refuses the whole file.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "wire/registry/reference.h"

#define TRUST_POLICY_MAX_BYTES   ((size_t)1 << 20)
#define TRUST_REQUIREMENTS_MAX   16u
#define TRUST_KEYS_MAX           16u
#define TRUST_TRANSPORT_REGISTRY "docker"         /* registries, under every protocol */
#define TRUST_TRANSPORT_ARCHIVE  "docker-archive" /* of docker save */
#define TRUST_TRANSPORT_OCI_DIR  "oci"            /* a directory with an OCI layout */
#define TRUST_TRANSPORT_OCI_FILE "oci-archive"    /* an archive of one */
#define TRUST_TRANSPORT_TAR      "tarball"        /* a root file system's archive */

enum trust_requirement_type {
    TRUST_ACCEPT,
    TRUST_REJECT,
    TRUST_SIGNED,
    TRUST_DIGEST,
    TRUST_UNSUPPORTED,
};

/* Which identity of a signature fits which image. */
enum trust_identity_type {
    TRUST_MATCH_REPOSITORY_DIGEST_OR_EXACT, /* when nothing is said */
    TRUST_MATCH_EXACT,
    TRUST_MATCH_REPOSITORY,
    TRUST_EXACT_REFERENCE,
    TRUST_EXACT_REPOSITORY,
    TRUST_REMAP_IDENTITY,
};

struct trust_identity {
    enum trust_identity_type type;
    char *value; /* dockerReference, dockerRepository or prefix; else NULL */
    char *signed_prefix;
};

struct trust_requirement {
    enum trust_requirement_type type;
    char *word;       /* as written, for messages */
    char **key_paths; /* absolute */
    char **keys;      /* PEM texts that were in the file itself */
    struct trust_identity identity;
};

struct trust_rule {
    char *transport, *scope; /* both NULL: the default; scope "": the transport's own default */
    struct trust_requirement *requirements;
    size_t n_requirements; /* at least one */
};

struct trust_policy {
    struct trust_rule *rules; /* the default first */
    size_t n_rules;
};
void trust_policy_done(struct trust_policy *p);

int trust_policy_parse(const char *text, size_t len, const char *what, struct trust_policy *ret,
                       struct error *err) _must_check_;

/* The rule for the first of the scopes (most specific first) that the transport has one for, else
 * the transport's own default, else the policy's. Never NULL. */
const struct trust_rule *trust_policy_find(const struct trust_policy *p, const char *transport,
                                           char *const *scopes);

/* The scopes of an image in a registry: with its digest or tag, its repository, every namespace
 * above it, the registry, and "*.DOMAIN" for each domain above that. The reference has a registry.
 * Of a file or directory: its absolute path and every directory above it. Owned. */
char **trust_scopes_of_reference(const struct reference *r);
char **trust_scopes_of_path(const char *path);

/* Whether a signature made for claimed ("host/repository:tag") is one for this image. */
bool trust_identity_matches(const struct trust_identity *i, const struct reference *image,
                            const char *claimed);
/* "type": the word for it. */
const char *trust_identity_word(enum trust_identity_type type);
