/* What a control group uses, as an instance's statistics; the network is not a group's. */
#pragma once

#include "kernel/cgroup.h"
#include "runtime/runtime.h"

static inline struct runtime_stats runtime_stats_of_group(const struct cgroup_stats *s)
{
    return (struct runtime_stats){
        .cpu_ns = s->cpu_ns,
        .memory_bytes = s->memory_bytes,
        .memory_limit = s->memory_limit,
        .pids = s->pids,
        .pids_limit = s->pids_limit,
        .block_read_bytes = s->block_read_bytes,
        .block_write_bytes = s->block_write_bytes,
    };
}
