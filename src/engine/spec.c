/*
 * The common language: image + options become one OCI runtime configuration (runtime-spec,
 * config.md and config-linux.md), which the container runtime executes with namespaces and the vm
 * runtime sends into the machine. What is tight here is tight for everybody: loosening it takes a
 * visible option (--cap-add, --privileged, --security-opt).
 */
#include <fcntl.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/engine-internal.h"
#include "engine/place.h"
#include "engine/sharing.h"
#include "engine/spec-security.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *const default_masked[] = {"/proc/acpi",
                                             "/proc/asound",
                                             "/proc/interrupts",
                                             "/proc/kcore",
                                             "/proc/keys",
                                             "/proc/latency_stats",
                                             "/proc/sched_debug",
                                             "/proc/scsi",
                                             "/proc/timer_list",
                                             "/proc/timer_stats",
                                             "/sys/devices/virtual/powercap",
                                             "/sys/firmware",
                                             NULL};
static const char *const default_readonly[] = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL};

static json_t *strings(const char *const *v)
{
    return json_from_strv((char *const *)v);
}

int spec_argv(const struct create_options *o, const struct image *image, char ***ret,
              struct error *err)
{
    char **argv = NULL;
    bool own_entrypoint = o->entrypoint != NULL;
    char *const *entrypoint = own_entrypoint ? NULL : image->entrypoint;
    char *const *command = strv_len(o->command) > 0 ? o->command
                           : own_entrypoint         ? NULL
                                                    : image->cmd;
    if (own_entrypoint && *o->entrypoint)
        strv_add(&argv, o->entrypoint);
    for (size_t i = 0; entrypoint && entrypoint[i]; i++)
        strv_add(&argv, entrypoint[i]);
    for (size_t i = 0; command && command[i]; i++)
        strv_add(&argv, command[i]);
    if (!argv)
        return error_invalid(err,
                             "no command: neither the image nor the command line names one (proa "
                             "run IMAGE COMMAND)");
    *ret = argv;
    return 0;
}

static json_t *environment(const struct create_options *o, const struct image *image,
                           const char *hostname)
{
    _cleanup_strv_ char **env = NULL;
    env_set(&env, DEFAULT_PATH);
    _cleanup_free_ char *host = xasprintf("HOSTNAME=%s", hostname);
    env_set(&env, host);
    if (o->terminal)
        env_set(&env, "TERM=xterm");
    for (size_t i = 0; image->env && image->env[i]; i++)
        env_set(&env, image->env[i]);
    for (size_t i = 0; o->env && o->env[i]; i++)
        env_set(&env, o->env[i]);
    return json_from_strv(env);
}

static json_t *process_user(const struct create_options *o, const struct image *image)
{
    const char *user = o->user ? o->user : image->user;
    json_t *json = json_pack("{s:i, s:i}", "uid", 0, "gid", 0);
    if (user && *user)
        json_object_set_new(json, "username", json_string(user));
    if (strv_len(o->group_add) > 0)
        json_object_set_new(json, "groups", json_from_strv(o->group_add));
    return json;
}

static int process_section(const struct create_options *o, const struct image *image,
                           const char *hostname, json_t *config, struct error *err)
{
    _cleanup_strv_ char **argv = NULL;
    const char *cwd = o->working_dir ? o->working_dir : image->working_dir;
    json_t *rlimits = NULL;
    int r = spec_argv(o, image, &argv, err);
    if (r == 0)
        r = spec_rlimits(o, &rlimits, err);
    if (r < 0)
        return r;
    if (cwd && *cwd && *cwd != '/') {
        json_decref(rlimits);
        return error_invalid(err, "the working directory \"%.128s\" must be an absolute path", cwd);
    }
    json_t *process = json_pack("{s:b, s:o, s:o, s:o, s:s, s:b, s:o}", "terminal", o->terminal,
                                "user", process_user(o, image), "args", json_from_strv(argv), "env",
                                environment(o, image, hostname), "cwd", cwd && *cwd ? cwd : "/",
                                "noNewPrivileges", spec_no_new_privileges(o), "rlimits", rlimits);
    if (o->oom_score_adj)
        json_object_set_new(process, "oomScoreAdj", json_integer(o->oom_score_adj));
    json_object_set_new(config, "process", process);
    return spec_capabilities(o, process, err);
}

static void add_mount(json_t *mounts, const char *destination, const char *type, const char *source,
                      json_t *options)
{
    json_array_append_new(mounts, json_pack("{s:s, s:s, s:s, s:o}", "destination", destination,
                                            "type", type, "source", source, "options", options));
}

static void add_bind(json_t *mounts, const char *source, const char *target, bool read_only)
{
    add_mount(mounts, target, "bind", source,
              json_pack("[sss]", "rbind", "rprivate", read_only ? "ro" : "rw"));
}

/* The file systems every instance gets. */
static void add_default_mounts(const struct create_options *o, json_t *mounts)
{
    char shm[48];
    const char *sys_access = o->privileged ? "rw" : "ro";
    snprintf(shm, sizeof(shm), "size=%llu",
             (unsigned long long)(o->shm_bytes ? o->shm_bytes : 64u << 20));
    add_mount(mounts, "/proc", "proc", "proc", json_pack("[sss]", "nosuid", "noexec", "nodev"));
    add_mount(mounts, "/dev", "tmpfs", "tmpfs",
              json_pack("[ssss]", "nosuid", "strictatime", "mode=755", "size=65536k"));
    json_t *pts =
        json_pack("[sssss]", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620");
    if (!process_is_only_user())
        json_array_append_new(pts, json_string("gid=5"));
    add_mount(mounts, "/dev/pts", "devpts", "devpts", pts);
    add_mount(mounts, "/sys", "sysfs", "sysfs",
              json_pack("[ssss]", "nosuid", "noexec", "nodev", sys_access));
    add_mount(mounts, "/sys/fs/cgroup", "cgroup", "cgroup",
              json_pack("[ssss]", "nosuid", "noexec", "nodev", sys_access));
    add_mount(mounts, "/dev/mqueue", "mqueue", "mqueue",
              json_pack("[sss]", "nosuid", "noexec", "nodev"));
    if (o->ipc_mode && strcmp(o->ipc_mode, "host") == 0) {
        add_bind(mounts, "/dev/shm", "/dev/shm", false);
        return;
    }
    add_mount(mounts, "/dev/shm", "tmpfs", "shm",
              json_pack("[sssss]", "nosuid", "noexec", "nodev", "mode=1777", shm));
}

static void add_own_mounts(const struct spec_mounts *list, json_t *mounts)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct spec_mount *m = &list->list[i];
        if (strcmp(m->type, "tmpfs") != 0) {
            add_bind(mounts, m->source, m->target, m->read_only);
            continue;
        }
        json_t *options = json_pack("[sss]", "nosuid", "nodev", m->read_only ? "ro" : "rw");
        _cleanup_strv_ char **extra = strv_split(m->data ? m->data : "", ',');
        for (size_t k = 0; extra[k]; k++)
            json_array_append_new(options, json_string(extra[k]));
        add_mount(mounts, m->target, "tmpfs", "tmpfs", options);
    }
}

/* Nobody but root makes nodes: what --device names is bound, as "/dev/x[:/dev/y[:rwm]]" says. */
static void bind_devices(const struct create_options *o, json_t *mounts)
{
    for (size_t i = 0; !process_is_host_root() && o->devices && o->devices[i]; i++) {
        _cleanup_strv_ char **parts = strv_split(o->devices[i], ':');
        add_bind(mounts, parts[0], parts[1] && parts[1][0] == '/' ? parts[1] : parts[0], false);
    }
}

static bool mounted_by_user(const struct spec_mounts *list, const char *target)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->list[i].target, target) == 0)
            return true;
    return false;
}

static json_t *mounts_section(const struct create_options *o, const struct spec_mounts *list,
                              const struct spec_files *files)
{
    const struct {
        const char *source, *target;
    } own[] = {{files->hosts, "/etc/hosts"},
               {files->hostname, "/etc/hostname"},
               {files->resolv_conf, "/etc/resolv.conf"}};
    json_t *mounts = json_array();
    add_default_mounts(o, mounts);
    bind_devices(o, mounts);
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        if (own[i].source && !mounted_by_user(list, own[i].target))
            add_bind(mounts, own[i].source, own[i].target, false);
    add_own_mounts(list, mounts);
    return mounts;
}

static int linux_section(struct engine *e, const struct create_options *o,
                         const struct instance_record *record, json_t *config, struct error *err)
{
    _cleanup_json_ json_t *resources = NULL, *devices = NULL, *sysctls = NULL, *namespaces = NULL;
    int r;
    if ((r = spec_resources(o, &resources, &devices, err)) < 0 ||
        (r = spec_sysctls(o, &sysctls, err)) < 0 ||
        (r = sharing_namespaces(e, o, &namespaces, err)) < 0)
        return r;
    json_t *section =
        json_pack("{s:O, s:s++, s:O, s:O, s:O, s:s}", "namespaces", namespaces, "cgroupsPath",
                  o->cgroup_parent ? o->cgroup_parent : "/proa", "/", record->id, "resources",
                  resources, "devices", devices, "sysctl", sysctls, "rootfsPropagation", "private");
    if (!o->privileged) {
        json_object_set_new(section, "maskedPaths", strings(default_masked));
        json_object_set_new(section, "readonlyPaths", strings(default_readonly));
    }
    json_object_set_new(config, "linux", section);
    return 0;
}

static bool shares_name(const struct create_options *o)
{
    return o->uts_mode && *o->uts_mode && strcmp(o->uts_mode, "private") != 0;
}

static json_t *annotations_section(const struct create_options *o)
{
    json_t *json = json_object();
    for (size_t i = 0; o->annotations[i]; i++) {
        const char *equals = strchrnul(o->annotations[i], '=');
        _cleanup_free_ char *key =
            xstrndup(o->annotations[i], (size_t)(equals - o->annotations[i]));
        json_object_set_new(json, key, json_string(*equals ? equals + 1 : ""));
    }
    return json;
}

int spec_write(struct engine *e, const struct create_options *o, const struct image *image,
               const struct spec_mounts *mounts, const struct instance_record *record,
               const struct spec_files *files, struct error *err)
{
    char short_id[13];
    snprintf(short_id, sizeof(short_id), "%s", record->id);
    const char *hostname = o->hostname ? o->hostname : short_id;
    _cleanup_json_ json_t *config = json_pack(
        "{s:s, s:{s:s, s:b}, s:s, s:o}", "ociVersion", "1.0.2", "root", "path", "rootfs",
        "readonly", o->read_only, "hostname", hostname, "mounts", mounts_section(o, mounts, files));
    if (shares_name(o))
        json_object_del(config, "hostname");
    if (o->domainname)
        json_object_set_new(config, "domainname", json_string(o->domainname));
    if (strv_len(o->annotations) > 0)
        json_object_set_new(config, "annotations", annotations_section(o));
    int r = process_section(o, image, hostname, config, err);
    if (r == 0)
        r = linux_section(e, o, record, config, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *bundle = engine_bundle_dir(e, record->id);
    _cleanup_free_ char *path = path_join(bundle, "config.json");
    _cleanup_free_ char *text = json_to_text(config);
    r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}
