/*
 * The machine's control group: QEMU and every virtiofsd are born in it, so that what a guest makes
 * them use is bounded and counted as a container's use is. Its memory is the guest's and what QEMU
 * and its helpers need beside that; its processors are those of --cpus; devices are denied but the
 * few that have no state, and KVM. proa-vm is outside: it has to live to tell the end.
 *
 * What is asked for of the host's processors, disks and nodes of memory is a limit of this group,
 * whatever the machine boots. Of memory only the reservation is: how much there is is its size.
 */
#include "base/alloc.h"
#include "base/process.h"
#include "runtime/runtime.h"
#include "runtime/vm/machine.h"

#define MIB           ((int64_t)1 << 20)
#define QEMU_BYTES    (256 * MIB) /* its own memory, translated code, page cache of the disks */
#define CPU_BYTES     (8 * MIB)
#define SHARE_BYTES   (64 * MIB)
#define QEMU_THREADS  128
#define SHARE_THREADS 96
#define DEVICES_MAX   8

static size_t device_rules(bool kvm, struct device_rule *rules)
{
    static const int64_t harmless[] = {3, 5, 8, 9}; /* null, zero, random, urandom */
    size_t n = 0;
    rules[n++] = (struct device_rule){
        .type = 'a', .major = -1, .minor = -1, .read = true, .write = true, .mknod = true};
    for (size_t i = 0; i < ARRAY_SIZE(harmless); i++)
        rules[n++] = (struct device_rule){.allow = true,
                                          .type = 'c',
                                          .major = 1,
                                          .minor = harmless[i],
                                          .read = true,
                                          .write = true};
    if (kvm)
        rules[n++] = (struct device_rule){
            .allow = true, .type = 'c', .major = 10, .minor = 232, .read = true, .write = true};
    return n;
}

/* A part of a processor; whole ones are the machine's own. */
static bool asks_for_time(const struct oci_resources *res)
{
    return res->cpu_shares != CGROUP_UNSET ||
           (res->cpu_quota > 0 && res->cpu_period > 0 && res->cpu_quota % res->cpu_period != 0);
}

/* What nothing but a group can give. */
static bool needs_group(const struct bundle *b, const struct oci_resources *res)
{
    return b->cgroup_parent ||
           (res && (asks_for_time(res) || res->cpuset_mems || res->block_weight != CGROUP_UNSET ||
                    res->memory_reservation != CGROUP_UNSET));
}

static void set_shares_of_host(struct cgroup_limits *l, const struct oci_resources *res)
{
    l->cpu_shares = res->cpu_shares;
    l->cpu_quota = res->cpu_quota;
    l->cpu_period = res->cpu_period;
    l->cpuset_mems = res->cpuset_mems;
    l->block_weight = res->block_weight;
    l->memory_reservation = res->memory_reservation;
}

/* memory: of the guest, with what may be plugged in. */
static int64_t memory_limit(const struct bundle *b, uint64_t memory, size_t n_shares)
{
    uint32_t cpus = MAX(b->cpus, b->machine.cpus_max);
    return (int64_t)MAX(memory, b->machine.memory_max) + QEMU_BYTES + (int64_t)cpus * CPU_BYTES +
           (int64_t)n_shares * SHARE_BYTES;
}

/* Who may make no groups has a machine that is bounded by what it is: so much memory, so many
 * processors. */
static bool does_without(const struct error *why, const struct bundle *b,
                         const struct oci_resources *res)
{
    return (why->kind == ERROR_DENIED || why->kind == ERROR_UNSUPPORTED) &&
           !process_is_host_root() && !needs_group(b, res);
}

int vm_group_make(const struct bundle *b, const struct oci_resources *res, size_t n_shares,
                  bool kvm, struct cgroup *ret, struct error *err)
{
    _cleanup_free_ char *path = bundle_group(b);
    struct device_rule devices[DEVICES_MAX];
    struct cgroup_limits limits;
    cgroup_limits_init(&limits);
    uint32_t cpus = MAX(b->cpus, b->machine.cpus_max);
    limits.memory = memory_limit(b, b->memory_bytes, n_shares);
    limits.pids = QEMU_THREADS + (int64_t)cpus * 2 + (int64_t)n_shares * SHARE_THREADS;
    if (res)
        set_shares_of_host(&limits, res);
    limits.devices = devices;
    limits.n_devices = device_rules(kvm, devices);
    limits.optional = true;
    struct error why = ERROR_INIT;
    int r = cgroup_create(path, &limits, ret, &why);
    if (r < 0 && does_without(&why, b, res)) {
        *ret = (struct cgroup)CGROUP_INIT;
        return 0;
    }
    if (r < 0 && err)
        *err = why;
    return r < 0 ? error_prefix(err, "the machine's control group") : 0;
}

int vm_group_change(const struct bundle *b, uint64_t memory_bytes, size_t n_shares,
                    const struct oci_resources *res, struct error *err)
{
    _cleanup_free_ char *path = bundle_group(b);
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    struct cgroup_limits limits;
    struct error why = ERROR_INIT;
    cgroup_limits_init(&limits);
    if (memory_bytes)
        limits.memory = memory_limit(b, memory_bytes, n_shares);
    if (res)
        set_shares_of_host(&limits, res);
    int r = cgroup_open(path, &g, &why);
    if (r == 0)
        r = cgroup_extend(&g, &limits, &why);
    if (r == 0)
        r = cgroup_apply(&g, &limits, &why);
    if (r == 0 || does_without(&why, b, res))
        return 0;
    *err = why;
    return error_prefix(err, "the machine's control group");
}

int vm_group_join(const struct cgroup *g, struct error *err)
{
    return cgroup_needs_add(g) ? cgroup_join(g, err) : 0;
}
