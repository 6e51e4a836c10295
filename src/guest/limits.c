/*
 * The limits of the workload's control group, which can change while it runs. The memory of a
 * machine is its size, and its disks are its own: what is left is the share of its processors, and
 * the number of processes.
 */
#include "guest/guest.h"
#include "kernel/cgroup.h"

/* What stands there: a template has the usual ones applied. */
static struct cgroup_limits applied;
static bool has_applied;

static bool same(const struct cgroup_limits *a, const struct cgroup_limits *b)
{
    return a->cpu_shares == b->cpu_shares && a->cpu_quota == b->cpu_quota &&
           a->cpu_period == b->cpu_period && a->pids == b->pids;
}

int guest_limits_apply(const struct oci_resources *r, struct error *err)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    struct cgroup_limits limits;
    cgroup_limits_init(&limits);
    limits.cpu_shares = r->cpu_shares;
    limits.cpu_quota = r->cpu_quota;
    limits.cpu_period = r->cpu_period;
    limits.pids = r->pids_limit;
    if (has_applied && same(&limits, &applied))
        return 0;
    int bad = cgroup_open(GUEST_CGROUP_NAME, &g, err);
    if (bad == 0)
        bad = cgroup_apply(&g, &limits, err);
    has_applied = bad == 0;
    applied = limits;
    return bad;
}

int guest_limits_begin(const struct oci_resources *r, struct error *err)
{
    struct oci_resources all = *r;
    if (has_applied && all.pids_limit == OCI_UNSET)
        all.pids_limit = -1;
    return guest_limits_apply(&all, err);
}
