/* From the configuration's limits to a control group's. */
#include "base/alloc.h"
#include "runtime/container/internal.h"

char *container_cgroup_path(const struct oci_config *config, const char *id)
{
    const char *path = config ? config->linux_.cgroups_path : NULL;
    return path && *path ? xstrdup(path) : xasprintf("/proa/%s", id);
}

static struct cgroup_throttle *throttles(const struct oci_resources *res, size_t *ret_n)
{
    static const struct {
        const char *v1, *v2;
    } words[OCI_THROTTLE_KINDS] = {
        [OCI_THROTTLE_READ_BPS] = {"blkio.throttle.read_bps_device", "rbps"},
        [OCI_THROTTLE_WRITE_BPS] = {"blkio.throttle.write_bps_device", "wbps"},
        [OCI_THROTTLE_READ_IOPS] = {"blkio.throttle.read_iops_device", "riops"},
        [OCI_THROTTLE_WRITE_IOPS] = {"blkio.throttle.write_iops_device", "wiops"},
    };
    size_t n = 0;
    for (int k = 0; k < OCI_THROTTLE_KINDS; k++)
        n += res->throttle[k].n;
    struct cgroup_throttle *all = xcalloc(n + 1, sizeof(*all));
    *ret_n = 0;
    for (int k = 0; k < OCI_THROTTLE_KINDS; k++)
        for (size_t i = 0; i < res->throttle[k].n; i++) {
            const struct oci_throttle *t = &res->throttle[k].items[i];
            all[(*ret_n)++] =
                (struct cgroup_throttle){t->major, t->minor, t->rate, words[k].v1, words[k].v2};
        }
    return all;
}

int container_cgroup_create(struct container *c, struct error *err)
{
    const struct oci_resources *res = &c->config->linux_.resources;
    size_t n_devices, n_throttles;
    _cleanup_free_ struct device_rule *devices = container_device_rules(c->config, &n_devices);
    _cleanup_free_ struct cgroup_throttle *t = throttles(res, &n_throttles);
    const struct cgroup_limits limits = {
        .memory = res->memory_limit,
        .memory_reservation = res->memory_reservation,
        .memory_swap = res->memory_swap,
        .memory_swappiness = res->memory_swappiness,
        .memory_disable_oom_killer = res->memory_disable_oom_killer,
        .cpu_shares = res->cpu_shares,
        .cpu_quota = res->cpu_quota,
        .cpu_period = res->cpu_period,
        .cpu_burst = res->cpu_burst,
        .cpuset_cpus = res->cpuset_cpus,
        .cpuset_mems = res->cpuset_mems,
        .pids = res->pids_limit,
        .block_weight = res->block_weight,
        .throttles = t,
        .n_throttles = n_throttles,
        .devices = devices,
        .n_devices = n_devices,
    };
    return cgroup_create(c->cgroup_path, &limits, &c->cgroup, err);
}
