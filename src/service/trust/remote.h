/* Signatures in registries: the session as trust.h wants it, and what sign and verify do. */
#pragma once

#include "service/registry/registry.h"
#include "service/trust/trust.h"

/* Borrows the session, which must have nothing else under way while it is used. */
struct trust_registry trust_registry_of_session(struct registry_session *s);

struct trust_remote {
    const struct registry_options *registry;
    const struct reference *of; /* with a registry; without tag and digest: "latest" */
};
/* The digest of the manifest or index that it names, computed here; owned. */
int trust_remote_digest(const struct trust_remote *at, char **ret, struct error *err) _must_check_;
int trust_remote_attach(const struct trust_remote *at, const char *digest,
                        const struct trust_signature *s, struct error *err) _must_check_;
/* Whether one of the requirement's keys signed it. *ret_digest is owned. */
int trust_remote_verify(const struct trust_remote *at, const struct trust_requirement *q,
                        char **ret_digest, struct error *err) _must_check_;
