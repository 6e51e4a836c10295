/*
 * Limits as files of a control group. v1 and v2 have different files and, for CPU shares and swap,
 * different meanings: shares 2..262144 become weight 1..10000, and v2's swap does not include
 * memory.
 */
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "kernel/cgroup-internal.h"

static int put_text(const struct cgroup *g, enum cgroup_hierarchy h, const char *file,
                    const char *text, struct error *err)
{
    int dir = g->dirs[g->is_v2 ? CGROUP_UNIFIED : h];
    /* No directory was made where there is nothing but "no limit". */
    int r = dir < 0 ? 0 : file_write_kernel(dir, file, text);
    return r < 0 ? error_errno(err, r, "set %s to %s", file, text) : 0;
}

/* A number, or `none` for -1. */
static int put_number(const struct cgroup *g, enum cgroup_hierarchy h, const char *file,
                      int64_t value, const char *none, struct error *err)
{
    char text[24];
    if (value == CGROUP_UNSET)
        return 0;
    snprintf(text, sizeof(text), "%lld", (long long)value);
    return put_text(g, h, file, value == -1 ? none : text, err);
}

/* A limit that needs no control when it is "no limit" and the file is not there (swap accounting
 * switched off). */
static int put_swap(const struct cgroup *g, const char *file, int64_t value, struct error *err)
{
    struct error ignored = ERROR_INIT;
    int r = put_number(g, CGROUP_MEMORY, file, value, g->is_v2 ? "max" : "-1", &ignored);
    if (r == -ENOENT)
        return 0;
    if (r < 0 && err)
        *err = ignored;
    return r;
}

void cgroup_limits_init(struct cgroup_limits *l)
{
    memset(l, 0, sizeof(*l));
    l->memory = l->memory_reservation = l->memory_swap = l->memory_swappiness = CGROUP_UNSET;
    l->memory_kernel_tcp = l->pids = l->block_weight = l->block_leaf_weight = CGROUP_UNSET;
    l->cpu_shares = l->cpu_quota = l->cpu_period = l->cpu_burst = l->cpu_idle = CGROUP_UNSET;
    l->cpu_realtime_runtime = l->cpu_realtime_period = CGROUP_UNSET;
}

/* A running group that is above its new limit would lose processes at once. */
static int check_usage(const struct cgroup *g, const char *file, int64_t limit, struct error *err)
{
    _cleanup_free_ char *text = NULL;
    int dir = g->dirs[g->is_v2 ? CGROUP_UNIFIED : CGROUP_MEMORY];
    if (limit < 0 || dir < 0 || file_read_kernel(dir, file, 64, &text) < 0)
        return 0;
    if (strtoll(text, NULL, 10) > limit)
        return error_set(err, ERROR_LIMIT, ENOMEM,
                         "%lld bytes of memory are in use: more than the new limit",
                         strtoll(text, NULL, 10));
    return 0;
}

static int memory_v1(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    /* The sum must never be below the memory limit, so the order depends on what was there; a new
     * group has none. */
    int r =
        l->memory_check_before_update ? check_usage(g, "memory.usage_in_bytes", l->memory, err) : 0;
    if (r < 0)
        return r;
    r = put_number(g, CGROUP_MEMORY, "memory.limit_in_bytes", l->memory, "-1", err);
    if (r == -EINVAL && l->memory_swap != CGROUP_UNSET) {
        r = put_swap(g, "memory.memsw.limit_in_bytes", l->memory_swap, err);
        if (r == 0)
            r = put_number(g, CGROUP_MEMORY, "memory.limit_in_bytes", l->memory, "-1", err);
    }
    if (r < 0 || (r = put_swap(g, "memory.memsw.limit_in_bytes", l->memory_swap, err)) < 0 ||
        (r = put_number(g, CGROUP_MEMORY, "memory.soft_limit_in_bytes", l->memory_reservation, "-1",
                        err)) < 0 ||
        (r = put_number(g, CGROUP_MEMORY, "memory.kmem.tcp.limit_in_bytes", l->memory_kernel_tcp,
                        "-1", err)) < 0 ||
        (r = put_number(g, CGROUP_MEMORY, "memory.swappiness", l->memory_swappiness, "60", err)) <
            0)
        return r;
    return l->memory_disable_oom_killer ? put_text(g, CGROUP_MEMORY, "memory.oom_control", "1", err)
                                        : 0;
}

static int memory_v2(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    int64_t swap = l->memory_swap;
    if (swap > 0 && l->memory > 0) {
        if (swap < l->memory)
            return error_invalid(err, "memory and swap together are less than memory");
        swap -= l->memory;
    }
    int r = l->memory_check_before_update ? check_usage(g, "memory.current", l->memory, err) : 0;
    if (r == 0)
        r = put_number(g, CGROUP_MEMORY, "memory.max", l->memory, "max", err);
    if (r == 0)
        r = put_swap(g, "memory.swap.max", swap, err);
    if (r == 0)
        r = put_number(g, CGROUP_MEMORY, "memory.low", l->memory_reservation, "0", err);
    return r;
}

/* Quota and period are checked together at each write: which is first depends on what was there. */
static int quota_v1(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    struct error first = ERROR_INIT;
    int r = put_number(g, CGROUP_CPU, "cpu.cfs_period_us", l->cpu_period, "100000", &first);
    int q = put_number(g, CGROUP_CPU, "cpu.cfs_quota_us", l->cpu_quota, "-1", err);
    if (q < 0)
        return q;
    return r == 0 ? 0
                  : put_number(g, CGROUP_CPU, "cpu.cfs_period_us", l->cpu_period, "100000", err);
}

static int cpu_v1(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    int r;
    if ((r = put_number(g, CGROUP_CPU, "cpu.shares", l->cpu_shares, "1024", err)) < 0 ||
        (r = quota_v1(g, l, err)) < 0 ||
        (r = put_number(g, CGROUP_CPU, "cpu.cfs_burst_us", l->cpu_burst, "0", err)) < 0 ||
        (r = put_number(g, CGROUP_CPU, "cpu.idle", l->cpu_idle, "0", err)) < 0 ||
        (r = put_number(g, CGROUP_CPU, "cpu.rt_period_us", l->cpu_realtime_period, "1000000",
                        err)) < 0)
        return r;
    return put_number(g, CGROUP_CPU, "cpu.rt_runtime_us", l->cpu_realtime_runtime, "0", err);
}

/* A new period alone keeps the quota that is there. */
static int period_v2(const struct cgroup *g, long long period, char *text, size_t size)
{
    _cleanup_free_ char *now = NULL;
    int r = file_read_kernel(g->dirs[CGROUP_UNIFIED], "cpu.max", 64, &now);
    if (r == 0) {
        now[strcspn(now, " \n")] = '\0';
        snprintf(text, size, "%s %lld", now, period);
    }
    return r;
}

static int cpu_v2(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    char text[64];
    int r = 0;
    if (l->cpu_shares > 0) {
        int64_t shares = MIN(MAX(l->cpu_shares, 2), 262144);
        r = put_number(g, CGROUP_CPU, "cpu.weight", 1 + (shares - 2) * 9999 / 262142, "100", err);
    }
    if (r == 0 && (l->cpu_quota != CGROUP_UNSET || l->cpu_period != CGROUP_UNSET)) {
        long long period = l->cpu_period > 0 ? (long long)l->cpu_period : 100000;
        if (l->cpu_quota == CGROUP_UNSET)
            r = period_v2(g, period, text, sizeof(text));
        else if (l->cpu_quota > 0)
            snprintf(text, sizeof(text), "%lld %lld", (long long)l->cpu_quota, period);
        else
            snprintf(text, sizeof(text), "max %lld", period);
        r = put_text(g, CGROUP_CPU, "cpu.max", text, err);
    }
    if (r == 0)
        r = put_number(g, CGROUP_CPU, "cpu.max.burst", l->cpu_burst, "0", err);
    if (r == 0)
        r = put_number(g, CGROUP_CPU, "cpu.idle", l->cpu_idle, "0", err);
    if (r == 0 && (l->cpu_realtime_runtime > 0 || l->cpu_realtime_period > 0))
        r = error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                      "cgroup v2 has no limits for realtime processes");
    return r;
}

static int block(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    int r = 0;
    if (l->block_weight > 0) {
        struct error ignored = ERROR_INIT;
        r = put_number(g, CGROUP_BLKIO, g->is_v2 ? "io.bfq.weight" : "blkio.bfq.weight",
                       l->block_weight, "100", &ignored);
        if (r == -ENOENT) /* no scheduler here has weights */
            r = error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                          "this host's block layer has no weights");
        else if (r < 0 && err)
            *err = ignored;
    }
    if (r == 0 && !g->is_v2)
        r = put_number(g, CGROUP_BLKIO, "blkio.leaf_weight", l->block_leaf_weight, "500", err);
    for (size_t i = 0; i < l->n_weights && r == 0; i++) {
        const struct cgroup_weight *w = &l->weights[i];
        char text[96];
        snprintf(text, sizeof(text), "%lld:%lld %lld", (long long)w->major, (long long)w->minor,
                 (long long)w->weight);
        if (w->weight > 0)
            r = put_text(g, CGROUP_BLKIO, g->is_v2 ? "io.bfq.weight" : "blkio.bfq.weight_device",
                         text, err);
    }
    for (size_t i = 0; i < l->n_throttles && r == 0; i++) {
        const struct cgroup_throttle *t = &l->throttles[i];
        char text[96];
        snprintf(text, sizeof(text), "%lld:%lld %s%s%llu", (long long)t->major, (long long)t->minor,
                 g->is_v2 ? t->key_v2 : "", g->is_v2 ? "=" : "", (unsigned long long)t->rate);
        r = put_text(g, CGROUP_BLKIO, g->is_v2 ? "io.max" : t->file_v1, text, err);
    }
    return r;
}

bool cgroup_in_first_user_namespace(void)
{
    _cleanup_free_ char *map = NULL;
    unsigned long inside = 1, outside = 1, count = 0;
    return file_read_kernel(AT_FDCWD, "/proc/self/uid_map", 256, &map) == 0 &&
           sscanf(map, "%lu %lu %lu", &inside, &outside, &count) == 3 && inside == 0 &&
           outside == 0 && count == UINT32_MAX;
}

/* In any other user namespace than the first nobody may restrict devices; and nobody can make a
 * node of one, so that those which were passed in are all there is. */
static int devices(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    int r = 0;
    if (device_filter_is_open(l->devices, l->n_devices))
        return 0;
    if (g->dirs[CGROUP_DEVICES] >= 0)
        r = device_filter_write_v1(g->dirs[CGROUP_DEVICES], l->devices, l->n_devices);
    else if (g->dirs[CGROUP_UNIFIED] >= 0)
        r = device_filter_attach(g->dirs[CGROUP_UNIFIED], l->devices, l->n_devices);
    if ((r == -EPERM || r == -EACCES) && !cgroup_in_first_user_namespace())
        r = 0;
    return r < 0 ? error_errno(err, r, "restrict devices") : 0;
}

static int hugepages(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    int r = 0;
    for (size_t i = 0; i < l->n_hugepages && r == 0; i++) {
        char file[64];
        snprintf(file, sizeof(file), g->is_v2 ? "hugetlb.%s.max" : "hugetlb.%s.limit_in_bytes",
                 l->hugepages[i].page_size);
        r = put_number(g, CGROUP_HUGETLB, file, l->hugepages[i].limit, g->is_v2 ? "max" : "-1",
                       err);
    }
    return r;
}

static int network(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    int r = 0;
    if (g->is_v2 && (l->has_class_id || l->n_priorities))
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "cgroup v2 has no class and no priorities of network traffic");
    if (l->has_class_id)
        r = put_number(g, CGROUP_NET_CLS, "net_cls.classid", l->class_id, "0", err);
    for (size_t i = 0; i < l->n_priorities && r == 0; i++) {
        char text[96];
        snprintf(text, sizeof(text), "%.64s %u", l->priorities[i].device,
                 l->priorities[i].priority);
        r = put_text(g, CGROUP_NET_PRIO, "net_prio.ifpriomap", text, err);
    }
    return r;
}

static int rdma(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    int r = 0;
    for (size_t i = 0; i < l->n_rdma && r == 0; i++) {
        const struct cgroup_rdma *d = &l->rdma[i];
        char text[160];
        int n = snprintf(text, sizeof(text), "%.64s", d->device);
        if (d->handles >= 0)
            n += snprintf(text + n, sizeof(text) - (size_t)n, " hca_handle=%lld",
                          (long long)d->handles);
        if (d->objects >= 0)
            snprintf(text + n, sizeof(text) - (size_t)n, " hca_object=%lld", (long long)d->objects);
        r = put_text(g, CGROUP_RDMA, "rdma.max", text, err);
    }
    return r;
}

/* The words of cgroup2 itself, after everything that was translated. */
static int unified(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    int r = 0;
    if (l->n_unified && !g->is_v2)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "linux.resources.unified needs cgroup v2, which this host does not use");
    for (size_t i = 0; i < l->n_unified && r == 0; i++) {
        int w = file_write_kernel(g->dirs[CGROUP_UNIFIED], l->unified[i].file, l->unified[i].value);
        if (w < 0)
            r = error_errno(err, w, "set %s to %s", l->unified[i].file, l->unified[i].value);
    }
    return r;
}

int cgroup_apply(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    int r;
    if ((r = g->is_v2 ? memory_v2(g, l, err) : memory_v1(g, l, err)) < 0 ||
        (r = g->is_v2 ? cpu_v2(g, l, err) : cpu_v1(g, l, err)) < 0)
        return r;
    if (l->cpuset_cpus && (r = put_text(g, CGROUP_CPUSET, "cpuset.cpus", l->cpuset_cpus, err)) < 0)
        return r;
    if (l->cpuset_mems && (r = put_text(g, CGROUP_CPUSET, "cpuset.mems", l->cpuset_mems, err)) < 0)
        return r;
    if ((r = put_number(g, CGROUP_PIDS, "pids.max", l->pids == 0 ? -1 : l->pids, "max", err)) < 0 ||
        (r = block(g, l, err)) < 0 || (r = hugepages(g, l, err)) < 0 ||
        (r = network(g, l, err)) < 0 || (r = rdma(g, l, err)) < 0 || (r = unified(g, l, err)) < 0)
        return r;
    return devices(g, l, err);
}
