/* linux.resources as a value (config.h): what a control group limits. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define OCI_UNSET INT64_MIN

/* One device rule; a later one wins. major and minor are -1 for any. */
struct oci_device_rule {
    bool allow;
    char type; /* 'a', 'b' or 'c' */
    int64_t major, minor;
    bool read, write, mknod;
};

struct oci_throttle {
    int64_t major, minor;
    uint64_t rate;
};

enum oci_throttle_kind {
    OCI_THROTTLE_READ_BPS,
    OCI_THROTTLE_WRITE_BPS,
    OCI_THROTTLE_READ_IOPS,
    OCI_THROTTLE_WRITE_IOPS,
    OCI_THROTTLE_KINDS,
};

struct oci_weight_device {
    int64_t major, minor;
    int64_t weight, leaf_weight;
};

struct oci_hugepage_limit {
    char *page_size; /* "2MB" */
    int64_t limit;
};

struct oci_net_priority {
    char *name;
    uint32_t priority;
};

struct oci_rdma_limit {
    char *device;
    int64_t handles, objects;
};

/* A file of cgroup2 and what to write to it. */
struct oci_unified {
    char *file, *value;
};

/* Limits: OCI_UNSET where the configuration says nothing, -1 where it says "no limit". */
struct oci_resources {
    int64_t memory_limit, memory_reservation, memory_swap, memory_swappiness;
    int64_t memory_kernel, memory_kernel_tcp;
    bool memory_disable_oom_killer, memory_use_hierarchy, memory_check_before_update;
    int64_t cpu_shares, cpu_quota, cpu_period, cpu_burst, cpu_idle;
    int64_t cpu_realtime_runtime, cpu_realtime_period;
    char *cpuset_cpus, *cpuset_mems;
    int64_t pids_limit;
    int64_t block_weight, block_leaf_weight;
    struct oci_weight_device *weights;
    size_t n_weights;
    struct {
        struct oci_throttle *items;
        size_t n;
    } throttle[OCI_THROTTLE_KINDS];
    struct oci_device_rule *devices;
    size_t n_devices;
    struct oci_hugepage_limit *hugepages;
    size_t n_hugepages;
    bool has_class_id;
    uint32_t class_id;
    struct oci_net_priority *net_priorities;
    size_t n_net_priorities;
    struct oci_rdma_limit *rdma;
    size_t n_rdma;
    struct oci_unified *unified;
    size_t n_unified;
};

/* Everything OCI_UNSET or empty. */
void oci_resources_init(struct oci_resources *res);
void oci_resources_done(struct oci_resources *res);

/* A resources object alone, as `update --resources` has it. *res has been initialised; the caller
 * releases it in any case. */
int oci_resources_parse(const char *text, size_t len, struct oci_resources *res,
                        struct error *err) _must_check_;
