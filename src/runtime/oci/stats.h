/* The statistics of a container's control group, and its lack of memory. */
#pragma once

#include <stdint.h>

#include "base/json.h"
#include "kernel/cgroup.h"

/* The "data" of runc's stats event: cpu (nanoseconds), memory (bytes), pids, blkio. Owned. */
json_t *oci_stats(const struct cgroup *g);

/* A descriptor that is readable when the group may have run out of memory: owned, or -errno. */
int oci_oom_watch(const struct cgroup *g);
/* How often it has, after watch was readable: since the last call (v1), since its start (v2). */
uint64_t oci_oom_count(const struct cgroup *g, int watch);
