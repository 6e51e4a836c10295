/*
 * What is signed: the "simple signing" document that cosign and containers/image share.
 *
 *   {"critical":{"identity":{"docker-reference":REFERENCE},
 *                "image":{"docker-manifest-digest":DIGEST},
 *                "type":"cosign container image signature"},"optional":{...}}
 *
 * It is parsed only after its signature was found good. "critical" has these members and no others:
 * what we do not understand may say that the signature is not to be believed.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"

#define SIGN_PAYLOAD_MAX_BYTES ((size_t)64 << 10)

struct sign_payload {
    char *reference; /* as claimed; not yet checked for form */
    char *digest;    /* valid (wire/image/digest.h) */
};
void sign_payload_done(struct sign_payload *p);

int sign_payload_parse(const char *text, size_t len, struct sign_payload *ret,
                       struct error *err) _must_check_;
/* Owned. */
char *sign_payload_make(const char *reference, const char *digest);
