/*
 * The limits of the workload's control group, which can change while it runs. The memory of a
 * machine is its size, and its disks are its own: what is left is the share of its processors, and
 * the number of processes.
 */
#include "guest/guest.h"
#include "kernel/cgroup.h"

int guest_limits_apply(const struct oci_resources *r, struct error *err)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    struct cgroup_limits limits;
    cgroup_limits_init(&limits);
    limits.cpu_shares = r->cpu_shares;
    limits.cpu_quota = r->cpu_quota;
    limits.cpu_period = r->cpu_period;
    limits.pids = r->pids_limit;
    int bad = cgroup_open(GUEST_CGROUP_NAME, &g, err);
    return bad < 0 ? bad : cgroup_apply(&g, &limits, err);
}
