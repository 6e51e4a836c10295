/* Members of "linux" that few configurations have: timeOffsets, personality, memoryPolicy,
 * intelRdt, netDevices. */
#include <linux/mempolicy.h>
#include <net/if.h>
#include <string.h>
#include <sys/personality.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "wire/oci/config-internal.h"

static int read_offset(const json_t *o, const char *key, struct oci_time_offset *ret,
                       struct error *err)
{
    static const char where[] = "linux.timeOffsets";
    json_t *offset;
    int r = json_get_object(o, where, key, &offset, err);
    if (r < 0 || !offset)
        return r;
    ret->given = true;
    if ((r = oci_number(offset, where, "secs", INT64_MIN, INT64_MAX, &ret->secs, err)) < 0 ||
        (r = json_get_u32(offset, where, "nanosecs", &ret->nanosecs, err)) < 0)
        return r;
    return ret->nanosecs < 1000000000u
               ? 0
               : error_invalid(err, "%s.%s: \"nanosecs\" is a second or more", where, key);
}

static int read_offsets(const json_t *o, struct oci_linux *l, struct error *err)
{
    json_t *offsets, *value;
    const char *key;
    int r = json_get_object(o, "linux", "timeOffsets", &offsets, err);
    if (r < 0 || !offsets)
        return r;
    json_object_foreach(offsets, key, value)
    {
        if (strcmp(key, "monotonic") != 0 && strcmp(key, "boottime") != 0)
            return error_invalid(err, "linux.timeOffsets: unknown clock \"%s\"", key);
    }
    r = read_offset(offsets, "monotonic", &l->time_monotonic, err);
    return r < 0 ? r : read_offset(offsets, "boottime", &l->time_boottime, err);
}

static int read_personality(const json_t *o, struct oci_linux *l, struct error *err)
{
    static const struct oci_word domains[] = {{"LINUX", PER_LINUX}, {"LINUX32", PER_LINUX32}};
    const char *domain = NULL;
    int64_t value;
    json_t *personality, *flags;
    int r = json_get_object(o, "linux", "personality", &personality, err);
    if (r < 0 || !personality)
        return r;
    if ((r = json_get_string(personality, "linux.personality", "domain", &domain, err)) < 0 ||
        (r = oci_require(domain, "linux.personality", "domain", err)) < 0 ||
        (r = OCI_WORD(domains, domain, "linux.personality.domain", &value, err)) < 0 ||
        (r = json_get_array(personality, "linux.personality", "flags", &flags, err)) < 0)
        return r;
    if (json_array_size(flags) > 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "linux.personality: \"flags\" are not supported");
    l->has_personality = true;
    l->personality = (unsigned long)value;
    return 0;
}

static const struct oci_word memory_flags[] = {
    {"MPOL_F_NUMA_BALANCING", MPOL_F_NUMA_BALANCING},
    {"MPOL_F_RELATIVE_NODES", MPOL_F_RELATIVE_NODES},
    {"MPOL_F_STATIC_NODES", MPOL_F_STATIC_NODES},
};
static const struct oci_word memory_modes[] = {
    {"MPOL_DEFAULT", MPOL_DEFAULT},
    {"MPOL_BIND", MPOL_BIND},
    {"MPOL_INTERLEAVE", MPOL_INTERLEAVE},
    {"MPOL_PREFERRED", MPOL_PREFERRED},
    {"MPOL_PREFERRED_MANY", MPOL_PREFERRED_MANY},
    {"MPOL_LOCAL", MPOL_LOCAL},
    {"MPOL_WEIGHTED_INTERLEAVE", 6},
};
const struct oci_words oci_memory_flags = OCI_WORDS(memory_flags);
const struct oci_words oci_memory_modes = OCI_WORDS(memory_modes);

static int read_memory_policy(const json_t *o, struct oci_linux *l, struct error *err)
{
    static const struct field fields[] = {FIELD("nodes", STRING, struct oci_linux, memory_nodes)};
    static const char where[] = "linux.memoryPolicy";
    const char *mode = NULL;
    int64_t value, flags = 0;
    json_t *policy;
    int r = json_get_object(o, "linux", "memoryPolicy", &policy, err);
    if (r < 0 || !policy)
        return r;
    if ((r = json_get_string(policy, where, "mode", &mode, err)) < 0 ||
        (r = oci_require(mode, where, "mode", err)) < 0 ||
        (r = OCI_WORD(memory_modes, mode, "linux.memoryPolicy.mode", &value, err)) < 0 ||
        (r = OCI_FIELDS(policy, where, fields, l, err)) < 0 ||
        (r = oci_word_flags(policy, where, "flags", &oci_memory_flags, &flags, err)) < 0)
        return r;
    l->has_memory_policy = true;
    l->memory_mode = (int)value;
    l->memory_flags = (unsigned int)flags;
    return 0;
}

/* As the kernel's dev_valid_name(). */
static bool is_link_name(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len < IFNAMSIZ && strcspn(name, "/: \t\n\v\f\r") == len &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int read_net_devices(const json_t *o, struct oci_linux *l, struct error *err)
{
    static const struct field fields[] = {FIELD("name", STRING, struct oci_net_device, rename)};
    json_t *devices, *device;
    const char *name;
    int r = json_get_object(o, "linux", "netDevices", &devices, err);
    if (r < 0 || !devices)
        return r;
    if (json_object_size(devices) > OCI_MAX_ENTRIES)
        return error_set(err, ERROR_LIMIT, E2BIG, "linux.netDevices: too many entries");
    l->net_devices = xcalloc(json_object_size(devices) + 1, sizeof(*l->net_devices));
    json_object_foreach(devices, name, device)
    {
        struct oci_net_device *d = &l->net_devices[l->n_net_devices++];
        d->name = xstrdup(name);
        if (!json_is_object(device))
            return error_invalid(err, "linux.netDevices: \"%s\" must be an object", name);
        if ((r = OCI_FIELDS(device, "linux.netDevices", fields, d, err)) < 0)
            return r;
        if (!is_link_name(name) || (d->rename && !is_link_name(d->rename)))
            return error_invalid(err, "linux.netDevices: \"%s\" is no name of a device",
                                 is_link_name(name) ? d->rename : name);
    }
    return 0;
}

/* A line of resctrl's "schemata" file each; the identity is a folder of resctrl, or "/" itself. */
static int check_rdt(const struct oci_intel_rdt *rdt, struct error *err)
{
    static const char where[] = "linux.intelRdt";
    const char *id = rdt->clos_id, *lines[] = {rdt->l3_cache_schema, rdt->mem_bw_schema};
    if (id && strcmp(id, "/") != 0 && (!*id || *id == '.' || id[strcspn(id, "/\n")]))
        return error_invalid(err, "%s: \"closID\" is no name", where);
    if (rdt->mem_bw_schema && strncmp(rdt->mem_bw_schema, "MB:", 3) != 0)
        return error_invalid(err, "%s: \"memBwSchema\" does not begin with MB:", where);
    bool breaks = false;
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        breaks |= lines[i] && strchr(lines[i], '\n');
    for (size_t i = 0; rdt->schemata && rdt->schemata[i]; i++)
        breaks |= strchr(rdt->schemata[i], '\n') != NULL;
    return breaks ? error_invalid(err, "%s: a schema has more than one line", where) : 0;
}

static int read_rdt(const json_t *o, struct oci_linux *l, struct error *err)
{
    static const struct field fields[] = {
        FIELD("closID", STRING, struct oci_intel_rdt, clos_id),
        FIELD("l3CacheSchema", STRING, struct oci_intel_rdt, l3_cache_schema),
        FIELD("memBwSchema", STRING, struct oci_intel_rdt, mem_bw_schema),
        FIELD("schemata", STRV, struct oci_intel_rdt, schemata),
        FIELD("enableMonitoring", BOOL, struct oci_intel_rdt, enable_monitoring),
    };
    json_t *rdt;
    int r = json_get_object(o, "linux", "intelRdt", &rdt, err);
    if (r < 0 || !rdt)
        return r;
    l->has_intel_rdt = true;
    r = OCI_FIELDS(rdt, "linux.intelRdt", fields, &l->intel_rdt, err);
    return r < 0 ? r : check_rdt(&l->intel_rdt, err);
}

int oci_linux_host_from_json(const json_t *o, struct oci_linux *l, struct error *err)
{
    int r;
    if ((r = read_offsets(o, l, err)) < 0 || (r = read_personality(o, l, err)) < 0 ||
        (r = read_memory_policy(o, l, err)) < 0 || (r = read_rdt(o, l, err)) < 0)
        return r;
    return read_net_devices(o, l, err);
}

void oci_linux_host_done(struct oci_linux *l)
{
    for (size_t i = 0; i < l->n_net_devices; i++) {
        free(l->net_devices[i].name);
        free(l->net_devices[i].rename);
    }
    free(l->net_devices);
    free(l->memory_nodes);
    free(l->intel_rdt.clos_id);
    free(l->intel_rdt.l3_cache_schema);
    free(l->intel_rdt.mem_bw_schema);
    strv_free(l->intel_rdt.schemata);
}
