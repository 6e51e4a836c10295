/* One table describes every member once; initialising, freeing and both JSON directions follow it.
 */
#include "engine/options.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"

enum member_type {
    MEMBER_STRING,
    MEMBER_STRV,
    MEMBER_BOOL,
    MEMBER_U64,
    MEMBER_I64,
    MEMBER_U32,
    MEMBER_I32
};

#define MEMBER(type, name)                                                                         \
    {                                                                                              \
#name, type, offsetof(struct create_options, name)                                         \
    }

static const struct member {
    const char *name;
    enum member_type type;
    size_t offset;
} members[] = {
    MEMBER(MEMBER_STRING, image),
    MEMBER(MEMBER_STRV, command),
    MEMBER(MEMBER_STRING, name),
    MEMBER(MEMBER_STRING, hostname),
    MEMBER(MEMBER_STRING, user),
    MEMBER(MEMBER_STRING, working_dir),
    MEMBER(MEMBER_STRING, entrypoint),
    MEMBER(MEMBER_STRV, env),
    MEMBER(MEMBER_STRV, labels),
    MEMBER(MEMBER_BOOL, terminal),
    MEMBER(MEMBER_BOOL, open_stdin),
    MEMBER(MEMBER_BOOL, auto_remove),
    MEMBER(MEMBER_BOOL, init),
    MEMBER(MEMBER_BOOL, read_only),
    MEMBER(MEMBER_BOOL, privileged),
    MEMBER(MEMBER_BOOL, publish_all),
    MEMBER(MEMBER_STRV, volumes),
    MEMBER(MEMBER_STRV, mounts),
    MEMBER(MEMBER_STRV, tmpfs),
    MEMBER(MEMBER_STRV, publish),
    MEMBER(MEMBER_STRV, networks),
    MEMBER(MEMBER_STRV, network_aliases),
    MEMBER(MEMBER_STRING, ip),
    MEMBER(MEMBER_STRING, mac),
    MEMBER(MEMBER_U64, memory_bytes),
    MEMBER(MEMBER_I64, memory_swap_bytes),
    MEMBER(MEMBER_U64, shm_bytes),
    MEMBER(MEMBER_U64, cpus_milli),
    MEMBER(MEMBER_U64, cpu_shares),
    MEMBER(MEMBER_STRING, cpuset),
    MEMBER(MEMBER_I64, pids_limit),
    MEMBER(MEMBER_STRV, cap_add),
    MEMBER(MEMBER_STRV, cap_drop),
    MEMBER(MEMBER_STRV, security_opt),
    MEMBER(MEMBER_STRV, ulimits),
    MEMBER(MEMBER_STRV, sysctls),
    MEMBER(MEMBER_STRV, devices),
    MEMBER(MEMBER_STRV, add_hosts),
    MEMBER(MEMBER_STRV, dns),
    MEMBER(MEMBER_STRING, restart),
    MEMBER(MEMBER_STRING, stop_signal),
    MEMBER(MEMBER_I32, stop_timeout_s),
    MEMBER(MEMBER_U64, log_max_bytes),
    MEMBER(MEMBER_U32, log_files),
    MEMBER(MEMBER_STRING, platform),
    MEMBER(MEMBER_STRING, health_cmd),
    MEMBER(MEMBER_BOOL, no_healthcheck),
    MEMBER(MEMBER_U64, health_interval_ms),
    MEMBER(MEMBER_U64, health_timeout_ms),
    MEMBER(MEMBER_U64, health_start_period_ms),
    MEMBER(MEMBER_U64, health_start_interval_ms),
    MEMBER(MEMBER_U32, health_retries),
    MEMBER(MEMBER_U64, memory_reservation_bytes),
    MEMBER(MEMBER_I64, cpu_quota_us),
    MEMBER(MEMBER_U64, cpu_period_us),
    MEMBER(MEMBER_STRING, cpuset_mems),
    MEMBER(MEMBER_U32, block_weight),
    MEMBER(MEMBER_BOOL, oom_kill_disable),
    MEMBER(MEMBER_I32, oom_score_adj),
    MEMBER(MEMBER_STRV, group_add),
    MEMBER(MEMBER_STRING, domainname),
    MEMBER(MEMBER_BOOL, no_hosts),
    MEMBER(MEMBER_STRV, dns_search),
    MEMBER(MEMBER_STRV, dns_options),
    MEMBER(MEMBER_STRV, annotations),
    MEMBER(MEMBER_STRV, expose),
    MEMBER(MEMBER_STRV, volumes_from),
    MEMBER(MEMBER_STRV, device_rules),
    MEMBER(MEMBER_STRING, cgroup_parent),
    MEMBER(MEMBER_STRING, pid_mode),
    MEMBER(MEMBER_STRING, ipc_mode),
    MEMBER(MEMBER_STRING, uts_mode),
    MEMBER(MEMBER_STRING, cgroupns_mode),
    MEMBER(MEMBER_STRING, userns_mode),
    MEMBER(MEMBER_STRING, gpus),
    MEMBER(MEMBER_STRV, links),
    MEMBER(MEMBER_STRING, kernel),
    MEMBER(MEMBER_STRING, initrd),
    MEMBER(MEMBER_STRING, user_data),
    MEMBER(MEMBER_STRING, meta_data),
    MEMBER(MEMBER_STRING, network_config),
    MEMBER(MEMBER_STRV, ssh_keys),
    MEMBER(MEMBER_STRING, cloud_user),
    MEMBER(MEMBER_BOOL, no_cloud_init),
    MEMBER(MEMBER_BOOL, cloud_read),
    MEMBER(MEMBER_STRV, kernel_args),
    MEMBER(MEMBER_U64, disk_bytes),
    MEMBER(MEMBER_STRING, ip6),
    MEMBER(MEMBER_STRING, disk_bus),
    MEMBER(MEMBER_STRV, disks),
    MEMBER(MEMBER_STRV, cdroms),
    MEMBER(MEMBER_STRING, firmware),
    MEMBER(MEMBER_BOOL, secure_boot),
    MEMBER(MEMBER_BOOL, tpm),
    MEMBER(MEMBER_STRING, cpu_model),
    MEMBER(MEMBER_U32, cpus_max),
    MEMBER(MEMBER_U64, memory_max),
    MEMBER(MEMBER_STRING, rtc),
    MEMBER(MEMBER_STRING, boot),
    MEMBER(MEMBER_STRING, graphics),
    MEMBER(MEMBER_STRING, os),
    MEMBER(MEMBER_STRING, nic),
    MEMBER(MEMBER_STRV, usb),
    MEMBER(MEMBER_STRV, pci),
    MEMBER(MEMBER_BOOL, no_warm),
    MEMBER(MEMBER_STRING, network_rate),
    MEMBER(MEMBER_STRING, network_priority),
    MEMBER(MEMBER_STRING, network_connections),
};

static void *at(const struct create_options *o, const struct member *m)
{
    return (char *)o + m->offset;
}

void create_options_init(struct create_options *o)
{
    memset(o, 0, sizeof(*o));
    o->stop_timeout_s = -1;
}

void create_options_done(struct create_options *o)
{
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        if (members[i].type == MEMBER_STRING)
            free(*(char **)at(o, &members[i]));
        if (members[i].type == MEMBER_STRV)
            strv_free(*(char ***)at(o, &members[i]));
    }
    create_options_init(o);
}

static bool is_limit(const char *name)
{
    static const char *const limits[] = {"memory_bytes",
                                         "memory_swap_bytes",
                                         "memory_reservation_bytes",
                                         "cpus_milli",
                                         "cpu_shares",
                                         "cpu_quota_us",
                                         "cpu_period_us",
                                         "cpuset",
                                         "cpuset_mems",
                                         "pids_limit",
                                         "block_weight",
                                         "network_rate",
                                         "network_priority",
                                         "network_connections",
                                         "restart"};
    for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
        if (strcmp(limits[i], name) == 0)
            return true;
    return false;
}

void create_options_take_limits(struct create_options *o, const struct create_options *from)
{
    /* Two ways to say the same: the last one counts. */
    if (from->cpus_milli) {
        o->cpu_quota_us = 0;
        o->cpu_period_us = 0;
    } else if (from->cpu_quota_us || from->cpu_period_us) {
        o->cpus_milli = 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        void *to = at(o, &members[i]);
        const void *p = at(from, &members[i]);
        if (!is_limit(members[i].name))
            continue;
        if (members[i].type == MEMBER_STRING && *(char *const *)p)
            xreplace((char **)to, *(char *const *)p);
        else if (members[i].type == MEMBER_U32 && *(const uint32_t *)p)
            *(uint32_t *)to = *(const uint32_t *)p;
        else if ((members[i].type == MEMBER_U64 || members[i].type == MEMBER_I64) &&
                 *(const int64_t *)p)
            *(int64_t *)to = *(const int64_t *)p;
    }
}

/* The member as JSON, or NULL when it has the value that its absence means. */
static json_t *member_to_json(const struct create_options *o, const struct member *m)
{
    const void *p = at(o, m);
    int64_t number = 0;
    switch (m->type) {
    case MEMBER_STRING:
        return *(char *const *)p ? json_string(*(char *const *)p) : NULL;
    case MEMBER_STRV:
        return *(char **const *)p ? json_from_strv(*(char **const *)p) : NULL;
    case MEMBER_BOOL:
        return *(const bool *)p ? json_true() : NULL;
    case MEMBER_U64:
    case MEMBER_I64:
        number = *(const int64_t *)p;
        break;
    case MEMBER_U32:
        number = *(const uint32_t *)p;
        break;
    case MEMBER_I32:
        number = *(const int32_t *)p;
        break;
    }
    return number ? json_integer(number) : NULL;
}

json_t *create_options_to_json(const struct create_options *o)
{
    json_t *json = json_object();
    json_object_set_new(json, "kind", json_string(runtime_kind_name(o->kind)));
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        json_t *value = member_to_json(o, &members[i]);
        if (value)
            json_object_set_new(json, members[i].name, value);
    }
    return json;
}

static int member_from_json(const json_t *json, const struct member *m, struct create_options *o,
                            struct error *err)
{
    static const char where[] = "instance options";
    void *p = at(o, m);
    const char *text = NULL;
    int64_t number = 0;
    int r;
    switch (m->type) {
    case MEMBER_STRING:
        r = json_get_string(json, where, m->name, &text, err);
        *(char **)p = xstrdup(text);
        return r;
    case MEMBER_STRV:
        return json_get_strv(json, where, m->name, (char ***)p, err);
    case MEMBER_BOOL:
        return json_get_bool(json, where, m->name, (bool *)p, err);
    case MEMBER_U32:
        return json_get_u32(json, where, m->name, (uint32_t *)p, err);
    case MEMBER_U64:
    case MEMBER_I64:
    case MEMBER_I32:
        break;
    }
    r = json_get_i64(json, where, m->name, &number, err);
    if (r == 0 && m->type == MEMBER_I32)
        *(int32_t *)p = (int32_t)number;
    else if (r == 0)
        *(int64_t *)p = number;
    return r;
}

/* Stores of before instances could have several networks. */
static int one_network(const json_t *json, struct create_options *o, struct error *err)
{
    const char *name = NULL;
    int r = json_get_string(json, "instance options", "network", &name, err);
    if (r == 0 && name && !o->networks)
        strv_add(&o->networks, name);
    return r;
}

int create_options_from_json(const json_t *json, struct create_options *ret, struct error *err)
{
    _cleanup_(create_options_done) struct create_options o;
    const char *kind = "container";
    create_options_init(&o);
    o.stop_timeout_s = 0;
    int r = json_get_string(json, "instance options", "kind", &kind, err);
    if (r == 0 && runtime_kind_from_name(kind, &o.kind) < 0)
        r = error_invalid(err, "instance options: unknown kind \"%s\"", kind);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(members); i++)
        r = member_from_json(json, &members[i], &o, err);
    if (r == 0)
        r = one_network(json, &o, err);
    if (r < 0)
        return r;
    *ret = o;
    create_options_init(&o);
    return 0;
}
