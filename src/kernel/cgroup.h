/*
 * The control group of one instance, in whatever hierarchies this host has.
 *
 * v2       /sys/fs/cgroup is cgroup2: one directory, all controllers.
 * hybrid   controllers on v1, cgroup2 at /sys/fs/cgroup/unified without any: the instance always
 *          has its directory there (being born into it with clone3 is free, and freeze, kill, the
 *          device program and CPU accounting work without controllers), and one in each v1
 *          hierarchy for which it has a limit. Only those cost, and little: a single thread moves
 * itself; moving another process into a v1 group waits several milliseconds for the kernel. v1 as
 * hybrid without cgroup2: freezer and devices get directories then.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "kernel/device_filter.h"

enum cgroup_hierarchy {
    CGROUP_UNIFIED,
    CGROUP_MEMORY,
    CGROUP_CPU,
    CGROUP_CPUSET,
    CGROUP_PIDS,
    CGROUP_BLKIO,
    CGROUP_DEVICES,
    CGROUP_FREEZER,
    CGROUP_CPUACCT,
    CGROUP_HUGETLB,
    CGROUP_NET_CLS,
    CGROUP_NET_PRIO,
    CGROUP_PERF,
    CGROUP_RDMA,
    CGROUP_MISC,
    CGROUP_SYSTEMD, /* named, without a controller: what an init inside expects */
    CGROUP_HIERARCHIES,
};

#define CGROUP_UNSET INT64_MIN

struct cgroup_throttle {
    int64_t major, minor;
    uint64_t rate;
    const char *file_v1; /* blkio.throttle.read_bps_device */
    const char *key_v2;  /* rbps */
};

struct cgroup_weight {
    int64_t major, minor, weight, leaf_weight;
};

/* "2MB" and bytes; a file of cgroup2 and its text; a network device and its priority; an RDMA
 * device and its two limits. */
struct cgroup_hugepages {
    const char *page_size;
    int64_t limit;
};
struct cgroup_file {
    const char *file, *value;
};
struct cgroup_priority {
    const char *device;
    uint32_t priority;
};
struct cgroup_rdma {
    const char *device;
    int64_t handles, objects;
};

/* CGROUP_UNSET: not asked for; -1: no limit. All borrowed. */
struct cgroup_limits {
    bool all_hierarchies; /* a directory in each, for those who read statistics there */
    bool optional;        /* what may not be made is left out when nothing is limited by it */
    int64_t memory, memory_reservation, memory_swap, memory_swappiness, memory_kernel_tcp;
    bool memory_disable_oom_killer, memory_check_before_update;
    int64_t cpu_shares, cpu_quota, cpu_period, cpu_burst, cpu_idle;
    int64_t cpu_realtime_runtime, cpu_realtime_period;
    const char *cpuset_cpus, *cpuset_mems;
    int64_t pids;
    int64_t block_weight, block_leaf_weight;
    const struct cgroup_weight *weights;
    size_t n_weights;
    const struct cgroup_throttle *throttles;
    size_t n_throttles;
    const struct device_rule *devices;
    size_t n_devices;
    const struct cgroup_hugepages *hugepages;
    size_t n_hugepages;
    bool has_class_id;
    uint32_t class_id;
    const struct cgroup_priority *priorities;
    size_t n_priorities;
    const struct cgroup_rdma *rdma;
    size_t n_rdma;
    const struct cgroup_file *unified;
    size_t n_unified;
};

/* No limit is asked for. */
void cgroup_limits_init(struct cgroup_limits *l);

/* What cgroup2 has for v1's words: cpu.weight for shares, io.weight for a weight of 10 to 1000;
 * and for the limit of memory and swap together that of swap alone (CGROUP_UNSET: stays as it is).
 */
int64_t cgroup_cpu_weight(int64_t shares);
int64_t cgroup_io_weight(int64_t weight);
int cgroup_swap_v2(int64_t memory, int64_t memory_swap, int64_t *ret,
                   struct error *err) _must_check_;

struct cgroup {
    char *path;                   /* below the mount point, without a leading slash */
    bool is_v2;                   /* the unified hierarchy has the controllers */
    int dirs[CGROUP_HIERARCHIES]; /* -EBADF where the instance has none */
};

#define CGROUP_INIT                                                                                \
    {                                                                                              \
        NULL, false,                                                                               \
        {                                                                                          \
            [0 ... CGROUP_HIERARCHIES - 1] = -EBADF                                                \
        }                                                                                          \
    }

void cgroup_done(struct cgroup *g); /* closes; removes nothing */

/* path may begin with "/"; a component that is empty, "." or ".." is refused. */
int cgroup_path_check(const char *path, struct error *err) _must_check_;

/* Makes the directories and applies the limits. Nothing is left behind on failure. */
int cgroup_create(const char *path, const struct cgroup_limits *l, struct cgroup *ret,
                  struct error *err) _must_check_;

/* Opens what exists of it; not an error when that is nothing. */
int cgroup_open(const char *path, struct cgroup *ret, struct error *err) _must_check_;

/* Opens the control group of a process. */
int cgroup_of_process(pid_t pid, struct cgroup *ret, struct error *err) _must_check_;

/* True when a process must be moved with cgroup_add: some directory is not the unified one. */
bool cgroup_needs_add(const struct cgroup *g);
/* Moves the calling process, which must have one thread only, into every directory but the unified
 * one, without the wait. */
int cgroup_join(const struct cgroup *g, struct error *err) _must_check_;
/* Moves a process into every directory but the unified one (into that, too, with all). */
int cgroup_add(const struct cgroup *g, pid_t pid, bool all, struct error *err) _must_check_;

/* Makes the directories that these limits need and that a used group has not, and moves its
 * processes there. */
int cgroup_extend(struct cgroup *g, const struct cgroup_limits *l, struct error *err) _must_check_;

int cgroup_apply(const struct cgroup *g, const struct cgroup_limits *l,
                 struct error *err) _must_check_; /* cgroup-limits.c */

int cgroup_freeze(const struct cgroup *g, bool frozen, struct error *err) _must_check_;
bool cgroup_is_frozen(const struct cgroup *g);
/* Kills every process in it, groups below included. */
int cgroup_kill(const struct cgroup *g, struct error *err) _must_check_;
/* Process ids, groups below included; *ret is owned. */
int cgroup_processes(const struct cgroup *g, pid_t **ret, size_t *ret_n,
                     struct error *err) _must_check_;
/* Removes the directories, groups below included; kills what is still in them. Idempotent. */
int cgroup_remove(const char *path, struct error *err) _must_check_;

struct cgroup_stats {
    uint64_t cpu_ns;
    uint64_t memory_bytes, memory_limit; /* limit 0: none */
    uint64_t pids, pids_limit;
    uint64_t block_read_bytes, block_write_bytes;
};
int cgroup_stats(const struct cgroup *g, struct cgroup_stats *ret,
                 struct error *err) _must_check_; /* cgroup-stats.c */

/* Removes a top directory in every hierarchy where nothing is in it any more. */
void cgroup_remove_empty(const char *name);

/* The name of a hierarchy as a v1 mount option and directory ("memory"); "unified" for that. */
const char *cgroup_hierarchy_name(enum cgroup_hierarchy h);

/* The unified hierarchy is the only one. */
bool cgroup_is_v2_host(void);
