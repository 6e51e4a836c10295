/*
 * How a registry asks for credentials (RFC 9110's WWW-Authenticate, with the parameters of Docker's
 * token protocol), and the answer of its token server.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define AUTH_CHALLENGE_MAX ((size_t)16 << 10)
#define AUTH_TOKEN_MAX     ((size_t)64 << 10)

struct auth_challenge {
    bool basic, bearer;            /* which of the two were offered */
    char *realm, *service, *scope; /* of bearer; NULL when not said */
    char *reason;                  /* bearer's error, as "insufficient_scope"; or NULL */
};
void auth_challenge_done(struct auth_challenge *c);

/* Adds one header's challenges to *c (zeroed at first); schemes that are not known are left aside.
 * Of several bearer challenges the first counts. ERROR_CORRUPT when it cannot be read. */
int auth_challenge_add(struct auth_challenge *c, const char *header,
                       struct error *err) _must_check_;

/* The token of {"token": ...} or {"access_token": ...}; owned, only bytes that a header may hold.
 */
int auth_token_parse(const char *text, size_t len, char **ret_token,
                     struct error *err) _must_check_;
