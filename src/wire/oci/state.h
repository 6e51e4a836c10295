/*
 * The state of a container as a document (runtime-spec, runtime.md "State"): what hooks are given
 * on standard input and what `state` prints.
 */
#pragma once

#include <sys/types.h>

#include "wire/oci/config.h"

#define OCI_VERSION "1.2.0" /* of the specification that this follows */

/* All borrowed. */
struct oci_state {
    const char *id, *status;
    pid_t pid; /* 0 when it has stopped */
    const char *bundle;
    const struct oci_annotation *annotations;
    size_t n_annotations;
    const char *rootfs, *created, *owner; /* what `state` adds, as runc does; NULL: left out */
};

/* Owned; on one line, or indented for people. */
char *oci_state_to_json(const struct oci_state *s, bool indented);

/* The same as an object, for lists. Owned. */
json_t *oci_state_to_object(const struct oci_state *s);
