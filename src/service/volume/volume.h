/* Volumes: named directories that outlive instances, ROOT/volumes/<name>/data. */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "service/store/store.h"

struct volume {
    char *name;
    char *path; /* of its data directory */
    int64_t created_ns;
    char **labels; /* "key=value" */
};
void volume_free(struct volume *v); /* takes NULL */
DEFINE_CLEANUP(struct volume *, volume_free)
#define _cleanup_volume_ _cleanup_(volume_free_cleanup)

/* name NULL: 64 random hex digits. An existing name is ERROR_CONFLICT. */
int volume_create(struct store *s, const char *name, char *const *labels, struct volume **ret,
                  struct error *err) _must_check_;
int volume_find(struct store *s, const char *name, struct volume **ret,
                struct error *err) _must_check_;
int volume_list(struct store *s, struct volume ***ret, struct error *err) _must_check_;
void volume_list_free(struct volume **list);
int volume_remove(struct store *s, const char *name, struct error *err) _must_check_;
