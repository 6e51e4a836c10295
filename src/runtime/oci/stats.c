/*
 * What `events` tells: the numbers of a container's control group in the form that runc's callers
 * know, and the moments when it ran out of memory. Files that a host does not have leave their
 * numbers at 0.
 */
#include "runtime/oci/stats.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "runtime/container/ops.h"

#define MAX_FILE ((size_t)1 << 20)

static char *read_file(const struct cgroup *g, enum cgroup_hierarchy h, const char *file)
{
    char *text = NULL;
    int dir = g->dirs[g->is_v2 ? CGROUP_UNIFIED : h];
    return dir >= 0 && file_read_kernel(dir, file, MAX_FILE, &text) == 0 ? text : NULL;
}

/* "max" is the largest number there is, as in v1. */
static json_int_t number(const struct cgroup *g, enum cgroup_hierarchy h, const char *file)
{
    _cleanup_free_ char *text = read_file(g, h, file);
    if (!text)
        return 0;
    return strncmp(text, "max", 3) == 0 ? INT64_MAX : (json_int_t)strtoull(text, NULL, 10);
}

/* A file of "key number" lines. */
static json_t *table(const struct cgroup *g, enum cgroup_hierarchy h, const char *file)
{
    _cleanup_free_ char *text = read_file(g, h, file);
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

static json_int_t entry(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

static json_t *cpu(const struct cgroup *g)
{
    json_int_t total, user, kernel, periods, throttled, throttled_ns;
    _cleanup_json_ json_t *stat = table(g, CGROUP_CPU, "cpu.stat");
    _cleanup_json_ json_t *shares = NULL;
    periods = entry(stat, "nr_periods");
    throttled = entry(stat, "nr_throttled");
    if (g->is_v2) {
        total = entry(stat, "usage_usec") * 1000;
        user = entry(stat, "user_usec") * 1000;
        kernel = entry(stat, "system_usec") * 1000;
        throttled_ns = entry(stat, "throttled_usec") * 1000;
    } else {
        shares = table(g, CGROUP_CPUACCT, "cpuacct.stat");
        json_int_t tick_ns = 1000000000 / sysconf(_SC_CLK_TCK);
        total = number(g, CGROUP_CPUACCT, "cpuacct.usage");
        user = entry(shares, "user") * tick_ns;
        kernel = entry(shares, "system") * tick_ns;
        throttled_ns = entry(stat, "throttled_time");
    }
    return json_pack("{s:{s:I,s:I,s:I},s:{s:I,s:I,s:I}}", "usage", "total", total, "kernel", kernel,
                     "user", user, "throttling", "periods", periods, "throttledPeriods", throttled,
                     "throttledTime", throttled_ns);
}

static json_t *memory_entry(const struct cgroup *g, const char *prefix)
{
    char usage[64], max[64], failures[64], limit[64];
    snprintf(usage, sizeof(usage), "memory.%susage_in_bytes", prefix);
    snprintf(max, sizeof(max), "memory.%smax_usage_in_bytes", prefix);
    snprintf(failures, sizeof(failures), "memory.%sfailcnt", prefix);
    snprintf(limit, sizeof(limit), "memory.%slimit_in_bytes", prefix);
    return json_pack("{s:I,s:I,s:I,s:I}", "usage", number(g, CGROUP_MEMORY, usage), "max",
                     number(g, CGROUP_MEMORY, max), "failcnt", number(g, CGROUP_MEMORY, failures),
                     "limit", number(g, CGROUP_MEMORY, limit));
}

static json_t *memory_v2(const struct cgroup *g)
{
    _cleanup_json_ json_t *events = table(g, CGROUP_MEMORY, "memory.events");
    return json_pack(
        "{s:{s:I,s:I,s:I,s:I},s:{s:I,s:I},s:o}", "usage", "usage",
        number(g, CGROUP_MEMORY, "memory.current"), "max", number(g, CGROUP_MEMORY, "memory.peak"),
        "failcnt", entry(events, "max"), "limit", number(g, CGROUP_MEMORY, "memory.max"), "swap",
        "usage", number(g, CGROUP_MEMORY, "memory.swap.current"), "limit",
        number(g, CGROUP_MEMORY, "memory.swap.max"), "raw", table(g, CGROUP_MEMORY, "memory.stat"));
}

static json_t *memory(const struct cgroup *g)
{
    if (g->is_v2)
        return memory_v2(g);
    return json_pack("{s:o,s:o,s:o,s:o,s:o}", "usage", memory_entry(g, ""), "swap",
                     memory_entry(g, "memsw."), "kernel", memory_entry(g, "kmem."), "kernelTCP",
                     memory_entry(g, "kmem.tcp."), "raw", table(g, CGROUP_MEMORY, "memory.stat"));
}

/* "8:0 Read 4096" (v1), or "8:0 rbytes=4096 …" (v2). */
static void add_block(json_t *list, const char *device, const char *op, unsigned long long value)
{
    unsigned int major, minor;
    if (sscanf(device, "%u:%u", &major, &minor) == 2)
        json_array_append_new(list,
                              json_pack("{s:I,s:I,s:s,s:I}", "major", (json_int_t)major, "minor",
                                        (json_int_t)minor, "op", op, "value", (json_int_t)value));
}

static json_t *block(const struct cgroup *g)
{
    _cleanup_free_ char *text = read_file(
        g, CGROUP_BLKIO, g->is_v2 ? "io.stat" : "blkio.throttle.io_service_bytes_recursive");
    _cleanup_strv_ char **lines = strv_split(text ? text : "", '\n');
    json_t *list = json_array();
    for (size_t i = 0; lines[i]; i++) {
        char op[16];
        unsigned long long value, written;
        if (!g->is_v2 && sscanf(lines[i], "%*s %15s %llu", op, &value) == 2)
            add_block(list, lines[i], op, value);
        else if (g->is_v2 && sscanf(lines[i], "%*s rbytes=%llu wbytes=%llu", &value, &written) == 2)
            add_block(list, lines[i], "Read", value), add_block(list, lines[i], "Write", written);
    }
    return json_pack("{s:o}", "ioServiceBytesRecursive", list);
}

json_t *oci_stats(const struct cgroup *g)
{
    return json_pack("{s:o,s:o,s:{s:I,s:I},s:o,s:{},s:{}}", "cpu", cpu(g), "memory", memory(g),
                     "pids", "current", number(g, CGROUP_PIDS, "pids.current"), "limit",
                     number(g, CGROUP_PIDS, "pids.max"), "blkio", block(g), "hugetlb", "intel_rdt");
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
    _cleanup_json_ json_t *counts = table(g, CGROUP_MEMORY, "memory.events");
    return (uint64_t)entry(counts, "oom_kill");
}
