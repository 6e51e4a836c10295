/* What the files of this folder share. */
#pragma once

#include <jansson.h>

#include "service/trust/trust.h"

/* Runs proa-trust with the request (taken) on its stdin; *ret is what it printed (helper.c). */
int trust_helper(const char *command, json_t *request, json_t **ret,
                 struct error *err) _must_check_;
/* Bytes as base64 text. */
json_t *trust_base64(const char *text, size_t len);

/* "sha256:..." of a text; owned (sign.c). */
int trust_digest(const char *text, size_t len, char **ret, struct error *err) _must_check_;

/* The PEM texts of a requirement, read from its files (policy.c); owned. */
int trust_read_keys(const struct trust_requirement *q, char ***ret, struct error *err) _must_check_;

/* Looks for one good signature of the image (search.c). ERROR_DENIED says why there is none. */
int trust_search(const struct trust_requirement *q, const struct trust_image *image,
                 const struct trust_registry *from, struct error *err) _must_check_;
