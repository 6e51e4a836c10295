/* Members of "linux" that few configurations have: timeOffsets, personality, memoryPolicy,
 * intelRdt, netDevices. */
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/personality.h>

#include "base/alloc.h"
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
    if ((r = json_get_i64(offset, where, "secs", &ret->secs, err)) < 0 ||
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

static int read_memory_flags(const json_t *o, struct oci_linux *l, struct error *err)
{
    static const struct oci_word words[] = {
        {"MPOL_F_NUMA_BALANCING", MPOL_F_NUMA_BALANCING},
        {"MPOL_F_RELATIVE_NODES", MPOL_F_RELATIVE_NODES},
        {"MPOL_F_STATIC_NODES", MPOL_F_STATIC_NODES},
    };
    json_t *flags, *item;
    size_t i;
    int r = json_get_array(o, "linux.memoryPolicy", "flags", &flags, err);
    if (r < 0 || !flags)
        return r;
    json_array_foreach(flags, i, item)
    {
        int64_t value;
        const char *name = json_string_value(item);
        if ((r = OCI_WORD(words, name ? name : "", "linux.memoryPolicy.flags", &value, err)) < 0)
            return r;
        l->memory_flags |= (unsigned int)value;
    }
    return 0;
}

static int read_memory_policy(const json_t *o, struct oci_linux *l, struct error *err)
{
    static const struct oci_word modes[] = {
        {"MPOL_DEFAULT", MPOL_DEFAULT},
        {"MPOL_BIND", MPOL_BIND},
        {"MPOL_INTERLEAVE", MPOL_INTERLEAVE},
        {"MPOL_PREFERRED", MPOL_PREFERRED},
        {"MPOL_PREFERRED_MANY", MPOL_PREFERRED_MANY},
        {"MPOL_LOCAL", MPOL_LOCAL},
        {"MPOL_WEIGHTED_INTERLEAVE", 6},
    };
    static const struct field fields[] = {FIELD("nodes", STRING, struct oci_linux, memory_nodes)};
    static const char where[] = "linux.memoryPolicy";
    const char *mode = NULL;
    int64_t value;
    json_t *policy;
    int r = json_get_object(o, "linux", "memoryPolicy", &policy, err);
    if (r < 0 || !policy)
        return r;
    if ((r = json_get_string(policy, where, "mode", &mode, err)) < 0 ||
        (r = oci_require(mode, where, "mode", err)) < 0 ||
        (r = OCI_WORD(modes, mode, "linux.memoryPolicy.mode", &value, err)) < 0 ||
        (r = OCI_FIELDS(policy, where, fields, l, err)) < 0)
        return r;
    l->has_memory_policy = true;
    l->memory_mode = (int)value;
    return read_memory_flags(policy, l, err);
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
    }
    return 0;
}

int oci_linux_host_from_json(const json_t *o, struct oci_linux *l, struct error *err)
{
    json_t *rdt;
    int r = json_get_object(o, "linux", "intelRdt", &rdt, err);
    if (r < 0)
        return r;
    l->has_intel_rdt = rdt != NULL;
    if ((r = read_offsets(o, l, err)) < 0 || (r = read_personality(o, l, err)) < 0 ||
        (r = read_memory_policy(o, l, err)) < 0)
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
}
