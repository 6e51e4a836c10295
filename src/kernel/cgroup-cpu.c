/*
 * Limits of CPU time. Pairs that the kernel checks together at each write (period and quota, quota
 * and burst, the two of realtime processes) are written so that any change from any state works:
 * what is refused first is tried again after the other one.
 */
#include <string.h>

#include "base/fd.h"
#include "kernel/cgroup-internal.h"

struct number {
    const char *file;
    int64_t value;
    const char *none;
};

static int put(const struct cgroup *g, const struct number *n, struct error *err)
{
    return cgroup_put_number(g, CGROUP_CPU, n->file, n->value, n->none, err);
}

static int put_pair(const struct cgroup *g, const struct number *first, const struct number *second,
                    struct error *err)
{
    struct error ignored = ERROR_INIT;
    int r = put(g, first, &ignored);
    int s = put(g, second, err);
    return s < 0 ? s : r < 0 ? put(g, first, err) : 0;
}

/* A period without a quota limits nothing: no directory was made for it. */
static int quota_v1(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    const struct number period = {"cpu.cfs_period_us", l->cpu_period, "100000"};
    const struct number quota = {"cpu.cfs_quota_us", l->cpu_quota, "-1"};
    const struct number burst = {"cpu.cfs_burst_us", l->cpu_burst, "0"};
    struct error ignored = ERROR_INIT;
    if (g->dirs[CGROUP_CPU] < 0 && l->cpu_quota == CGROUP_UNSET)
        return 0;
    int first = put(g, &burst, &ignored);
    int r = put_pair(g, &period, &quota, err);
    return r == 0 && first < 0 ? put(g, &burst, err) : r;
}

/* An idle group has no shares: idle ends before they are set, and begins after. */
static int put_shares(const struct cgroup *g, const struct number *shares, int64_t cpu_idle,
                      struct error *err)
{
    const struct number idle = {"cpu.idle", cpu_idle, "0"};
    int r = cpu_idle == 0 ? put(g, &idle, err) : 0;
    if (r == 0)
        r = put(g, shares, err);
    return r == 0 && cpu_idle != 0 ? put(g, &idle, err) : r;
}

int cgroup_cpu_v1(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    const struct number shares = {"cpu.shares", l->cpu_shares, "1024"};
    const struct number period = {"cpu.rt_period_us", l->cpu_realtime_period, "1000000"};
    const struct number runtime = {"cpu.rt_runtime_us", l->cpu_realtime_runtime, "0"};
    int r = put_shares(g, &shares, l->cpu_idle, err);
    if (r == 0)
        r = quota_v1(g, l, err);
    return r == 0 ? put_pair(g, &period, &runtime, err) : r;
}

int64_t cgroup_cpu_weight(int64_t shares)
{
    return 1 + (MIN(MAX(shares, 2), 262144) - 2) * 9999 / 262142;
}

/* "QUOTA PERIOD": one that is not asked for stays what it is. */
static int quota_v2(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    char text[64], quota[24] = "max", period[24] = "100000";
    _cleanup_free_ char *now = NULL;
    if (l->cpu_quota == CGROUP_UNSET && l->cpu_period == CGROUP_UNSET)
        return 0;
    if ((l->cpu_quota == CGROUP_UNSET || l->cpu_period == CGROUP_UNSET) &&
        g->dirs[CGROUP_UNIFIED] >= 0 &&
        file_read_kernel(g->dirs[CGROUP_UNIFIED], "cpu.max", 64, &now) == 0)
        (void)!sscanf(now, "%23s %23s", quota, period);
    if (l->cpu_quota > 0)
        snprintf(quota, sizeof(quota), "%lld", (long long)l->cpu_quota);
    else if (l->cpu_quota != CGROUP_UNSET)
        snprintf(quota, sizeof(quota), "max");
    if (l->cpu_period > 0)
        snprintf(period, sizeof(period), "%lld", (long long)l->cpu_period);
    snprintf(text, sizeof(text), "%s %s", quota, period);
    return cgroup_put_text(g, CGROUP_CPU, "cpu.max", text, err);
}

int cgroup_cpu_v2(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    const struct number burst = {"cpu.max.burst", l->cpu_burst, "0"};
    const struct number weight = {
        "cpu.weight", l->cpu_shares > 0 ? cgroup_cpu_weight(l->cpu_shares) : CGROUP_UNSET, "100"};
    struct error ignored = ERROR_INIT;
    if (l->cpu_realtime_runtime > 0 || l->cpu_realtime_period > 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "cgroup v2 has no limits for realtime processes");
    int r = put_shares(g, &weight, l->cpu_idle, err);
    if (r < 0)
        return r;
    int first = put(g, &burst, &ignored);
    r = quota_v2(g, l, err);
    return r == 0 && first < 0 ? put(g, &burst, err) : r;
}
