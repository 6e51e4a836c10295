/* The features document (runtime-spec, features.md and features-linux.md): what callers may ask. */
#pragma once

#include <stdbool.h>

struct oci_features {
    char *const *mount_options; /* the words that are no file system's own; NULL-terminated */
    bool checkpoint;            /* containers can be checkpointed and restored */
    bool apparmor, selinux;     /* labels are applied where the host has the module */
};

/* Owned. */
char *oci_features_json(const struct oci_features *f);
