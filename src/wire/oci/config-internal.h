/*
 * How JSON members become members of a struct: a table of fields per object, and one walker for
 * arrays of objects.
 */
#pragma once

#include "base/json.h"
#include "wire/oci/config.h"

enum field_type {
    FIELD_STRING, /* char *, owned */
    FIELD_BOOL,
    FIELD_U32,
    FIELD_I64,
    FIELD_STRV, /* char **, owned */
};

struct field {
    const char *key;
    enum field_type type;
    size_t offset;
    int64_t low, high; /* FIELD_I64 */
};

#define FIELD(key, kind, type, member)                                                             \
    {                                                                                              \
        key, FIELD_##kind, offsetof(type, member), 0, 0                                            \
    }
#define NUMBER(key, type, member, low, high)                                                       \
    {                                                                                              \
        key, FIELD_I64, offsetof(type, member), low, high                                          \
    }

/* Absent members leave the struct's member as it was. */
int oci_fields(const json_t *o, const char *where, const struct field *fields, size_t n, void *out,
               struct error *err) _must_check_;
#define OCI_FIELDS(o, where, fields, out, err)                                                     \
    oci_fields(o, where, fields, ARRAY_SIZE(fields), out, err)

/* Reads o[key], an array of objects, into an owned array of items of `size` bytes, one call of
 * `read` each. *items and *n are valid (and to be freed) on failure too. Absent: NULL and 0. */
typedef int oci_item_reader(const json_t *o, const char *where, void *item, struct error *err);
int oci_items(const json_t *o, const char *where, const char *key, size_t size,
              oci_item_reader *read, void **items, size_t *n, struct error *err) _must_check_;

/* A number within bounds; absent leaves *ret as it was. */
int oci_number(const json_t *o, const char *where, const char *key, int64_t low, int64_t high,
               int64_t *ret, struct error *err) _must_check_;

/* The member must be there and be a non-empty string. */
int oci_require(const char *value, const char *where, const char *key,
                struct error *err) _must_check_;

/* Numbers that the specification requires and that 0 would stand for otherwise; `keys` ends with
 * NULL. */
int oci_require_members(const json_t *o, const char *where, const char *const *keys,
                        struct error *err) _must_check_;

/* {"a": "b"} into an owned array of pairs of owned strings. */
struct oci_pair {
    char *key, *value;
};
int oci_pairs(const json_t *o, const char *where, const char *key, void *items, size_t *n,
              struct error *err) _must_check_;

int oci_field_strv(const json_t *o, const char *where, const char *key, char ***out,
                   struct error *err) _must_check_;

int oci_process_from_json(const json_t *o, struct oci_process *p, struct error *err) _must_check_;
void oci_process_done(struct oci_process *p);
/* Both take the array of all kinds. */
int oci_hooks_from_json(const json_t *config, struct oci_hook_list *hooks,
                        struct error *err) _must_check_;
void oci_hooks_done(struct oci_hook_list *hooks);

int oci_linux_from_json(const json_t *o, struct oci_linux *l, struct error *err) _must_check_;
void oci_linux_init(struct oci_linux *l);
void oci_linux_done(struct oci_linux *l);
int oci_id_map_from_json(const json_t *o, const char *where, void *item,
                         struct error *err) _must_check_;
int oci_resources_from_json(const json_t *o, struct oci_resources *res,
                            struct error *err) _must_check_;

/* A document; the unsigned "no limit" in it is -1. */
int oci_parse_text(const char *text, size_t len, const char *what, json_t **ret,
                   struct error *err) _must_check_;

/* config-idmap.c: the mappings in a mount's options, which may refer to those of linux. */
int oci_mount_read_id_maps(const struct oci_linux *l, struct oci_mount *m, const char *where,
                           struct error *err) _must_check_;

/* config-host.c: timeOffsets, personality, memoryPolicy, intelRdt, netDevices. */
int oci_linux_host_from_json(const json_t *o, struct oci_linux *l, struct error *err) _must_check_;
void oci_linux_host_done(struct oci_linux *l);

/* process-host.c: scheduler, ioPriority, execCPUAffinity. */
int oci_process_host_from_json(const json_t *o, struct oci_process *p,
                               struct error *err) _must_check_;

/* The number that a name stands for. */
struct oci_word {
    const char *name;
    int64_t value;
};
int oci_word(const struct oci_word *words, size_t n, const char *name, const char *where,
             int64_t *ret, struct error *err) _must_check_;
#define OCI_WORD(words, name, where, ret, err)                                                     \
    oci_word(words, ARRAY_SIZE(words), name, where, ret, err)

/* A vocabulary that `features` lists, too. */
struct oci_words {
    const struct oci_word *items;
    size_t n;
};
#define OCI_WORDS(array)                                                                           \
    {                                                                                              \
        array, ARRAY_SIZE(array)                                                                   \
    }
extern const struct oci_words oci_seccomp_actions, oci_seccomp_operators, oci_seccomp_architectures,
    oci_seccomp_flags, oci_memory_modes, oci_memory_flags;

/* o[key], an array of words: the flags that they stand for, together. */
int oci_word_flags(const json_t *o, const char *where, const char *key,
                   const struct oci_words *words, int64_t *ret, struct error *err) _must_check_;
