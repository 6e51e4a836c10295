/*
 * Instances in the store: what was asked for. What is running is not here but with the monitor
 * (runtime/monitor/client.h); the store never claims that something runs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "service/store/store.h"

struct instance_record {
    char *id;         /* 64 hex digits */
    char *name;       /* unique */
    int kind;         /* enum runtime_kind */
    char *image_id;   /* "sha256:..." */
    char *image_name; /* as the user said it */
    int64_t created_ns;
    bool auto_remove; /* --rm */
    char *options;    /* engine/options.h as JSON */
};

void instance_record_done(struct instance_record *r);
void instance_record_list_free(struct instance_record *list); /* ended by a NULL id */

/* ERROR_CONFLICT naming the holder when the name is taken. */
int store_instance_add(struct store *s, const struct instance_record *r,
                       struct error *err) _must_check_;
/* A spare one becomes what r says, but for its kind and its image. The same errors. */
int store_instance_replace(struct store *s, const struct instance_record *r,
                           struct error *err) _must_check_;
/* By name, full id, or unambiguous id prefix. */
int store_instance_find(struct store *s, const char *reference, struct instance_record *ret,
                        struct error *err) _must_check_;
/* Oldest first, without spare ones (spare.h). *ret is owned. */
int store_instance_list(struct store *s, struct instance_record **ret,
                        struct error *err) _must_check_;
int store_instance_rename(struct store *s, const char *id, const char *name,
                          struct error *err) _must_check_;
/* What it is made of and was asked for, anew: all but its identity. */
int store_instance_set_options(struct store *s, const char *id, const char *image_id,
                               const char *image_name, const char *options,
                               struct error *err) _must_check_;
int store_instance_remove(struct store *s, const char *id, struct error *err) _must_check_;
/* Who uses a named volume; the table is written by store_instance_set_volumes. */
int store_instance_set_volumes(struct store *s, const char *id, char *const *volumes,
                               struct error *err) _must_check_;
int store_volume_user(struct store *s, const char *volume, char **ret_instance_id,
                      struct error *err) _must_check_; /* NULL when nobody */
