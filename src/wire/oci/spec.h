/* The configuration that `spec` writes: a shell in a container of its own, to change from there. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* rootless: with a user namespace in which this user is root, and nothing that it may not do.
 * Owned. */
char *oci_spec_default(bool rootless, uid_t uid, gid_t gid);
