/* The modules of runtime/oci/stats.h among themselves. */
#pragma once

#include "runtime/oci/stats.h"

/* stats.c: what a file of the group holds, in the hierarchy h where each has its own. The text is
 * owned, NULL without the file; a number is 0 without it, and the largest there is for "max"; a
 * table of "key number" lines is empty. */
char *stats_text(const struct cgroup *g, enum cgroup_hierarchy h, const char *file);
json_int_t stats_number(const struct cgroup *g, enum cgroup_hierarchy h, const char *file);
json_t *stats_table(const struct cgroup *g, enum cgroup_hierarchy h, const char *file);
json_int_t stats_entry(const json_t *o, const char *key);

/* stats-devices.c: what is counted by device: "blkio", "hugetlb" and "cpuset". New references. */
json_t *stats_block(const struct cgroup *g);
json_t *stats_hugetlb(const struct cgroup *g);
json_t *stats_cpuset(const struct cgroup *g);

/* stats-devices.c: "psi" of cpu.pressure, memory.pressure or io.pressure; NULL without it. */
json_t *stats_pressure(const struct cgroup *g, const char *file);
