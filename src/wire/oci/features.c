#include "wire/oci/features.h"

#include "base/alloc.h"
#include "base/json.h"
#include "wire/oci/config-internal.h"
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

static json_t *words(const struct oci_words *w)
{
    json_t *all = json_array();
    for (size_t i = 0; i < w->n; i++)
        json_array_append_new(all, json_string(w->items[i].name));
    return all;
}

static json_t *seccomp(void)
{
    return json_pack("{s:b,s:o,s:o,s:o,s:o,s:o}", "enabled", 1, "actions",
                     words(&oci_seccomp_actions), "operators", words(&oci_seccomp_operators),
                     "archs", words(&oci_seccomp_architectures), "knownFlags",
                     words(&oci_seccomp_flags), "supportedFlags", words(&oci_seccomp_flags));
}

static json_t *memory_policy(void)
{
    return json_pack("{s:o,s:o}", "modes", words(&oci_memory_modes), "flags",
                     words(&oci_memory_flags));
}

static json_t *linux_features(const struct oci_features *f)
{
    static const char *const namespaces[] = {"cgroup", "ipc",  "mount", "network", "pid",
                                             "time",   "user", "uts",   NULL};
    return json_pack("{s:o,s:o,s:{s:b,s:b,s:b,s:b,s:b},s:o,s:{s:b},s:{s:b},s:{s:b,s:b,s:b},s:{s:{s:"
                     "b}},s:o,s:{s:b}}",
                     "namespaces", strings(namespaces), "capabilities", capabilities(), "cgroup",
                     "v1", 1, "v2", 1, "systemd", 1, "systemdUser", 1, "rdma", 1, "seccomp",
                     seccomp(), "apparmor", "enabled", f->apparmor, "selinux", "enabled",
                     f->selinux, "intelRdt", "enabled", 1, "schemata", 1, "monitoring", 1,
                     "mountExtensions", "idmap", "enabled", 1, "memoryPolicy", memory_policy(),
                     "netDevices", "enabled", 0);
}

char *oci_features_json(const struct oci_features *f)
{
    _cleanup_json_ json_t *o = json_pack(
        "{s:s,s:s,s:o,s:o,s:o,s:{s:s,s:s},s:[s]}", "ociVersionMin", "1.0.0", "ociVersionMax",
        OCI_VERSION, "hooks", hooks(), "mountOptions", json_from_strv(f->mount_options), "linux",
        linux_features(f), "annotations", "org.proa.version", PROA_VERSION,
        "org.opencontainers.runc.checkpoint.enabled", f->checkpoint ? "true" : "false",
        "potentiallyUnsafeConfigAnnotations", OCI_KEEP_GROUPS);
    char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
    return text ? text : xstrdup("{}");
}
