/* linux.resources and linux.devices: what bounds an instance, and which devices it may use. */
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/spec-security.h"

#define DEFAULT_PIDS_LIMIT 2048
#define CPU_PERIOD_US      100000

static void allow_device(json_t *rules, bool allow, const char *type, int64_t device_major,
                         int64_t device_minor, const char *access)
{
    json_t *rule = json_pack("{s:b, s:s, s:s}", "allow", allow, "type", type, "access", access);
    if (device_major >= 0)
        json_object_set_new(rule, "major", json_integer(device_major));
    if (device_minor >= 0)
        json_object_set_new(rule, "minor", json_integer(device_minor));
    json_array_append_new(rules, rule);
}

/* null, zero, full, random, urandom, tty, ptmx and the container's own terminals; mknod of any, as
 * creating a node gives no access. */
static json_t *default_device_rules(const struct create_options *o)
{
    static const int nodes[][2] = {{1, 3}, {1, 5}, {1, 7}, {1, 8},   {1, 9},
                                   {5, 0}, {5, 1}, {5, 2}, {136, -1}};
    json_t *rules = json_array();
    if (o->privileged) {
        allow_device(rules, true, "a", -1, -1, "rwm");
        return rules;
    }
    allow_device(rules, false, "a", -1, -1, "rwm");
    allow_device(rules, true, "c", -1, -1, "m");
    allow_device(rules, true, "b", -1, -1, "m");
    for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
        allow_device(rules, true, "c", nodes[i][0], nodes[i][1], "rwm");
    return rules;
}

/* /dev/x[:/dev/y[:rwm]] */
static int add_device(const char *text, json_t *rules, json_t *devices, struct error *err)
{
    _cleanup_strv_ char **parts = strv_split(text, ':');
    size_t n = strv_len(parts);
    struct stat st;
    if (n < 1 || n > 3)
        return error_invalid(err, "--device \"%.128s\": use /dev/X[:/dev/Y[:rwm]]", text);
    const char *target = n > 1 && parts[1][0] == '/' ? parts[1] : parts[0];
    const char *access = n == 3 ? parts[2] : n == 2 && parts[1][0] != '/' ? parts[1] : "rwm";
    if (!*access || strspn(access, "rwm") != strlen(access))
        return error_invalid(err, "--device \"%.128s\": access is made of r, w and m", text);
    if (stat(parts[0], &st) < 0)
        return error_errno(err, errno, "--device %s", parts[0]);
    if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
        return error_invalid(err, "--device %.128s is no device node", parts[0]);
    const char *type = S_ISCHR(st.st_mode) ? "c" : "b";
    allow_device(rules, true, type, major(st.st_rdev), minor(st.st_rdev), access);
    if (!process_is_host_root())
        return 0; /* it is a mount then: spec.c */
    json_array_append_new(devices,
                          json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i}", "path", target, "type",
                                    type, "major", (int)major(st.st_rdev), "minor",
                                    (int)minor(st.st_rdev), "fileMode", (int)(st.st_mode & 0777),
                                    "uid", (int)st.st_uid, "gid", (int)st.st_gid));
    return 0;
}

static json_t *memory_section(const struct create_options *o)
{
    json_t *memory = json_object();
    if (o->memory_bytes) {
        json_object_set_new(memory, "limit", json_integer((json_int_t)o->memory_bytes));
        if (o->memory_swap_bytes)
            json_object_set_new(memory, "swap", json_integer(o->memory_swap_bytes));
    }
    if (o->memory_reservation_bytes)
        json_object_set_new(memory, "reservation",
                            json_integer((json_int_t)o->memory_reservation_bytes));
    if (o->oom_kill_disable)
        json_object_set_new(memory, "disableOOMKiller", json_true());
    return memory;
}

static json_t *cpu_section(const struct create_options *o)
{
    json_t *cpu = json_object();
    if (o->cpus_milli) {
        json_object_set_new(cpu, "period", json_integer(CPU_PERIOD_US));
        json_object_set_new(cpu, "quota",
                            json_integer((json_int_t)(o->cpus_milli * (CPU_PERIOD_US / 1000))));
    }
    if (o->cpu_period_us)
        json_object_set_new(cpu, "period", json_integer((json_int_t)o->cpu_period_us));
    if (o->cpu_quota_us)
        json_object_set_new(cpu, "quota", json_integer(o->cpu_quota_us));
    if (o->cpu_shares)
        json_object_set_new(cpu, "shares", json_integer((json_int_t)o->cpu_shares));
    if (o->cpuset)
        json_object_set_new(cpu, "cpus", json_string(o->cpuset));
    if (o->cpuset_mems)
        json_object_set_new(cpu, "mems", json_string(o->cpuset_mems));
    return cpu;
}

/* "c 10:200 rwm" or "b *:* r", as the kernel has it. */
static int add_device_rule(const char *text, json_t *rules, struct error *err)
{
    _cleanup_strv_ char **parts = strv_split(text, ' ');
    char *colon = strv_len(parts) == 3 ? strchr(parts[1], ':') : NULL;
    uint32_t numbers[2] = {0, 0};
    if (!colon || strlen(parts[0]) != 1 || !strchr("abc", parts[0][0]) || !*parts[2] ||
        strspn(parts[2], "rwm") != strlen(parts[2]))
        return error_invalid(err, "--device-cgroup-rule \"%.64s\": as \"c 10:200 rwm\"", text);
    *colon++ = '\0';
    const char *const words[2] = {parts[1], colon};
    for (int i = 0; i < 2; i++)
        if (strcmp(words[i], "*") != 0 && parse_u32(words[i], &numbers[i]) < 0)
            return error_invalid(err, "--device-cgroup-rule \"%.64s\": \"%.16s\" is no number",
                                 text, words[i]);
    allow_device(rules, true, parts[0], *words[0] == '*' ? -1 : (int64_t)numbers[0],
                 *words[1] == '*' ? -1 : (int64_t)numbers[1], parts[2]);
    return 0;
}

json_t *spec_limits(const struct create_options *o)
{
    json_t *limits = json_pack("{s:o, s:o}", "memory", memory_section(o), "cpu", cpu_section(o));
    /* What nobody asked for must not keep a user without control groups from running anything. */
    int64_t most = process_is_host_root() ? DEFAULT_PIDS_LIMIT : 0;
    int64_t pids = o->pids_limit ? o->pids_limit : most;
    if (pids > 0)
        json_object_set_new(limits, "pids", json_pack("{s:I}", "limit", (json_int_t)pids));
    if (o->block_weight)
        json_object_set_new(limits, "blockIO", json_pack("{s:i}", "weight", (int)o->block_weight));
    return limits;
}

char *spec_limits_text(const struct create_options *o)
{
    _cleanup_json_ json_t *limits = spec_limits(o);
    return json_to_text(limits);
}

int spec_resources(const struct create_options *o, json_t **ret_resources, json_t **ret_devices,
                   struct error *err)
{
    _cleanup_json_ json_t *rules = default_device_rules(o), *devices = json_array();
    int r = 0;
    for (size_t i = 0; r == 0 && o->devices && o->devices[i]; i++)
        r = add_device(o->devices[i], rules, devices, err);
    for (size_t i = 0; r == 0 && o->device_rules && o->device_rules[i]; i++)
        r = add_device_rule(o->device_rules[i], rules, err);
    if (r < 0)
        return r;
    *ret_resources = spec_limits(o);
    json_object_set(*ret_resources, "devices", rules);
    *ret_devices = TAKE_PTR(devices);
    return 0;
}
