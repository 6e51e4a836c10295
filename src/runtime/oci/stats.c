/*
 * What `events` tells: the numbers of a container's control group in the form that runc's callers
 * know, and the moments when it ran out of memory. Files that a host does not have leave their
 * numbers at 0.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "base/text.h"
#include "runtime/oci/stats-internal.h"

#define MAX_FILE ((size_t)1 << 20)

char *stats_text(const struct cgroup *g, enum cgroup_hierarchy h, const char *file)
{
    char *text = NULL;
    int dir = g->dirs[g->is_v2 ? CGROUP_UNIFIED : h];
    return dir >= 0 && file_read_kernel(dir, file, MAX_FILE, &text) == 0 ? text : NULL;
}

/* "max" is the largest number there is, as in v1. */
json_int_t stats_number(const struct cgroup *g, enum cgroup_hierarchy h, const char *file)
{
    _cleanup_free_ char *text = stats_text(g, h, file);
    if (!text)
        return 0;
    return strncmp(text, "max", 3) == 0 ? INT64_MAX : (json_int_t)strtoull(text, NULL, 10);
}

/* A file of "key number" lines. */
json_t *stats_table(const struct cgroup *g, enum cgroup_hierarchy h, const char *file)
{
    _cleanup_free_ char *text = stats_text(g, h, file);
    _cleanup_strv_ char **lines = strv_split(text ? text : "", '\n');
    json_t *o = json_object();
    for (size_t i = 0; lines[i]; i++) {
        char *space = strchr(lines[i], ' ');
        if (!space)
            continue;
        *space++ = '\0';
        json_object_set_new(o, lines[i], json_integer((json_int_t)strtoull(space, NULL, 10)));
    }
    return o;
}

json_int_t stats_entry(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

/* Adds a member that is left out where there is nothing to tell. */
static void add(json_t *o, const char *key, json_t *value)
{
    if (value)
        json_object_set_new(o, key, value);
}

/* One number a processor, which cgroup2 does not count. */
static json_t *per_cpu(const struct cgroup *g, const char *file)
{
    _cleanup_free_ char *text = g->is_v2 ? NULL : stats_text(g, CGROUP_CPUACCT, file);
    _cleanup_strv_ char **numbers = strv_split(text ? text : "", ' ');
    json_t *list = json_array();
    uint64_t value;
    for (size_t i = 0; numbers[i]; i++)
        if (parse_u64(numbers[i], INT64_MAX, &value) == 0)
            json_array_append_new(list, json_integer((json_int_t)value));
    if (json_array_size(list) > 0)
        return list;
    json_decref(list);
    return NULL;
}

static json_t *cpu_usage_v2(const json_t *stat)
{
    return json_pack("{s:I,s:I,s:I}", "total", stats_entry(stat, "usage_usec") * 1000, "kernel",
                     stats_entry(stat, "system_usec") * 1000, "user",
                     stats_entry(stat, "user_usec") * 1000);
}

static json_t *cpu_usage_v1(const struct cgroup *g)
{
    _cleanup_json_ json_t *shares = stats_table(g, CGROUP_CPUACCT, "cpuacct.stat");
    json_int_t tick_ns = 1000000000 / sysconf(_SC_CLK_TCK);
    json_t *usage = json_pack(
        "{s:I,s:I,s:I}", "total", stats_number(g, CGROUP_CPUACCT, "cpuacct.usage"), "kernel",
        stats_entry(shares, "system") * tick_ns, "user", stats_entry(shares, "user") * tick_ns);
    add(usage, "percpu", per_cpu(g, "cpuacct.usage_percpu"));
    add(usage, "percpu_kernel", per_cpu(g, "cpuacct.usage_percpu_sys"));
    add(usage, "percpu_user", per_cpu(g, "cpuacct.usage_percpu_user"));
    return usage;
}

static json_t *cpu(const struct cgroup *g)
{
    _cleanup_json_ json_t *stat = stats_table(g, CGROUP_CPU, "cpu.stat");
    json_int_t throttled_ns =
        g->is_v2 ? stats_entry(stat, "throttled_usec") * 1000 : stats_entry(stat, "throttled_time");
    json_t *o =
        json_pack("{s:o,s:{s:I,s:I,s:I}}", "usage", g->is_v2 ? cpu_usage_v2(stat) : cpu_usage_v1(g),
                  "throttling", "periods", stats_entry(stat, "nr_periods"), "throttledPeriods",
                  stats_entry(stat, "nr_throttled"), "throttledTime", throttled_ns);
    add(o, "psi", stats_pressure(g, "cpu.pressure"));
    return o;
}

static json_t *memory_entry(const struct cgroup *g, const char *prefix)
{
    char usage[64], max[64], failures[64], limit[64];
    snprintf(usage, sizeof(usage), "memory.%susage_in_bytes", prefix);
    snprintf(max, sizeof(max), "memory.%smax_usage_in_bytes", prefix);
    snprintf(failures, sizeof(failures), "memory.%sfailcnt", prefix);
    snprintf(limit, sizeof(limit), "memory.%slimit_in_bytes", prefix);
    return json_pack("{s:I,s:I,s:I,s:I}", "usage", stats_number(g, CGROUP_MEMORY, usage), "max",
                     stats_number(g, CGROUP_MEMORY, max), "failcnt",
                     stats_number(g, CGROUP_MEMORY, failures), "limit",
                     stats_number(g, CGROUP_MEMORY, limit));
}

/* Memory and swap together, as v1 counts them. */
static json_t *swap_v2(const struct cgroup *g)
{
    json_int_t memory = stats_number(g, CGROUP_MEMORY, "memory.max");
    json_int_t swap = stats_number(g, CGROUP_MEMORY, "memory.swap.max");
    _cleanup_json_ json_t *events = stats_table(g, CGROUP_MEMORY, "memory.swap.events");
    return json_pack("{s:I,s:I,s:I}", "usage",
                     stats_number(g, CGROUP_MEMORY, "memory.current") +
                         stats_number(g, CGROUP_MEMORY, "memory.swap.current"),
                     "limit", memory > INT64_MAX - swap ? INT64_MAX : memory + swap, "failcnt",
                     stats_entry(events, "max"));
}

static json_t *memory_v2(const struct cgroup *g)
{
    json_t *raw = stats_table(g, CGROUP_MEMORY, "memory.stat");
    json_t *events = stats_table(g, CGROUP_MEMORY, "memory.events");
    return json_pack("{s:I,s:{s:I,s:I,s:I,s:I},s:o,s:{s:I,s:I,s:I,s:I},s:o,s:o}", "cache",
                     stats_entry(raw, "file"), "usage", "usage",
                     stats_number(g, CGROUP_MEMORY, "memory.current"), "max",
                     stats_number(g, CGROUP_MEMORY, "memory.peak"), "failcnt",
                     stats_entry(events, "max"), "limit",
                     stats_number(g, CGROUP_MEMORY, "memory.max"), "swap", swap_v2(g), "kernel",
                     "usage", stats_entry(raw, "kernel"), "max", (json_int_t)0, "failcnt",
                     (json_int_t)0, "limit", (json_int_t)0, "raw", raw, "event_count", events);
}

static json_t *memory_v1(const struct cgroup *g)
{
    json_t *raw = stats_table(g, CGROUP_MEMORY, "memory.stat");
    return json_pack("{s:I,s:o,s:o,s:o,s:o,s:o}", "cache", stats_entry(raw, "cache"), "usage",
                     memory_entry(g, ""), "swap", memory_entry(g, "memsw."), "kernel",
                     memory_entry(g, "kmem."), "kernelTCP", memory_entry(g, "kmem.tcp."), "raw",
                     raw);
}

static json_t *memory(const struct cgroup *g)
{
    json_t *o = g->is_v2 ? memory_v2(g) : memory_v1(g);
    add(o, "psi", stats_pressure(g, "memory.pressure"));
    return o;
}

/* No limit is 0 here, unlike that of memory. */
static json_t *pids(const struct cgroup *g)
{
    json_int_t limit = stats_number(g, CGROUP_PIDS, "pids.max");
    return json_pack("{s:I,s:I}", "current", stats_number(g, CGROUP_PIDS, "pids.current"), "limit",
                     limit == INT64_MAX ? 0 : limit);
}

json_t *oci_stats(const struct cgroup *g)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:{},s:n}", "cpu", cpu(g), "cpuset", stats_cpuset(g),
                     "memory", memory(g), "pids", pids(g), "blkio", stats_block(g), "hugetlb",
                     stats_hugetlb(g), "intel_rdt", "network_interfaces");
}

/* v2: memory.events changes whenever anything is counted there. */
static int watch_v2(const struct cgroup *g)
{
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    struct fd_path dir = fd_path(g->dirs[CGROUP_UNIFIED]);
    _cleanup_free_ char *path = xasprintf("%s/memory.events", dir.text);
    if (fd >= 0 && inotify_add_watch(fd, path, IN_MODIFY) < 0) {
        int r = -errno;
        close_fd(fd);
        return r;
    }
    return fd < 0 ? -errno : fd;
}

/* v1: an event descriptor registered with the group's memory.oom_control. */
static int watch_v1(const struct cgroup *g)
{
    char text[48];
    int dir = g->dirs[CGROUP_MEMORY];
    if (dir < 0)
        return -ENOENT;
    _cleanup_close_ int control = openat(dir, "memory.oom_control", O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (control < 0 || fd < 0)
        return -errno;
    snprintf(text, sizeof(text), "%d %d", fd, control);
    int r = file_write_kernel(dir, "cgroup.event_control", text);
    return r < 0 ? r : TAKE_FD(fd);
}

int oci_oom_watch(const struct cgroup *g)
{
    return g->is_v2 ? watch_v2(g) : watch_v1(g);
}

uint64_t oci_oom_count(const struct cgroup *g, int watch)
{
    uint64_t n = 0;
    char events[4096];
    if (!g->is_v2)
        return read(watch, &n, sizeof(n)) == sizeof(n) ? n : 0;
    while (read(watch, events, sizeof(events)) > 0)
        ;
    _cleanup_json_ json_t *counts = stats_table(g, CGROUP_MEMORY, "memory.events");
    return (uint64_t)stats_entry(counts, "oom_kill");
}
