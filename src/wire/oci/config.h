/*
 * The OCI runtime configuration (runtime-spec, config.json) as a value.
 *
 * Parsing is strict where a mistake would weaken an instance: a namespace, rlimit, seccomp action
 * or device type that is not known is refused with one line naming the member. Members that are not
 * listed here are ignored, as the specification asks; so is a capability that is not known, which
 * only takes something away.
 *
 * All strings and arrays are owned by the struct; oci_config_free() releases everything. Absent
 * strings and vectors are NULL. Linked into static programs: needs jansson and base only.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/oci/hooks.h"
#include "wire/oci/resources.h"
#include "wire/oci/seccomp.h"

#define OCI_MAX_ENTRIES 4096 /* no array of a configuration may have more */

/* Bit n is the capability with number n. */
struct oci_capabilities {
    uint64_t bounding, effective, inheritable, permitted, ambient;
};

struct oci_rlimit {
    int resource;        /* RLIMIT_* */
    uint64_t soft, hard; /* UINT64_MAX: none */
};

struct oci_user {
    uint32_t uid, gid;
    char *username; /* "user[:group]", not resolved yet: looked up in the root's own passwd */
    bool has_umask;
    uint32_t umask;
    uint32_t *additional_gids;
    size_t n_additional_gids;
    char **groups; /* the engine's own: names or numbers, looked up as username is; or NULL */
};

struct oci_process {
    bool terminal;
    uint32_t console_height, console_width;
    struct oci_user user;
    char **args; /* at least one when the process is there */
    char **env;
    char *cwd; /* absolute */
    bool has_capabilities;
    struct oci_capabilities capabilities;
    char **unknown_capabilities; /* names that are in none of the sets; NULL: none */
    struct oci_rlimit *rlimits;
    size_t n_rlimits;
    bool no_new_privileges;
    bool has_oom_score_adj;
    int32_t oom_score_adj;
    char *apparmor_profile, *selinux_label;
    bool has_scheduler;
    struct oci_scheduler {
        int policy; /* SCHED_* */
        int32_t nice, priority;
        uint64_t flags; /* SCHED_FLAG_* */
        uint64_t runtime, deadline, period;
    } scheduler;
    bool has_io_priority;
    int io_class, io_priority;       /* IOPRIO_CLASS_*, 0 to 7 */
    char *cpus_initial, *cpus_final; /* execCPUAffinity: lists as in cpuset(7) */
};

struct oci_id_map {
    uint32_t container_id, host_id, size;
};

struct oci_mount {
    char *destination, *type, *source;
    char **options;
    struct oci_id_map *uid_maps, *gid_maps; /* also of options "idmap=…" */
    size_t n_uid_maps, n_gid_maps;
};

struct oci_namespace {
    int type;   /* CLONE_NEW* */
    char *path; /* NULL: a new one */
};

struct oci_device {
    char *path;
    char type; /* 'c', 'b' or 'p' */
    int64_t major, minor;
    uint32_t mode; /* permission bits, 0666 when not given */
    uint32_t uid, gid;
};

struct oci_sysctl {
    char *name, *value;
};

struct oci_time_offset {
    bool given;
    int64_t secs;
    uint32_t nanosecs;
};

struct oci_net_device {
    char *name, *rename; /* rename NULL: it keeps its name */
};

struct oci_linux {
    struct oci_namespace *namespaces;
    size_t n_namespaces;
    struct oci_id_map *uid_maps, *gid_maps;
    size_t n_uid_maps, n_gid_maps;
    struct oci_device *devices;
    size_t n_devices;
    char *cgroups_path;
    struct oci_resources resources;
    unsigned long rootfs_propagation; /* MS_PRIVATE, MS_SLAVE…, with MS_REC; 0: not given */
    struct oci_seccomp *seccomp;      /* NULL: none given */
    struct oci_sysctl *sysctls;
    size_t n_sysctls;
    char **masked_paths, **readonly_paths;
    struct oci_time_offset time_monotonic, time_boottime;
    bool has_personality;
    unsigned long personality; /* PER_* */
    char *mount_label;
    bool has_intel_rdt;
    struct oci_intel_rdt {
        char *clos_id, *l3_cache_schema, *mem_bw_schema;
        char **schemata;
        bool enable_monitoring;
    } intel_rdt;
    bool has_memory_policy;
    int memory_mode;           /* MPOL_* */
    unsigned int memory_flags; /* MPOL_F_* */
    char *memory_nodes;
    struct oci_net_device *net_devices;
    size_t n_net_devices;
    bool keep_groups; /* annotation OCI_KEEP_GROUPS: the caller's supplementary groups stay */
};

/* crun's, which Podman writes for --group-add keep-groups; with any value. */
#define OCI_KEEP_GROUPS "run.oci.keep_original_groups"

struct oci_annotation {
    char *key, *value;
};

struct oci_config {
    char *version; /* ociVersion */
    bool has_process;
    struct oci_process process;
    char *root_path; /* NULL when root is absent (a bundle with layers) */
    bool root_readonly;
    char *hostname, *domainname;
    struct oci_mount *mounts;
    size_t n_mounts;
    struct oci_linux linux_; /* "linux" is a macro of the compiler's */
    struct oci_annotation *annotations;
    size_t n_annotations;
    struct oci_hook_list hooks[OCI_HOOK_KINDS];
};

/* `text` need not be NUL-terminated. *ret is owned. */
int oci_config_parse(const char *text, size_t len, struct oci_config **ret,
                     struct error *err) _must_check_;
/* Reads path, at most JSON_MAX_BYTES. */
int oci_config_load(const char *path, struct oci_config **ret, struct error *err) _must_check_;
void oci_config_free(struct oci_config *c); /* takes NULL */
DEFINE_CLEANUP(struct oci_config *, oci_config_free)
#define _cleanup_oci_config_ _cleanup_(oci_config_free_cleanup)

/* A process object alone, as `exec --process` has it: the same checks. *ret is owned. */
int oci_process_parse(const char *text, size_t len, struct oci_process **ret,
                      struct error *err) _must_check_;
int oci_process_load(const char *path, struct oci_process **ret, struct error *err) _must_check_;
void oci_process_free(struct oci_process *p); /* takes NULL */
DEFINE_CLEANUP(struct oci_process *, oci_process_free)

/* A namespace of that CLONE_NEW* type, or NULL. */
const struct oci_namespace *oci_config_namespace(const struct oci_config *c, int type);

/* Names. -EINVAL when unknown; the other way NULL. Capabilities are "CAP_CHOWN" in any case, with
 * or without the prefix. */
int oci_capability_from_name(const char *name, unsigned int *ret) _must_check_;
const char *oci_capability_name(unsigned int number);                 /* "CAP_CHOWN" */
int oci_rlimit_from_name(const char *name, int *ret) _must_check_;    /* "RLIMIT_NOFILE" */
int oci_namespace_from_name(const char *name, int *ret) _must_check_; /* "network" */
const char *oci_namespace_name(int type);
