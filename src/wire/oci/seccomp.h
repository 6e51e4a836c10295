/* linux.seccomp as a value (config.h), and profile files of Docker's form. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum oci_seccomp_action {
    OCI_SECCOMP_KILL_THREAD,
    OCI_SECCOMP_KILL_PROCESS,
    OCI_SECCOMP_TRAP,
    OCI_SECCOMP_ERRNO,
    OCI_SECCOMP_TRACE,
    OCI_SECCOMP_ALLOW,
    OCI_SECCOMP_LOG,
    OCI_SECCOMP_NOTIFY,
};

enum oci_seccomp_op {
    OCI_SECCOMP_NE,
    OCI_SECCOMP_LT,
    OCI_SECCOMP_LE,
    OCI_SECCOMP_EQ,
    OCI_SECCOMP_GE,
    OCI_SECCOMP_GT,
    OCI_SECCOMP_MASKED_EQ, /* (argument & value) == value_two */
};

struct oci_seccomp_arg {
    uint32_t index; /* 0 to 5 */
    enum oci_seccomp_op op;
    uint64_t value, value_two;
};

struct oci_seccomp_rule {
    char **names;
    enum oci_seccomp_action action;
    bool has_errno;
    uint32_t errno_ret;
    struct oci_seccomp_arg *args; /* all must hold */
    size_t n_args;
    /* Docker's profiles only (linux.seccomp has none): the rule is for a process that has all of
     * caps_needed and none of caps_excluded, and for these architectures (Go's names). */
    uint64_t caps_needed, caps_excluded;
    char **arches_needed, **arches_excluded;
};

struct oci_seccomp {
    enum oci_seccomp_action default_action;
    bool has_default_errno;
    uint32_t default_errno;
    char **architectures; /* SCMP_ARCH_* */
    char **flags;         /* SECCOMP_FILTER_FLAG_* */
    struct oci_seccomp_rule *rules;
    size_t n_rules;
    char *listener_path, *listener_metadata; /* for SCMP_ACT_NOTIFY */
};

/* A seccomp object alone: linux.seccomp, or a profile file of Docker's form. */
int oci_seccomp_from_json(const json_t *o, const char *where, struct oci_seccomp **ret,
                          struct error *err) _must_check_;
void oci_seccomp_free(struct oci_seccomp *s); /* takes NULL */
