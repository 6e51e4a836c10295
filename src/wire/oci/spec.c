#include "wire/oci/spec.h"

#include "base/alloc.h"
#include "base/json.h"
#include "wire/oci/state.h"

static json_t *strings(const char *const *v)
{
    return json_from_strv((char *const *)v);
}

static json_t *process(void)
{
    static const char *const args[] = {"sh", NULL};
    static const char *const env[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", NULL};
    static const char *const caps[] = {"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE", NULL};
    return json_pack("{s:b,s:{s:i,s:i},s:o,s:o,s:s,s:{s:o,s:o,s:o},s:[{s:s,s:i,s:i}],s:b}",
                     "terminal", 1, "user", "uid", 0, "gid", 0, "args", strings(args), "env",
                     strings(env), "cwd", "/", "capabilities", "bounding", strings(caps),
                     "effective", strings(caps), "permitted", strings(caps), "rlimits", "type",
                     "RLIMIT_NOFILE", "hard", 1024, "soft", 1024, "noNewPrivileges", 1);
}

static void add_mount(json_t *mounts, const char *destination, const char *type, const char *source,
                      const char *const *options)
{
    json_array_append_new(mounts, json_pack("{s:s,s:s,s:s,s:o}", "destination", destination, "type",
                                            type, "source", source, "options", strings(options)));
}

static json_t *mounts(bool rootless)
{
    static const char *const none[] = {NULL};
    static const char *const dev[] = {"nosuid", "strictatime", "mode=755", "size=65536k", NULL};
    static const char *const pts[] = {"nosuid",    "noexec", "newinstance", "ptmxmode=0666",
                                      "mode=0620", "gid=5",  NULL};
    static const char *const pts_rootless[] = {"nosuid",        "noexec",    "newinstance",
                                               "ptmxmode=0666", "mode=0620", NULL};
    static const char *const shm[] = {"nosuid",    "noexec",      "nodev",
                                      "mode=1777", "size=65536k", NULL};
    static const char *const plain[] = {"nosuid", "noexec", "nodev", NULL};
    static const char *const sys[] = {"nosuid", "noexec", "nodev", "ro", NULL};
    static const char *const sys_rootless[] = {"rbind", "nosuid", "noexec", "nodev", "ro", NULL};
    static const char *const groups[] = {"nosuid", "noexec", "nodev", "relatime", "ro", NULL};
    json_t *m = json_array();
    add_mount(m, "/proc", "proc", "proc", none);
    add_mount(m, "/dev", "tmpfs", "tmpfs", dev);
    add_mount(m, "/dev/pts", "devpts", "devpts", rootless ? pts_rootless : pts);
    add_mount(m, "/dev/shm", "tmpfs", "shm", shm);
    add_mount(m, "/dev/mqueue", "mqueue", "mqueue", plain);
    add_mount(m, "/sys", rootless ? "none" : "sysfs", rootless ? "/sys" : "sysfs",
              rootless ? sys_rootless : sys);
    if (!rootless)
        add_mount(m, "/sys/fs/cgroup", "cgroup", "cgroup", groups);
    return m;
}

static json_t *namespaces(bool rootless)
{
    static const char *const types[] = {"pid", "ipc", "uts", "mount", "cgroup", "network", NULL};
    json_t *all = json_array();
    /* A network of its own would be empty, and this user can put nothing into it. */
    for (size_t i = 0; types[i] && !(rootless && i == 5); i++)
        json_array_append_new(all, json_pack("{s:s}", "type", types[i]));
    if (rootless)
        json_array_append_new(all, json_pack("{s:s}", "type", "user"));
    return all;
}

static json_t *id_map(unsigned int id)
{
    return json_pack("[{s:i,s:I,s:i}]", "containerID", 0, "hostID", (json_int_t)id, "size", 1);
}

static json_t *linux_members(bool rootless, uid_t uid, gid_t gid)
{
    static const char *const masked[] = {"/proc/acpi",          "/proc/asound",
                                         "/proc/kcore",         "/proc/keys",
                                         "/proc/latency_stats", "/proc/timer_list",
                                         "/proc/timer_stats",   "/proc/sched_debug",
                                         "/sys/firmware",       "/sys/devices/virtual/powercap",
                                         "/proc/scsi",          NULL};
    static const char *const readonly[] = {
        "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL};
    json_t *l = json_pack("{s:o,s:o,s:o}", "namespaces", namespaces(rootless), "maskedPaths",
                          strings(masked), "readonlyPaths", strings(readonly));
    if (rootless) {
        json_object_set_new(l, "uidMappings", id_map(uid));
        json_object_set_new(l, "gidMappings", id_map(gid));
    } else {
        json_object_set_new(l, "resources",
                            json_pack("{s:[{s:b,s:s}]}", "devices", "allow", 0, "access", "rwm"));
    }
    return l;
}

char *oci_spec_default(bool rootless, uid_t uid, gid_t gid)
{
    _cleanup_json_ json_t *o =
        json_pack("{s:s,s:o,s:{s:s,s:b},s:s,s:o,s:o}", "ociVersion", OCI_VERSION, "process",
                  process(), "root", "path", "rootfs", "readonly", 1, "hostname", "proa", "mounts",
                  mounts(rootless), "linux", linux_members(rootless, uid, gid));
    char *text = o ? json_dumps(o, JSON_INDENT(4)) : NULL;
    return text ? text : xstrdup("{}");
}
