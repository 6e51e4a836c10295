/*
 * JSON through jansson, with what every reader of outside bytes needs: a size bound, a depth bound,
 * duplicate keys refused, and getters that say which member was wrong.
 *
 * Getters: an absent member (or null) leaves *ret as it was and gives 0; a member of another type
 * is ERROR_INVALID naming `where` and the key. Strings that are got are borrowed from the document.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define JSON_MAX_BYTES ((size_t)8 << 20)

/* Parses one document. *ret is owned (json_decref). `what` names the source in messages. */
int json_parse(const char *text, size_t len, const char *what, json_t **ret,
               struct error *err) _must_check_;
int json_parse_file(int dirfd, const char *path, json_t **ret, struct error *err) _must_check_;

int json_get_string(const json_t *o, const char *where, const char *key, const char **ret,
                    struct error *err) _must_check_;
int json_get_bool(const json_t *o, const char *where, const char *key, bool *ret,
                  struct error *err) _must_check_;
int json_get_i64(const json_t *o, const char *where, const char *key, int64_t *ret,
                 struct error *err) _must_check_;
int json_get_u32(const json_t *o, const char *where, const char *key, uint32_t *ret,
                 struct error *err) _must_check_;
/* Objects and arrays: *ret is borrowed, NULL when absent. */
int json_get_object(const json_t *o, const char *where, const char *key, json_t **ret,
                    struct error *err) _must_check_;
int json_get_array(const json_t *o, const char *where, const char *key, json_t **ret,
                   struct error *err) _must_check_;
/* An array of strings as an owned, NULL-terminated vector (strv_free); NULL when absent. */
int json_get_strv(const json_t *o, const char *where, const char *key, char ***ret,
                  struct error *err) _must_check_;

json_t *json_from_strv(char *const *v); /* a new array; NULL vector gives an empty one */

/* Serialises compactly; owned. */
char *json_to_text(const json_t *o);

static inline void json_cleanup(json_t **o)
{
    json_decref(*o);
}
#define _cleanup_json_ _cleanup_(json_cleanup)
