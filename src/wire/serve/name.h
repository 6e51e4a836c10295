/* The words of the distribution specification: repositories, tags, digests, uploads. */
#pragma once

#include <stdbool.h>

#include "base/macro.h"

#define SERVE_REPOSITORY_MAX 255
#define SERVE_TAG_MAX        128
#define SERVE_DIGEST_MAX     135 /* "sha512:" and 128 hex digits */
#define SERVE_ID_LEN         32  /* hex digits of an upload or a session */

/* Parts of lower-case letters and digits with ".", "_", "__" or dashes between them, and "/"
 * between the parts. */
bool serve_repository_ok(const char *name);
bool serve_tag_ok(const char *tag);
/* "sha256" or "sha512" when it is a whole digest of that kind; otherwise NULL. What has passed this
 * can be part of a path. */
const char *serve_digest_algorithm(const char *digest);
bool serve_digest_ok(const char *digest);
/* The hex digits of a valid digest; borrowed. */
const char *serve_digest_hex(const char *digest);
bool serve_id_ok(const char *id);
/* A media or artifact type: printable, without spaces and quotes. */
bool serve_type_ok(const char *type);
/* A tag or a digest. */
bool serve_reference_ok(const char *reference);
