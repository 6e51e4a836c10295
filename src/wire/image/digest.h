/* Digests as the OCI image specification writes them; only sha256 is used. */
#pragma once

#include <stdbool.h>

#include "base/text.h"

#define DIGEST_PREFIX "sha256:"
#define DIGEST_LEN    71 /* prefix and 64 hex digits */

/* Exactly "sha256:" and 64 lower-case hex digits: what has passed this can be part of a path. */
static inline bool digest_valid(const char *digest)
{
    return digest && strncmp(digest, DIGEST_PREFIX, 7) == 0 && strlen(digest) == DIGEST_LEN &&
           is_hex(digest + 7, 64);
}

/* The hex digits of a valid digest; borrowed. */
static inline const char *digest_hex(const char *digest)
{
    return digest + 7;
}

/* The 64 hex digits that a name begins with ("HEX.erofs", "HEX.json"), as a digest; false when it
 * does not. suffix NULL: any. */
static inline bool digest_from_name(const char *name, const char *suffix,
                                    char ret[static DIGEST_LEN + 1])
{
    if (strlen(name) < 64 || (suffix && strcmp(name + 64, suffix) != 0))
        return false;
    snprintf(ret, DIGEST_LEN + 1, DIGEST_PREFIX "%.64s", name);
    return digest_valid(ret);
}
