/*
 * YAML as trees: what a person wrote, with the lines it stands on. Bounded: bytes, depth and number
 * of values; anchors, aliases and tags are refused, so a small file is a small tree; a key may
 * stand in a mapping once. JSON is YAML, so JSON documents are read as well.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define YAML_MAX_BYTES  ((size_t)4 << 20)
#define YAML_MAX_DEPTH  32
#define YAML_MAX_VALUES 400000
#define YAML_MAX_KEYS   4096 /* of one mapping */

enum yaml_type {
    YAML_SCALAR,
    YAML_SEQUENCE,
    YAML_MAPPING,
};

struct yaml {
    enum yaml_type type;
    uint32_t line;      /* from 1 */
    bool plain;         /* of a scalar: without quotes, so it may be null, a number or a truth */
    char *text;         /* of a scalar */
    char **keys;        /* of a mapping, one for each child */
    struct yaml **list; /* children */
    size_t n;
};

/* A NULL-terminated vector of documents, owned; empty documents are left out. `what` names the
 * source in messages. */
int yaml_parse(const char *text, size_t len, const char *what, struct yaml ***ret,
               struct error *err) _must_check_;
void yaml_free(struct yaml *y); /* takes NULL */
void yaml_free_list(struct yaml **list);

/* A plain null, ~ or nothing. */
bool yaml_is_null(const struct yaml *y);
/* The child of a mapping, or NULL when it is absent or null. */
const struct yaml *yaml_get(const struct yaml *map, const char *key);

/* The tree as JSON, with nothing lost but the lines; owned. */
json_t *yaml_to_json(const struct yaml *y);

/* ERROR_INVALID: "line 12: " and the message. */
int yaml_wrong(const struct yaml *y, struct error *err, const char *fmt, ...) _printf_(3, 4);
/* Fails unless y is of the type; `what` is the key it is the value of. */
int yaml_want(const struct yaml *y, enum yaml_type type, const char *what,
              struct error *err) _must_check_;
/* Fails when the mapping has a key that is not in the NULL-terminated list. */
int yaml_only(const struct yaml *map, const char *const *keys, const char *where,
              struct error *err) _must_check_;
/* An absent member leaves *ret as it was. Strings are borrowed. */
int yaml_get_string(const struct yaml *map, const char *key, const char **ret,
                    struct error *err) _must_check_;
int yaml_get_u32(const struct yaml *map, const char *key, uint32_t max, uint32_t *ret,
                 struct error *err) _must_check_;
int yaml_get_bool(const struct yaml *map, const char *key, bool *ret,
                  struct error *err) _must_check_;
/* Of that type, or *ret is NULL when absent. */
int yaml_get_of(const struct yaml *map, const char *key, enum yaml_type type,
                const struct yaml **ret, struct error *err) _must_check_;
