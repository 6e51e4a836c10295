/* The hooks of a configuration as values (config.h). */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* A program that is run at a named moment of the container's life. */
struct oci_hook {
    char *path; /* absolute */
    char **args, **env;
    int64_t timeout_s; /* 0: none */
};
struct oci_hook_list {
    struct oci_hook *items;
    size_t n;
};
enum oci_hook_kind {
    OCI_HOOK_PRESTART,
    OCI_HOOK_CREATE_RUNTIME,
    OCI_HOOK_CREATE_CONTAINER,
    OCI_HOOK_START_CONTAINER,
    OCI_HOOK_POSTSTART,
    OCI_HOOK_POSTSTOP,
    OCI_HOOK_KINDS,
};
const char *oci_hook_name(enum oci_hook_kind kind); /* "createRuntime" */
