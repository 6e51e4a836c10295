/* linux.resources: the limits a control group applies. */
#include <string.h>

#include "base/alloc.h"
#include "wire/oci/config-internal.h"

#define LIMIT(key, member) NUMBER(key, struct oci_resources, member, -1, INT64_MAX)
#define DEVICE_NUMBERS(type)                                                                       \
    NUMBER("major", type, major, 0, UINT32_MAX), NUMBER("minor", type, minor, 0, UINT32_MAX)

/* The object o[key] through a table. */
static int read_group(const json_t *o, const char *key, const struct field *fields, size_t n,
                      struct oci_resources *res, struct error *err)
{
    char where[64];
    json_t *group;
    int r = json_get_object(o, "linux.resources", key, &group, err);
    if (r < 0 || !group)
        return r;
    snprintf(where, sizeof(where), "linux.resources.%s", key);
    return oci_fields(group, where, fields, n, res, err);
}

static int read_throttle(const json_t *o, const char *where, void *item, struct error *err)
{
    static const struct field fields[] = {DEVICE_NUMBERS(struct oci_throttle)};
    struct oci_throttle *t = item;
    int64_t rate = -1;
    int r;
    t->major = t->minor = -1;
    if ((r = OCI_FIELDS(o, where, fields, t, err)) < 0 ||
        (r = oci_number(o, where, "rate", 0, INT64_MAX, &rate, err)) < 0)
        return r;
    if (t->major < 0 || t->minor < 0 || rate < 0)
        return error_invalid(err, "%s: \"major\", \"minor\" and \"rate\" must be given", where);
    t->rate = (uint64_t)rate;
    return 0;
}

/* Callers write 0 for a weight that is not given. */
#define MAX_WEIGHT 1000

static int read_weight(const json_t *o, const char *where, void *item, struct error *err)
{
    static const struct field fields[] = {
        DEVICE_NUMBERS(struct oci_weight_device),
        NUMBER("weight", struct oci_weight_device, weight, 0, MAX_WEIGHT),
        NUMBER("leafWeight", struct oci_weight_device, leaf_weight, 0, MAX_WEIGHT),
    };
    struct oci_weight_device *w = item;
    *w = (struct oci_weight_device){-1, -1, OCI_UNSET, OCI_UNSET};
    int r = OCI_FIELDS(o, where, fields, w, err);
    if (r == 0 && (w->major < 0 || w->minor < 0))
        return error_invalid(err, "%s: \"major\" and \"minor\" must be given", where);
    if (r == 0 && w->weight == OCI_UNSET && w->leaf_weight == OCI_UNSET)
        return error_invalid(err, "%s: neither \"weight\" nor \"leafWeight\" is given", where);
    return r;
}

/* [1-9][0-9]*[KMG]B */
static bool is_page_size(const char *s)
{
    const char *unit = s + strspn(s, "0123456789");
    return unit > s && s[0] != '0' && strspn(unit, "KMG") == 1 && strcmp(unit + 1, "B") == 0;
}

static int read_hugepage(const json_t *o, const char *where, void *item, struct error *err)
{
    static const struct field fields[] = {
        FIELD("pageSize", STRING, struct oci_hugepage_limit, page_size),
        NUMBER("limit", struct oci_hugepage_limit, limit, -1, INT64_MAX),
    };
    struct oci_hugepage_limit *h = item;
    h->limit = OCI_UNSET;
    int r = OCI_FIELDS(o, where, fields, h, err);
    if (r < 0 || (r = oci_require(h->page_size, where, "pageSize", err)) < 0)
        return r;
    if (!is_page_size(h->page_size))
        return error_invalid(err, "%s: \"pageSize\" is not a size as 2MB", where);
    return h->limit == OCI_UNSET ? error_invalid(err, "%s: \"limit\" must be given", where) : 0;
}

static int read_priority(const json_t *o, const char *where, void *item, struct error *err)
{
    static const struct field fields[] = {
        FIELD("name", STRING, struct oci_net_priority, name),
        FIELD("priority", U32, struct oci_net_priority, priority),
    };
    static const char *const keys[] = {"name", "priority", NULL};
    struct oci_net_priority *p = item;
    int r = oci_require_members(o, where, keys, err);
    if (r < 0 || (r = OCI_FIELDS(o, where, fields, p, err)) < 0)
        return r;
    return oci_require(p->name, where, "name", err);
}

static int read_network(const json_t *o, struct oci_resources *res, struct error *err)
{
    static const char where[] = "linux.resources.network";
    json_t *network;
    int r = json_get_object(o, "linux.resources", "network", &network, err);
    if (r < 0 || !network)
        return r;
    int64_t id = OCI_UNSET;
    if ((r = oci_number(network, where, "classID", 0, UINT32_MAX, &id, err)) < 0)
        return r;
    res->has_class_id = id != OCI_UNSET;
    res->class_id = res->has_class_id ? (uint32_t)id : 0;
    return oci_items(network, where, "priorities", sizeof(*res->net_priorities), read_priority,
                     (void **)&res->net_priorities, &res->n_net_priorities, err);
}

static int read_rdma(const json_t *o, struct oci_resources *res, struct error *err)
{
    static const struct field fields[] = {
        NUMBER("hcaHandles", struct oci_rdma_limit, handles, 0, UINT32_MAX),
        NUMBER("hcaObjects", struct oci_rdma_limit, objects, 0, UINT32_MAX),
    };
    json_t *rdma, *limits;
    const char *name;
    int r = json_get_object(o, "linux.resources", "rdma", &rdma, err);
    if (r < 0 || !rdma)
        return r;
    if (json_object_size(rdma) > OCI_MAX_ENTRIES)
        return error_set(err, ERROR_LIMIT, E2BIG, "linux.resources.rdma: too many entries");
    res->rdma = xcalloc(json_object_size(rdma) + 1, sizeof(*res->rdma));
    json_object_foreach(rdma, name, limits)
    {
        struct oci_rdma_limit *limit = &res->rdma[res->n_rdma++];
        *limit = (struct oci_rdma_limit){xstrdup(name), OCI_UNSET, OCI_UNSET};
        if (!json_is_object(limits) || !*name || name[strcspn(name, " \n")])
            return error_invalid(err, "linux.resources.rdma: \"%s\" is no device with limits",
                                 name);
        if ((r = OCI_FIELDS(limits, "linux.resources.rdma", fields, limit, err)) < 0)
            return r;
        if (limit->handles == OCI_UNSET && limit->objects == OCI_UNSET)
            return error_invalid(
                err, "linux.resources.rdma: \"%s\" has neither hcaHandles nor hcaObjects", name);
    }
    return 0;
}

/* Files of the container's own group: a name that led out of it would set limits of others. */
static int read_unified(const json_t *o, struct oci_resources *res, struct error *err)
{
    int r = oci_pairs(o, "linux.resources", "unified", &res->unified, &res->n_unified, err);
    for (size_t i = 0; i < res->n_unified && r == 0; i++) {
        const char *file = res->unified[i].file;
        if (strchr(file, '/') || file[0] == '.' || !strchr(file, '.'))
            r = error_invalid(err, "linux.resources.unified: \"%s\" is no file of a control group",
                              file);
    }
    return r;
}

static int read_block(const json_t *o, struct oci_resources *res, struct error *err)
{
    static const struct field fields[] = {
        NUMBER("weight", struct oci_resources, block_weight, 0, MAX_WEIGHT),
        NUMBER("leafWeight", struct oci_resources, block_leaf_weight, 0, MAX_WEIGHT),
    };
    static const char *const keys[OCI_THROTTLE_KINDS] = {
        [OCI_THROTTLE_READ_BPS] = "throttleReadBpsDevice",
        [OCI_THROTTLE_WRITE_BPS] = "throttleWriteBpsDevice",
        [OCI_THROTTLE_READ_IOPS] = "throttleReadIOPSDevice",
        [OCI_THROTTLE_WRITE_IOPS] = "throttleWriteIOPSDevice",
    };
    json_t *block;
    int r = read_group(o, "blockIO", fields, ARRAY_SIZE(fields), res, err);
    if (r == 0)
        r = json_get_object(o, "linux.resources", "blockIO", &block, err);
    if (r == 0 && block)
        r = oci_items(block, "linux.resources.blockIO", "weightDevice", sizeof(*res->weights),
                      read_weight, (void **)&res->weights, &res->n_weights, err);
    for (int i = 0; i < OCI_THROTTLE_KINDS && r == 0 && block; i++)
        r = oci_items(block, "linux.resources.blockIO", keys[i], sizeof(struct oci_throttle),
                      read_throttle, (void **)&res->throttle[i].items, &res->throttle[i].n, err);
    return r;
}

static int read_access(const char *access, const char *where, struct oci_device_rule *rule,
                       struct error *err)
{
    if (!access || !*access) {
        rule->read = rule->write = rule->mknod = true;
        return 0;
    }
    for (const char *c = access; *c; c++) {
        if (!strchr("rwm", *c))
            return error_invalid(err, "%s: \"access\" may have only r, w and m", where);
        rule->read |= *c == 'r';
        rule->write |= *c == 'w';
        rule->mknod |= *c == 'm';
    }
    return 0;
}

static int read_device_rule(const json_t *o, const char *where, void *item, struct error *err)
{
    struct oci_device_rule *rule = item;
    const char *type = NULL, *access = NULL;
    json_t *allow = json_object_get(o, "allow");
    int r;
    rule->major = rule->minor = -1;
    if (!json_is_boolean(allow))
        return error_invalid(err, "%s: \"allow\" must be true or false", where);
    rule->allow = json_is_true(allow);
    if ((r = json_get_string(o, where, "type", &type, err)) < 0 ||
        (r = oci_number(o, where, "major", -1, UINT32_MAX, &rule->major, err)) < 0 ||
        (r = oci_number(o, where, "minor", -1, UINT32_MAX, &rule->minor, err)) < 0 ||
        (r = json_get_string(o, where, "access", &access, err)) < 0)
        return r;
    if (type && (!strchr("abc", type[0]) || (type[0] && type[1])))
        return error_invalid(err, "%s: unknown device type \"%s\"", where, type);
    rule->type = type && type[0] ? type[0] : 'a';
    return read_access(access, where, rule, err);
}

int oci_resources_from_json(const json_t *o, struct oci_resources *res, struct error *err)
{
    static const struct field memory[] = {
        LIMIT("limit", memory_limit),
        LIMIT("reservation", memory_reservation),
        LIMIT("swap", memory_swap),
        NUMBER("swappiness", struct oci_resources, memory_swappiness, -1, 100),
        LIMIT("kernel", memory_kernel),
        LIMIT("kernelTCP", memory_kernel_tcp),
        FIELD("disableOOMKiller", BOOL, struct oci_resources, memory_disable_oom_killer),
        FIELD("useHierarchy", BOOL, struct oci_resources, memory_use_hierarchy),
        FIELD("checkBeforeUpdate", BOOL, struct oci_resources, memory_check_before_update),
    };
    static const struct field cpu[] = {
        LIMIT("shares", cpu_shares),
        LIMIT("quota", cpu_quota),
        LIMIT("period", cpu_period),
        LIMIT("burst", cpu_burst),
        NUMBER("idle", struct oci_resources, cpu_idle, 0, 1),
        LIMIT("realtimeRuntime", cpu_realtime_runtime),
        LIMIT("realtimePeriod", cpu_realtime_period),
        FIELD("cpus", STRING, struct oci_resources, cpuset_cpus),
        FIELD("mems", STRING, struct oci_resources, cpuset_mems),
    };
    static const struct field pids[] = {
        LIMIT("limit", pids_limit),
    };
    int r;
    if ((r = read_group(o, "memory", memory, ARRAY_SIZE(memory), res, err)) < 0 ||
        (r = read_group(o, "cpu", cpu, ARRAY_SIZE(cpu), res, err)) < 0 ||
        (r = read_group(o, "pids", pids, ARRAY_SIZE(pids), res, err)) < 0 ||
        (r = read_block(o, res, err)) < 0 || (r = read_network(o, res, err)) < 0 ||
        (r = read_rdma(o, res, err)) < 0 || (r = read_unified(o, res, err)) < 0 ||
        (r = oci_items(o, "linux.resources", "hugepageLimits", sizeof(*res->hugepages),
                       read_hugepage, (void **)&res->hugepages, &res->n_hugepages, err)) < 0)
        return r;
    return oci_items(o, "linux.resources", "devices", sizeof(*res->devices), read_device_rule,
                     (void **)&res->devices, &res->n_devices, err);
}

void oci_resources_init(struct oci_resources *res)
{
    memset(res, 0, sizeof(*res));
    res->memory_limit = res->memory_reservation = res->memory_swap = OCI_UNSET;
    res->memory_swappiness = OCI_UNSET;
    res->cpu_shares = res->cpu_quota = res->cpu_period = res->cpu_burst = OCI_UNSET;
    res->cpu_idle = res->cpu_realtime_runtime = res->cpu_realtime_period = OCI_UNSET;
    res->memory_kernel = res->memory_kernel_tcp = OCI_UNSET;
    res->pids_limit = res->block_weight = res->block_leaf_weight = OCI_UNSET;
}

void oci_resources_done(struct oci_resources *res)
{
    for (int i = 0; i < OCI_THROTTLE_KINDS; i++)
        free(res->throttle[i].items);
    for (size_t i = 0; i < res->n_hugepages; i++)
        free(res->hugepages[i].page_size);
    for (size_t i = 0; i < res->n_net_priorities; i++)
        free(res->net_priorities[i].name);
    for (size_t i = 0; i < res->n_rdma; i++)
        free(res->rdma[i].device);
    for (size_t i = 0; i < res->n_unified; i++) {
        free(res->unified[i].file);
        free(res->unified[i].value);
    }
    free(res->hugepages);
    free(res->net_priorities);
    free(res->rdma);
    free(res->unified);
    free(res->weights);
    free(res->cpuset_cpus);
    free(res->cpuset_mems);
    free(res->devices);
}
