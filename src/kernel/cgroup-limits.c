/*
 * Limits as files of a control group. v1 and v2 have different files and, for CPU shares and swap,
 * different meanings: cgroup-cpu.c, cgroup-memory.c, cgroup-block.c. Here is what they share, and
 * what is simple.
 *
 * The same code serves a new group and an update of one that is used: only what is asked for is
 * written, and the order works from any state.
 */
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "base/process.h"
#include "kernel/cgroup-internal.h"

int cgroup_put_text(const struct cgroup *g, enum cgroup_hierarchy h, const char *file,
                    const char *text, struct error *err)
{
    int dir = g->dirs[g->is_v2 ? CGROUP_UNIFIED : h];
    if (dir < 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "cannot set %s to %s: there is no control group for it here", file, text);
    int r = file_write_kernel(dir, file, text);
    if (r == -ENOENT)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "cannot set %s to %s: this host's control groups do not have it", file,
                         text);
    return r < 0 ? error_errno(err, r, "set %s to %s", file, text) : 0;
}

int cgroup_put_number(const struct cgroup *g, enum cgroup_hierarchy h, const char *file,
                      int64_t value, const char *none, struct error *err)
{
    char text[24];
    if (value == CGROUP_UNSET)
        return 0;
    /* No directory was made where there is nothing but "no limit". */
    if (value == -1 && g->dirs[g->is_v2 ? CGROUP_UNIFIED : h] < 0)
        return 0;
    snprintf(text, sizeof(text), "%lld", (long long)value);
    struct error why = ERROR_INIT;
    int r = cgroup_put_text(g, h, file, value == -1 ? none : text, &why);
    if (r == -EOPNOTSUPP && value == -1)
        return 0; /* nor can it be limited */
    if (r < 0 && err)
        *err = why;
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

/* Nobody but the host's root may restrict devices; and nobody else can make a node of one, so that
 * those which were passed in are all there is. */
static int devices(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    int r = 0;
    if (l->n_devices == 0 || device_filter_is_open(l->devices, l->n_devices))
        return 0;
    if (g->dirs[CGROUP_DEVICES] >= 0)
        r = device_filter_write_v1(g->dirs[CGROUP_DEVICES], l->devices, l->n_devices);
    else if (g->dirs[CGROUP_UNIFIED] >= 0)
        r = device_filter_attach(g->dirs[CGROUP_UNIFIED], l->devices, l->n_devices);
    if ((r == -EPERM || r == -EACCES) && !process_is_host_root())
        r = 0;
    return r < 0 ? error_errno(err, r, "restrict devices") : 0;
}

/* Pages in use, and pages that are set aside for a mapping (newer kernels only). */
static int hugepages(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    const char *none = g->is_v2 ? "max" : "-1", *word = g->is_v2 ? "max" : "limit_in_bytes";
    int r = 0;
    for (size_t i = 0; i < l->n_hugepages && r == 0; i++) {
        const struct cgroup_hugepages *p = &l->hugepages[i];
        struct error why = ERROR_INIT;
        char file[80];
        snprintf(file, sizeof(file), "hugetlb.%.32s.%s", p->page_size, word);
        r = cgroup_put_number(g, CGROUP_HUGETLB, file, p->limit, none, err);
        if (r < 0)
            return r;
        snprintf(file, sizeof(file), "hugetlb.%.32s.rsvd.%s", p->page_size, word);
        r = cgroup_put_number(g, CGROUP_HUGETLB, file, p->limit, none, &why);
        if (r == -EOPNOTSUPP)
            r = 0;
        else if (r < 0 && err)
            *err = why;
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
        r = cgroup_put_number(g, CGROUP_NET_CLS, "net_cls.classid", l->class_id, "0", err);
    for (size_t i = 0; i < l->n_priorities && r == 0; i++) {
        char text[96];
        snprintf(text, sizeof(text), "%.64s %u", l->priorities[i].device,
                 l->priorities[i].priority);
        r = cgroup_put_text(g, CGROUP_NET_PRIO, "net_prio.ifpriomap", text, err);
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
        r = cgroup_put_text(g, CGROUP_RDMA, "rdma.max", text, err);
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
        const struct cgroup_file *f = &l->unified[i];
        r = strchr(f->file, '/')
                ? error_invalid(err, "\"%s\" is no file of a control group", f->file)
                : cgroup_put_text(g, CGROUP_UNIFIED, f->file, f->value, err);
    }
    return r;
}

int cgroup_apply(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    int r;
    if ((r = g->is_v2 ? cgroup_memory_v2(g, l, err) : cgroup_memory_v1(g, l, err)) < 0 ||
        (r = g->is_v2 ? cgroup_cpu_v2(g, l, err) : cgroup_cpu_v1(g, l, err)) < 0)
        return r;
    if (l->cpuset_cpus &&
        (r = cgroup_put_text(g, CGROUP_CPUSET, "cpuset.cpus", l->cpuset_cpus, err)) < 0)
        return r;
    if (l->cpuset_mems &&
        (r = cgroup_put_text(g, CGROUP_CPUSET, "cpuset.mems", l->cpuset_mems, err)) < 0)
        return r;
    if ((r = cgroup_put_number(g, CGROUP_PIDS, "pids.max", l->pids == 0 ? -1 : l->pids, "max",
                               err)) < 0 ||
        (r = cgroup_block(g, l, err)) < 0 || (r = hugepages(g, l, err)) < 0 ||
        (r = network(g, l, err)) < 0 || (r = rdma(g, l, err)) < 0 || (r = unified(g, l, err)) < 0)
        return r;
    return devices(g, l, err);
}
