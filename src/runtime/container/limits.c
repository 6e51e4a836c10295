/* From the configuration's limits to a control group's. */
#include "base/alloc.h"
#include "base/process.h"
#include "base/strv.h"
#include "kernel/scope/scope.h"
#include "runtime/container/internal.h"
#include "runtime/container/ops.h"

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

/* Pairs and triples of the configuration have the same members as the control group's. */
#define SAME(a, b) _Static_assert(sizeof(struct a) == sizeof(struct b), "the same members")
SAME(oci_weight_device, cgroup_weight);
SAME(oci_hugepage_limit, cgroup_hugepages);
SAME(oci_net_priority, cgroup_priority);
SAME(oci_rdma_limit, cgroup_rdma);
SAME(oci_unified, cgroup_file);

static void container_limits(const struct oci_resources *res, struct cgroup_limits *ret)
{
    *ret = (struct cgroup_limits){
        .memory = res->memory_limit,
        .memory_reservation = res->memory_reservation,
        .memory_swap = res->memory_swap,
        .memory_swappiness = res->memory_swappiness,
        .memory_kernel_tcp = res->memory_kernel_tcp,
        .memory_disable_oom_killer = res->memory_disable_oom_killer,
        .memory_check_before_update = res->memory_check_before_update,
        .cpu_shares = res->cpu_shares,
        .cpu_quota = res->cpu_quota,
        .cpu_period = res->cpu_period,
        .cpu_burst = res->cpu_burst,
        .cpu_idle = res->cpu_idle,
        .cpu_realtime_runtime = res->cpu_realtime_runtime,
        .cpu_realtime_period = res->cpu_realtime_period,
        .cpuset_cpus = res->cpuset_cpus,
        .cpuset_mems = res->cpuset_mems,
        .pids = res->pids_limit,
        .block_weight = res->block_weight,
        .block_leaf_weight = res->block_leaf_weight,
        .weights = (const struct cgroup_weight *)res->weights,
        .n_weights = res->n_weights,
        .hugepages = (const struct cgroup_hugepages *)res->hugepages,
        .n_hugepages = res->n_hugepages,
        .has_class_id = res->has_class_id,
        .class_id = res->class_id,
        .priorities = (const struct cgroup_priority *)res->net_priorities,
        .n_priorities = res->n_net_priorities,
        .rdma = (const struct cgroup_rdma *)res->rdma,
        .n_rdma = res->n_rdma,
        .unified = (const struct cgroup_file *)res->unified,
        .n_unified = res->n_unified,
    };
}

/* systemd makes the group around the starter, which leaves it empty for nobody: the first process
 * is born in it before the starter ends. */
static int create_scope(struct container *c, const struct cgroup_limits *l, struct error *err)
{
    const struct container_oci *oci = c->start->oci;
    _cleanup_free_ char *description = xasprintf("container %s", c->start->id), *group = NULL;
    _cleanup_strv_ char **properties = NULL;
    int r = 0;
    scope_properties(l, &properties);
    for (size_t i = 0; i < c->config->n_annotations && r == 0; i++)
        r = scope_annotation(c->config->annotations[i].key, c->config->annotations[i].value,
                             &properties, err);
    if (r < 0 ||
        (r = scope_start(oci->scope, getpid(), description, properties, &group, err)) < 0 ||
        (r = cgroup_open(group, &c->cgroup, err)) < 0)
        return r;
    return cgroup_apply(&c->cgroup, l, err);
}

int container_cgroup_create(struct container *c, struct error *err)
{
    const struct oci_resources *res = &c->config->linux_.resources;
    struct cgroup_limits limits;
    container_limits(res, &limits);
    _cleanup_free_ struct device_rule *devices =
        container_device_rules(c->config, &limits.n_devices);
    _cleanup_free_ struct cgroup_throttle *t = throttles(res, &limits.n_throttles);
    limits.devices = devices;
    limits.throttles = t;
    limits.all_hierarchies = c->start->oci != NULL;
    limits.optional = c->start->oci || !process_is_host_root();
    if (c->start->oci && c->start->oci->scope)
        return create_scope(c, &limits, err);
    return cgroup_create(c->cgroup_path, &limits, &c->cgroup, err);
}

int container_target_extend(const struct runtime_target *t, const struct oci_resources *res,
                            struct error *err)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    struct cgroup_limits limits;
    container_limits(res, &limits);
    int r = cgroup_open(t->cgroup_path, &g, err);
    return r < 0 ? r : cgroup_extend(&g, &limits, err);
}

int container_target_update(const struct runtime_target *t, const struct oci_resources *res,
                            struct error *err)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    struct cgroup_limits limits;
    container_limits(res, &limits);
    _cleanup_free_ struct cgroup_throttle *th = throttles(res, &limits.n_throttles);
    limits.throttles = th;
    _cleanup_strv_ char **properties = NULL;
    int r = cgroup_open(t->cgroup_path, &g, err);
    if (r == 0 && t->scope) {
        scope_properties(&limits, &properties);
        r = scope_set(t->scope, properties, err);
    }
    return r < 0 ? r : cgroup_apply(&g, &limits, err);
}
