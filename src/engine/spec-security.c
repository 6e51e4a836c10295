#include "engine/spec-security.h"

#include <ctype.h>
#include <linux/capability.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/place.h"
#include "kernel/caps.h"
#include "wire/oci/config.h"

/* What Docker grants, so that images that run there run here. */
static const unsigned char default_caps[] = {
    CAP_CHOWN,   CAP_DAC_OVERRIDE, CAP_FSETID,           CAP_FOWNER,
    CAP_MKNOD,   CAP_NET_RAW,      CAP_SETGID,           CAP_SETUID,
    CAP_SETFCAP, CAP_SETPCAP,      CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT,
    CAP_KILL,    CAP_AUDIT_WRITE,
};

static int change_caps(uint64_t *mask, char *const *names, bool add, struct error *err)
{
    for (size_t i = 0; names && names[i]; i++) {
        uint64_t bits = caps_available();
        unsigned int cap;
        if (strcasecmp(names[i], "ALL") != 0) {
            if (oci_capability_from_name(names[i], &cap) < 0)
                return error_invalid(err, "unknown capability \"%.48s\" (see capabilities(7))",
                                     names[i]);
            bits = (uint64_t)1 << cap;
        }
        *mask = add ? *mask | bits : *mask & ~bits;
    }
    return 0;
}

/* "--cap-drop ALL --cap-add X" must leave X: a general ALL is applied before the names. */
int spec_capability_mask(const struct create_options *o, uint64_t *ret, struct error *err)
{
    uint64_t mask = 0;
    if (o->privileged) {
        *ret = caps_available();
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(default_caps); i++)
        mask |= (uint64_t)1 << default_caps[i];
    bool drop_all = strv_has(o->cap_drop, "ALL") || strv_has(o->cap_drop, "all");
    int r;
    if (drop_all) {
        mask = 0;
        r = change_caps(&mask, o->cap_add, true, err);
    } else {
        r = change_caps(&mask, o->cap_add, true, err);
        if (r == 0)
            r = change_caps(&mask, o->cap_drop, false, err);
    }
    if (r == 0)
        *ret = mask & caps_available();
    return r;
}

int spec_capabilities(const struct create_options *o, json_t *process, struct error *err)
{
    /* Inheritable and ambient stay empty: a file capability must not be amplified (CVE-2022-24769).
     */
    static const char *const sets[] = {"bounding", "effective", "permitted"};
    uint64_t mask = 0;
    int r = spec_capability_mask(o, &mask, err);
    if (r < 0)
        return r;
    json_t *names = json_array();
    for (unsigned int cap = 0; cap < 64; cap++)
        if (mask & ((uint64_t)1 << cap))
            json_array_append_new(names, json_string(oci_capability_name(cap)));
    json_t *capabilities = json_object();
    for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
        json_object_set(capabilities, sets[i], names);
    json_decref(names);
    json_object_set_new(process, "capabilities", capabilities);
    return 0;
}

bool spec_no_new_privileges(const struct create_options *o)
{
    if (o->privileged)
        return false;
    for (size_t i = 0; o->security_opt && o->security_opt[i]; i++)
        if (strcmp(o->security_opt[i], "no-new-privileges=false") == 0 ||
            strcmp(o->security_opt[i], "no-new-privileges:false") == 0)
            return false;
    return true;
}

static int parse_limit(const char *text, int64_t *ret)
{
    uint64_t value;
    if (strcmp(text, "-1") == 0 || strcmp(text, "unlimited") == 0) {
        *ret = -1;
        return 0;
    }
    int r = parse_u64(text, INT64_MAX, &value);
    *ret = r == 0 ? (int64_t)value : 0;
    return r;
}

/* name=soft[:hard] */
static int parse_ulimit(const char *text, json_t *list, struct error *err)
{
    const char *equals = strchr(text, '=');
    char type[32] = "RLIMIT_";
    size_t len = strlen(type);
    int64_t soft, hard;
    int resource;
    for (const char *c = text; *c && *c != '=' && len < sizeof(type) - 1; c++)
        type[len++] = (char)toupper((unsigned char)*c);
    type[len] = '\0';
    if (!equals || oci_rlimit_from_name(type, &resource) < 0)
        return error_invalid(err, "--ulimit \"%.64s\": use NAME=SOFT[:HARD], as nofile=1024:2048",
                             text);
    _cleanup_strv_ char **values = strv_split(equals + 1, ':');
    size_t n = strv_len(values);
    if (n < 1 || n > 2 || parse_limit(values[0], &soft) < 0 ||
        parse_limit(values[n - 1], &hard) < 0)
        return error_invalid(err, "--ulimit \"%.64s\": the limits must be numbers or -1", text);
    if (hard != -1 && (soft == -1 || soft > hard))
        return error_invalid(err, "--ulimit \"%.64s\": the soft limit is above the hard one", text);
    /* jansson has no unsigned integers: -1 is RLIM_INFINITY for our own runtimes. */
    json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "type", type, "soft", (json_int_t)soft,
                                          "hard", (json_int_t)hard));
    return 0;
}

int spec_rlimits(const struct create_options *o, json_t **ret, struct error *err)
{
    json_t *list = json_array();
    for (size_t i = 0; o->ulimits && o->ulimits[i]; i++) {
        int r = parse_ulimit(o->ulimits[i], list, err);
        if (r < 0) {
            json_decref(list);
            return r;
        }
    }
    *ret = list;
    return 0;
}

/* Only what a namespace of the instance's own holds may be set; values cannot smuggle a second
 * assignment (CVE-2022-0811). */
static int check_sysctl(const char *name, const char *value, bool host_network, struct error *err)
{
    static const char *const allowed[] = {"kernel.msgmax", "kernel.msgmnb",         "kernel.msgmni",
                                          "kernel.sem",    "kernel.shmall",         "kernel.shmmax",
                                          "kernel.shmmni", "kernel.shm_rmid_forced"};
    bool known =
        strncmp(name, "fs.mqueue.", 10) == 0 || (strncmp(name, "net.", 4) == 0 && !host_network);
    for (size_t i = 0; !known && i < ARRAY_SIZE(allowed); i++)
        known = strcmp(name, allowed[i]) == 0;
    if (!known || strstr(name, "..") || strchr(name, '/'))
        return error_set(err, ERROR_DENIED, EPERM,
                         "--sysctl %.64s: not a setting of the instance's own namespaces", name);
    if (strpbrk(value, "\n+"))
        return error_invalid(err, "--sysctl %.64s: the value holds a forbidden character", name);
    return 0;
}

int spec_sysctls(const struct create_options *o, json_t **ret, struct error *err)
{
    json_t *list = json_object();
    bool host_network = place_is_host(o);
    int r = 0;
    for (size_t i = 0; r == 0 && o->sysctls && o->sysctls[i]; i++) {
        const char *equals = strchr(o->sysctls[i], '=');
        if (!equals) {
            r = error_invalid(err, "--sysctl \"%.64s\": use NAME=VALUE", o->sysctls[i]);
            break;
        }
        _cleanup_free_ char *name = xstrndup(o->sysctls[i], (size_t)(equals - o->sysctls[i]));
        r = check_sysctl(name, equals + 1, host_network, err);
        if (r == 0)
            json_object_set_new(list, name, json_string(equals + 1));
    }
    if (r < 0) {
        json_decref(list);
        return r;
    }
    *ret = list;
    return 0;
}
