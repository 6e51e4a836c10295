#include "wire/oci/features.h"

#include "base/alloc.h"
#include "base/json.h"
#include "wire/oci/config.h"
#include "wire/oci/state.h"

static json_t *strings(const char *const *v)
{
    return json_from_strv((char *const *)v);
}

static json_t *hooks(void)
{
    json_t *all = json_array();
    for (int kind = 0; kind < OCI_HOOK_KINDS; kind++)
        json_array_append_new(all, json_string(oci_hook_name((enum oci_hook_kind)kind)));
    return all;
}

static json_t *capabilities(void)
{
    json_t *all = json_array();
    const char *name;
    for (unsigned int n = 0; (name = oci_capability_name(n)); n++)
        json_array_append_new(all, json_string(name));
    return all;
}

static json_t *seccomp(void)
{
    static const char *const actions[] = {"SCMP_ACT_ALLOW",       "SCMP_ACT_ERRNO",
                                          "SCMP_ACT_KILL",        "SCMP_ACT_KILL_PROCESS",
                                          "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
                                          "SCMP_ACT_NOTIFY",      "SCMP_ACT_TRACE",
                                          "SCMP_ACT_TRAP",        NULL};
    static const char *const operators[] = {"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT",
                                            "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
                                            "SCMP_CMP_NE", NULL};
    static const char *const archs[] = {"SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64", NULL};
    static const char *const flags[] = {"SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG",
                                        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                                        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", NULL};
    return json_pack("{s:b,s:o,s:o,s:o,s:o,s:o}", "enabled", 1, "actions", strings(actions),
                     "operators", strings(operators), "archs", strings(archs), "knownFlags",
                     strings(flags), "supportedFlags", strings(flags));
}

static json_t *linux_features(const struct oci_features *f)
{
    static const char *const namespaces[] = {"cgroup", "ipc",  "mount", "network", "pid",
                                             "time",   "user", "uts",   NULL};
    return json_pack("{s:o,s:o,s:{s:b,s:b,s:b,s:b,s:b},s:o,s:{s:b},s:{s:b},s:{s:b},s:{s:{s:b}}}",
                     "namespaces", strings(namespaces), "capabilities", capabilities(), "cgroup",
                     "v1", 1, "v2", 1, "systemd", 1, "systemdUser", 0, "rdma", 1, "seccomp",
                     seccomp(), "apparmor", "enabled", f->apparmor, "selinux", "enabled",
                     f->selinux, "intelRdt", "enabled", 0, "mountExtensions", "idmap", "enabled",
                     1);
}

char *oci_features_json(const struct oci_features *f)
{
    _cleanup_json_ json_t *o =
        json_pack("{s:s,s:s,s:o,s:o,s:o,s:{s:s}}", "ociVersionMin", "1.0.0", "ociVersionMax",
                  OCI_VERSION, "hooks", hooks(), "mountOptions", json_from_strv(f->mount_options),
                  "linux", linux_features(f), "annotations", "org.proa.version", PROA_VERSION);
    char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
    return text ? text : xstrdup("{}");
}
