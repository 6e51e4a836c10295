/* Volumes in the store. Records are owned by the caller. */
#pragma once

#include "base/error.h"
#include "service/store/store.h"

struct volume_record {
    char *name;
    int64_t created_ns;
    char *labels; /* newline-separated key=value */
};
void volume_record_done(struct volume_record *r);
void volume_record_list_free(struct volume_record *list); /* ended by a NULL name */

int store_volume_add(struct store *s, const struct volume_record *r,
                     struct error *err) _must_check_; /* ERROR_CONFLICT when the name is taken */
int store_volume_list(struct store *s, const char *name, struct volume_record **ret,
                      struct error *err) _must_check_; /* name NULL: all, by name */
int store_volume_remove(struct store *s, const char *name, struct error *err) _must_check_;
