/*
 * What names an image in a registry: [HOST[:PORT]/]PATH[:TAG][@DIGEST], as Docker has it. A first
 * part with a dot, a colon, or that is "localhost", is a host. "docker.io" may also be written
 * "index.docker.io", and its repositories without a slash are below "library/".
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct reference {
    char *registry;   /* "docker.io", "localhost:5000"; NULL when no host was written */
    char *repository; /* "library/debian"; as written when there is no host */
    char *tag;        /* NULL when none was written */
    char *digest;     /* valid (wire/image/digest.h), or NULL */
};
void reference_done(struct reference *r);

/* ERROR_INVALID with a message that says what is wrong. */
int reference_parse(const char *text, struct reference *ret, struct error *err) _must_check_;

/* The name under which the store keeps it: "repository:tag", or "repository" alone when tag is
 * NULL, without "docker.io/" and "library/" where the rest is not taken for a host; owned. */
char *reference_store_name(const struct reference *r, const char *tag);

/* One "TAG" that is well formed. */
bool reference_tag_ok(const char *tag);
/* "HOST[:PORT]" that is well formed. */
bool reference_host_ok(const char *host);
