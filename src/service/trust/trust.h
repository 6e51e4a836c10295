/*
 * Trust at the door: whether an image may be kept, decided before anything of it is.
 *
 * The policy (wire/sign/policy.h) is read from the file that the store was opened with (--policy),
 * else from /etc/proa/policy.json; where there is none, everything is accepted. A file that cannot
 * be read or understood refuses everything.
 *
 * A signature is believed when one of the keys made it (proa-trust checks that, without privilege)
 * and the text that it signs names the manifest's digest and a fitting identity. Where signatures
 * are is asked of the caller, because only it has a session with the registry.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "service/store/store.h"
#include "wire/registry/reference.h"
#include "wire/sign/policy.h"

#define TRUST_DEFAULT_FILE "/etc/proa/policy.json"

struct trust {
    char *file; /* NULL: the built-in policy, which accepts everything */
    struct trust_policy policy;
};
/* file NULL: the default's. */
int trust_open(const char *file, struct trust **ret, struct error *err) _must_check_;
void trust_close(struct trust *t); /* takes NULL */
DEFINE_CLEANUP(struct trust *, trust_close)
#define _cleanup_trust_ _cleanup_(trust_close_cleanup)

/* What a registry is asked for; each call is one request. Texts are owned by the caller. */
struct trust_registry {
    /* *ret NULL: there is no such manifest. */
    int (*get_manifest)(void *context, const char *reference, char **ret, size_t *ret_len,
                        struct error *err);
    int (*get_blob)(void *context, const char *digest, uint64_t size, char **ret, size_t *ret_len,
                    struct error *err);
    /* Only to sign. */
    int (*put_blob)(void *context, const char *digest, const char *text, struct error *err);
    int (*put_manifest)(void *context, const char *tag, const char *type, const char *text,
                        struct error *err);
    void *context;
};

struct trust_image {
    const struct reference *reference; /* with its registry */
    /* Of the manifest; and of the index that named it, if any: whoever signs the index signs all
     * that is in it. Both are what was computed, not what was said. */
    const char *digests[2];
};

/* Whether the policy lets the image in. ERROR_DENIED says what was missing and which rule asks for
 * it. */
int trust_check(const struct trust *t, const struct trust_image *image,
                const struct trust_registry *from, struct error *err) _must_check_;

/* The same for what is no registry's: a transport of wire/sign/policy.h; path NULL when there is
 * none (stdin). Reads the store's policy. */
int trust_check_local(const struct store *s, const char *transport, const char *path,
                      struct error *err) _must_check_;

/* A requirement in one line: "sigstoreSigned by /etc/k.pub, matchRepository"; owned. */
char *trust_describe(const struct trust_requirement *q);

/* --- signing --- */

/* The first line of a file, or the environment's COSIGN_PASSWORD where none is named (NULL when it
 * is not set). *ret is owned. */
int trust_passphrase_read(const char *file, char **ret, struct error *err) _must_check_;

struct trust_key {
    char *pem, *passphrase; /* passphrase may be NULL; both are wiped */
};
int trust_key_read(const char *file, const char *passphrase_file, struct trust_key *ret,
                   struct error *err) _must_check_;
void trust_key_done(struct trust_key *k);

struct trust_signature {
    char *payload, *signature; /* the signed text; base64 */
    char *public_key;          /* PEM */
};
void trust_signature_done(struct trust_signature *s);

/* Signs that the manifest of this digest is "host/repository:tag" (identity). */
int trust_sign(const struct trust_key *k, const char *identity, const char *digest,
               struct trust_signature *ret, struct error *err) _must_check_;
/* Puts it beside the image, with the signatures that are there. */
int trust_attach(const struct trust_registry *to, const char *digest,
                 const struct trust_signature *s, struct error *err) _must_check_;

/* A pair of keys; type as in wire/sign/key.h. */
int trust_generate(const char *type, const char *passphrase, char **ret_private, char **ret_public,
                   struct error *err) _must_check_;
