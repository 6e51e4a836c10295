/*
 * `run` and `create`: their options fill the engine's create_options directly. `run` is create,
 * start, and (without -d) staying attached until the end.
 */
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/instance.h"
#include "front/cli/commands.h"
#include "front/cli/limits.h"
#include "front/cli/registry.h"
#include "front/cli/session.h"

struct run_values {
    struct create_options create;
    struct registry_values registry;
    char *pull;
    char **env_files, **label_files, **log_opts, **attach;
    char *memory_swap, *log_driver, *cidfile, *detach_keys;
    bool vm, detach, sig_proxy, cloud_init;
};

static const struct cli_option create_table[] = {
    OPT_KEY_VALUE(0, "add-host", struct run_values, create.add_hosts, "host:ip",
                  "Add a line to /etc/hosts"),
    OPT_LIST(0, "cap-add", struct run_values, create.cap_add, "list", "Add a Linux capability"),
    OPT_LIST(0, "cap-drop", struct run_values, create.cap_drop, "list",
             "Take a Linux capability away"),
    OPTION(OPTION_STRING, char *, 0, "cidfile", struct run_values, cidfile, "file",
           "Write the ID to this file, which must not exist", .completes = COMPLETES_FILE),
    OPT_LIST(0, "device", struct run_values, create.devices, "list",
             "Give a device of the host (/dev/x[:/dev/y[:rwm]])"),
    OPT_LIST(0, "dns", struct run_values, create.dns, "list", "Set a DNS server"),
    OPT_STRING(0, "entrypoint", struct run_values, create.entrypoint, "string",
               "Replace the image's entrypoint; \"\" clears it"),
    OPT_KEY_VALUE('e', "env", struct run_values, create.env, "list", "Set environment variables"),
    OPT_NAMED_LIST(COMPLETES_FILE, 0, "env-file", struct run_values, env_files, "list",
                   "Read environment variables from a file"),
    OPT_STRING('h', "hostname", struct run_values, create.hostname, "string", "Host name inside"),
    OPT_FLAG(0, "init", struct run_values, create.init,
             "Run an init inside that forwards signals and reaps processes"),
    OPT_FLAG('i', "interactive", struct run_values, create.open_stdin,
             "Keep stdin open even if not attached"),
    OPT_STRING(0, "ip", struct run_values, create.ip, "string", "IPv4 address (172.30.100.104)"),
    OPT_NAMED(COMPLETES_FILE, 0, "initrd", struct run_values, create.initrd, "file",
              "Unpack this initramfs, too, at a machine's start"),
    OPT_NAMED(COMPLETES_FILE, 0, "kernel", struct run_values, create.kernel, "name|file",
              "Kernel of a machine: one of `proa kernel ls`, or a file (./vmlinuz)"),
    OPT_LIST(0, "kernel-arg", struct run_values, create.kernel_args, "argument",
             "Add to the command line of a machine's kernel"),
    OPT_STRING(0, "ip6", struct run_values, create.ip6, "string", "IPv6 address (2001:db8::33)"),
    OPT_KEY_VALUE('l', "label", struct run_values, create.labels, "list", "Set metadata"),
    OPT_NAMED_LIST(COMPLETES_FILE, 0, "label-file", struct run_values, label_files, "list",
                   "Read labels from a file"),
    OPT_STRING(0, "log-driver", struct run_values, log_driver, "string",
               "Logging driver: json-file is the one there is"),
    OPT_KEY_VALUE(0, "log-opt", struct run_values, log_opts, "list",
                  "Log options: max-size=SIZE, max-file=N"),
    OPT_STRING(0, "mac-address", struct run_values, create.mac, "string", "MAC address"),
    OPT_STRING(0, "mac", struct run_values, create.mac, "string", NULL),
    OPT_LIST(0, "mount", struct run_values, create.mounts, "mount",
             "Attach a file system: type=bind|volume|tmpfs,source=,target=,readonly"),
    OPT_STRING(0, "name", struct run_values, create.name, "string", "Assign a name"),
    OPT_NAMED_LIST(COMPLETES_NETWORK, 0, "network", struct run_values, create.networks, "network",
                   "Connect to a network, or to several: NAME[:ip=,ip6=,mac=,alias=], none, host, "
                   "container:NAME"),
    OPT_NAMED_LIST(COMPLETES_NETWORK, 0, "net", struct run_values, create.networks, "network",
                   NULL),
    OPT_LIST(0, "network-alias", struct run_values, create.network_aliases, "list",
             "Add a name on the network"),
    OPT_STRING(0, "platform", struct run_values, create.platform, "string",
               "Refuse an image for another platform"),
    OPT_FLAG(0, "privileged", struct run_values, create.privileged,
             "Give all capabilities and devices: no wall is left between it and the host"),
    OPT_FLAG(0, "no-warm", struct run_values, create.no_warm,
             "Boot the machine even where there is a template to go on from"),
    OPT_LIST('p', "publish", struct run_values, create.publish, "list",
             "Publish a port to the host ([[address:]host-port:]port[/proto])"),
    OPT_FLAG('P', "publish-all", struct run_values, create.publish_all,
             "Publish all exposed ports to free ports"),
    OPT_STRING(0, "pull", struct run_values, pull, "string",
               "When to get the image from its registry: always, missing (default), never"),
    REGISTRY_OPTIONS(struct run_values),
    OPT_FLAG(0, "read-only", struct run_values, create.read_only,
             "Mount the root file system read-only"),
    OPT_FLAG(0, "rm", struct run_values, create.auto_remove, "Remove it when it exits"),
    OPT_LIST(0, "security-opt", struct run_values, create.security_opt, "list",
             "seccomp=unconfined|FILE, no-new-privileges[=false]"),
    OPT_SIZE(0, "shm-size", struct run_values, create.shm_bytes, "bytes", "Size of /dev/shm"),
    OPT_STRING(0, "stop-signal", struct run_values, create.stop_signal, "string",
               "Signal to stop it with"),
    OPT_I32(0, "stop-timeout", struct run_values, create.stop_timeout_s, "int",
            "Seconds to wait for it to stop"),
    OPT_KEY_VALUE(0, "sysctl", struct run_values, create.sysctls, "list", "Kernel parameters"),
    OPT_LIST(0, "tmpfs", struct run_values, create.tmpfs, "list",
             "Mount a tmpfs (/PATH[:options])"),
    OPT_FLAG('t', "tty", struct run_values, create.terminal, "Allocate a pseudo-terminal"),
    OPT_LIST(0, "ulimit", struct run_values, create.ulimits, "list", "Limits (name=soft[:hard])"),
    OPT_STRING('u', "user", struct run_values, create.user, "string",
               "User (name|uid[:group|gid])"),
    OPT_FLAG(0, "vm", struct run_values, vm, "Run it as a light virtual machine"),
    OPT_NAMED_LIST(COMPLETES_VOLUME, 'v', "volume", struct run_values, create.volumes, "list",
                   "Mount a volume or a directory (NAME|/HOST:/PATH[:ro])"),
    OPT_STRING('w', "workdir", struct run_values, create.working_dir, "string",
               "Working directory inside"),
};

/* What bounds it, what looks after it, and what it shares with others. */
static const struct cli_option sharing_table[] = {
    LIMIT_OPTIONS(struct run_values),
    OPT_STRING(0, "health-cmd", struct run_values, create.health_cmd, "string",
               "Command that tells whether it is healthy, for a shell"),
    OPT_DURATION(0, "health-interval", struct run_values, create.health_interval_ms, "duration",
                 "Time between two health checks (30s)"),
    OPT_U32(0, "health-retries", struct run_values, create.health_retries, "int",
            "Failures in a row that make it unhealthy (3)"),
    OPT_DURATION(0, "health-start-interval", struct run_values, create.health_start_interval_ms,
                 "duration", "Time between two checks in the start period (5s)"),
    OPT_DURATION(0, "health-start-period", struct run_values, create.health_start_period_ms,
                 "duration", "Time in which failures do not count yet (0s)"),
    OPT_DURATION(0, "health-timeout", struct run_values, create.health_timeout_ms, "duration",
                 "Time after which a check has failed (30s)"),
    OPT_FLAG(0, "no-healthcheck", struct run_values, create.no_healthcheck,
             "Do without the image's health check"),
    OPT_KEY_VALUE(0, "annotation", struct run_values, create.annotations, "list",
                  "Add an annotation to the OCI configuration"),
    OPT_STRING(0, "cgroup-parent", struct run_values, create.cgroup_parent, "string",
               "Control group to put its own below"),
    OPT_STRING(0, "cgroupns", struct run_values, create.cgroupns_mode, "string",
               "Control group namespace: private (default), host"),
    OPT_LIST(0, "device-cgroup-rule", struct run_values, create.device_rules, "list",
             "Allow more devices, as \"c 10:200 rwm\""),
    OPT_LIST(0, "dns-option", struct run_values, create.dns_options, "list",
             "Set an option of the resolver"),
    OPT_LIST(0, "dns-opt", struct run_values, create.dns_options, "list", NULL),
    OPT_LIST(0, "dns-search", struct run_values, create.dns_search, "list",
             "Set a search domain; \".\" for none"),
    OPT_STRING(0, "domainname", struct run_values, create.domainname, "string",
               "NIS domain name inside"),
    OPT_LIST(0, "expose", struct run_values, create.expose, "list",
             "Expose a port, for --publish-all"),
    OPT_STRING(0, "gpus", struct run_values, create.gpus, "string", "Give GPUs (refused)"),
    OPT_LIST(0, "group-add", struct run_values, create.group_add, "list",
             "Add a group of the image to the user's"),
    OPT_STRING(0, "ipc", struct run_values, create.ipc_mode, "string",
               "IPC namespace: private (default), host"),
    OPT_LIST(0, "link", struct run_values, create.links, "list", "Link to another (refused)"),
    OPT_FLAG(0, "no-hosts", struct run_values, create.no_hosts,
             "Leave the image's /etc/hosts as it is"),
    OPT_FLAG(0, "oom-kill-disable", struct run_values, create.oom_kill_disable,
             "Stop it rather than kill it when its memory is used up"),
    OPT_I32(0, "oom-score-adj", struct run_values, create.oom_score_adj, "int",
            "Preference of the kernel's OOM killer, -1000 to 1000"),
    OPT_STRING(0, "pid", struct run_values, create.pid_mode, "string",
               "PID namespace: private (default), host, container:NAME"),
    OPT_STRING(0, "userns", struct run_values, create.userns_mode, "string",
               "User namespace: host"),
    OPT_STRING(0, "uts", struct run_values, create.uts_mode, "string",
               "UTS namespace: private (default), host, container:NAME"),
    OPT_NAMED_LIST(COMPLETES_INSTANCE, 0, "volumes-from", struct run_values, create.volumes_from,
                   "list", "Mount what another instance has mounted (NAME[:ro])"),
};

/* Of machines that boot a disk image; docs/MACHINES.md tells more. */
static const struct cli_option machine_table[] = {
    OPT_STRING(0, "boot", struct run_values, create.boot, "list",
               "Disk machine: boot order of disk, cdrom and network (disk,cdrom)"),
    OPT_NAMED_LIST(COMPLETES_FILE, 0, "cdrom", struct run_values, create.cdroms, "file",
                   "Disk machine: put a file into a CD-ROM drive"),
    OPT_FLAG(0, "cloud-init", struct run_values, cloud_init,
             "Disk machine: tell cloud-init in it its name and addresses (default true)"),
    OPT_STRING(0, "cloud-user", struct run_values, create.cloud_user, "name",
               "Disk machine: let cloud-init make this user"),
    OPT_STRING(0, "cpu", struct run_values, create.cpu_model, "string",
               "Disk machine: model of the processor, as QEMU names it"),
    OPT_LIST(
        0, "disk", struct run_values, create.disks, "disk",
        "Disk machine: one more disk ([FILE|NAME][,size=10g][,readonly][,bus=virtio|scsi|sata])"),
    OPT_STRING(0, "disk-bus", struct run_values, create.disk_bus, "string",
               "Disk machine: bus of its disks: virtio, scsi or sata"),
    OPT_SIZE(0, "disk-size", struct run_values, create.disk_bytes, "bytes",
             "Disk machine: size of the disk it boots, from that of its image on"),
    OPT_STRING(0, "firmware", struct run_values, create.firmware, "string",
               "Disk machine: bios or uefi; else as the disk can be booted"),
    OPT_STRING(0, "graphics", struct run_values, create.graphics, "string",
               "Disk machine: vnc for a screen (see `proa console --vnc`), or none"),
    OPT_U32(0, "max-cpus", struct run_values, create.cpus_max, "int",
            "Disk machine: processors that it may grow to"),
    OPT_SIZE(0, "max-memory", struct run_values, create.memory_max, "bytes",
             "Disk machine: memory that it may grow to"),
    OPT_NAMED(COMPLETES_FILE, 0, "meta-data", struct run_values, create.meta_data, "file",
              "Disk machine: meta-data for cloud-init"),
    OPT_NAMED(COMPLETES_FILE, 0, "network-config", struct run_values, create.network_config, "file",
              "Disk machine: network configuration for cloud-init instead of its addresses"),
    OPT_STRING(0, "nic", struct run_values, create.nic, "string",
               "Disk machine: network card: virtio or e1000e"),
    OPT_STRING(0, "os", struct run_values, create.os, "string",
               "Disk machine: linux, windows or other, for what each expects of a PC"),
    OPT_LIST(0, "pci", struct run_values, create.pci, "address",
             "Refused: no PCI device of the host is given away"),
    OPT_STRING(0, "rtc", struct run_values, create.rtc, "string",
               "Disk machine: its clock shows utc or localtime"),
    OPT_FLAG(0, "secure-boot", struct run_values, create.secure_boot,
             "Disk machine: UEFI that starts only what is signed"),
    OPT_NAMED_LIST(COMPLETES_FILE, 0, "ssh-key", struct run_values, create.ssh_keys, "file|key",
                   "Disk machine: let cloud-init allow these public keys"),
    OPT_FLAG(0, "tpm", struct run_values, create.tpm, "Disk machine: a TPM 2.0 of its own"),
    OPT_LIST(0, "usb", struct run_values, create.usb, "device",
             "Refused: no USB device of the host is given away"),
    OPT_NAMED(COMPLETES_FILE, 0, "user-data", struct run_values, create.user_data, "file",
              "Disk machine: user-data for cloud-init: #cloud-config, a script, or MIME"),
};

static const struct cli_option run_table[] = {
    OPT_LIST('a', "attach", struct run_values, attach, "list",
             "Attach only to these: stdin, stdout, stderr"),
    OPT_FLAG('d', "detach", struct run_values, detach, "Run in the background and print the ID"),
    OPT_STRING(0, "detach-keys", struct run_values, detach_keys, "string",
               "Keys that detach (ctrl-p,ctrl-q)"),
    OPT_FLAG(0, "sig-proxy", struct run_values, sig_proxy,
             "Pass signals on to the process (default true)"),
};

static void run_init(void *values)
{
    struct run_values *v = values;
    create_options_init(&v->create);
    registry_values_init(&v->registry);
    v->sig_proxy = v->cloud_init = true;
}

static int parse_log_options(struct run_values *v, struct error *err)
{
    if (v->log_driver && strcmp(v->log_driver, "json-file") != 0 &&
        strcmp(v->log_driver, "local") != 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "there is no log driver \"%s\": leave it out or say json-file",
                         v->log_driver);
    for (size_t i = 0; v->log_opts && v->log_opts[i]; i++) {
        const char *size = filter_value(v->log_opts[i], "max-size");
        const char *files = filter_value(v->log_opts[i], "max-file");
        if (size ? parse_size(size, &v->create.log_max_bytes) < 0
                 : !files || parse_u32(files, &v->create.log_files) < 0)
            return error_invalid(err, "invalid log option \"%s\": max-size=10m or max-file=3",
                                 v->log_opts[i]);
    }
    return 0;
}

/* Labels of files first, so that those of the command line win. */
static int merge_labels(struct run_values *v, struct error *err)
{
    _cleanup_strv_ char **all = NULL;
    int r = cli_read_lines(v->label_files, &all, err);
    if (r < 0 || !v->label_files)
        return r;
    for (size_t i = 0; v->create.labels && v->create.labels[i]; i++)
        env_set(&all, v->create.labels[i]);
    strv_free(v->create.labels);
    v->create.labels = TAKE_PTR(all);
    return 0;
}

/* What the tables could not say in one option each. */
static int complete_options(struct run_values *v, char **args, struct error *err)
{
    struct create_options *o = &v->create;
    char **env = NULL;
    o->kind = v->vm ? RUNTIME_VM : RUNTIME_CONTAINER;
    o->no_cloud_init = !v->cloud_init;
    o->image = xstrdup(args[0]);
    o->command = args[1] ? strv_copy(args + 1) : NULL;
    if (v->cidfile && access(v->cidfile, F_OK) == 0)
        return error_set(err, ERROR_CONFLICT, EEXIST,
                         "%s exists already: remove it, or name another --cidfile", v->cidfile);
    int r = cli_environment(o->env, v->env_files, &env, err);
    if (r < 0)
        return r;
    strv_free(o->env);
    o->env = env;
    r = merge_labels(v, err);
    if (r == 0)
        r = parse_log_options(v, err);
    if (r == 0)
        r = cli_memory_swap(v->memory_swap, &o->memory_swap_bytes, err);
    return r;
}

static int create(struct engine *e, struct run_values *v, char **ret_id, struct error *err)
{
    _cleanup_free_ char *id = NULL;
    int r = cli_is_path(v->create.image) ? cli_import_for_run(e, &v->create.image, err)
                                         : cli_pull_for_run(e, v->pull, v->create.platform,
                                                            &v->registry, &v->create.image, err);
    if (r < 0 || (r = engine_create(e, &v->create, &id, err)) < 0)
        return r;
    if (v->cidfile) {
        r = file_write_atomic(AT_FDCWD, v->cidfile, id, strlen(id), 0644);
        if (r < 0) {
            struct error ignored = ERROR_INIT;
            int removed = engine_remove(e, id, true, true, &ignored);
            (void)removed; /* the first failure is the one to tell */
            return error_errno(err, r, "write %s", v->cidfile);
        }
    }
    *ret_id = TAKE_PTR(id);
    return 0;
}

/* image and command are no options: options_done() does not know them. */
static void release_rest(struct run_values *v)
{
    xreplace(&v->create.image, NULL);
    strv_free(v->create.command);
    v->create.command = NULL;
}

/* 125 for failures of the engine, 126 and 127 for those of the command. */
static int run_failed(struct run_values *v, const struct error *err)
{
    release_rest(v);
    output_error(err->msg);
    return error_exit_code(err);
}

static int handle_create(struct cli *cli, void *values, char **args)
{
    struct run_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    _cleanup_free_ char *id = NULL;
    if (complete_options(v, args, &err) < 0 || cli_engine(cli, &e, &err) < 0 ||
        create(e, v, &id, &err) < 0)
        return run_failed(v, &err);
    release_rest(v);
    puts(id);
    return 0;
}

/* A start that failed leaves nothing behind with --rm. */
static int start_failed(struct engine *e, struct run_values *v, const char *id,
                        const struct error *err)
{
    struct error ignored = ERROR_INIT;
    if (v->create.auto_remove && engine_remove(e, id, true, true, &ignored) < 0 &&
        ignored.kind != ERROR_NOT_FOUND)
        output_error(ignored.msg);
    return run_failed(v, err);
}

static bool attached_to(const struct run_values *v, const char *stream)
{
    return !v->attach || strv_has(v->attach, stream);
}

static int check_attach(const struct run_values *v, struct error *err)
{
    static const char *const streams[] = {"stdin", "stdout", "stderr", NULL};
    for (size_t i = 0; v->attach && v->attach[i]; i++)
        if (!strv_has((char *const *)streams, v->attach[i]))
            return error_invalid(err, "--attach \"%.32s\": one of stdin, stdout, stderr",
                                 v->attach[i]);
    return v->attach && v->detach ? error_invalid(err, "--attach and --detach exclude each other")
                                  : 0;
}

/* The relay writes to 1 and 2 whatever they are; our own messages come after it. */
static int attach_to_some(struct engine *e, const struct run_values *v, const char *id,
                          int attach_fd, struct monitor_end *ret, struct error *err)
{
    static const char *const streams[] = {"stdin", "stdout", "stderr"};
    struct attach_options how = {.forward_stdin =
                                     v->create.open_stdin && attached_to(v, streams[0]),
                                 .proxy_signals = v->sig_proxy,
                                 .detach_keys = v->detach_keys};
    _cleanup_close_ int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int saved[3] = {-EBADF, -EBADF, -EBADF};
    for (int fd = 1; fd < 3; fd++)
        if (!attached_to(v, streams[fd])) {
            saved[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
            dup2(null, fd);
        }
    int r = engine_attach_started(e, id, attach_fd, &how, ret, err);
    for (int fd = 1; fd < 3; fd++)
        if (saved[fd] >= 0) {
            dup2(saved[fd], fd);
            close_fd(saved[fd]);
        }
    return r;
}

static int run_attached(struct engine *e, struct run_values *v, const char *id)
{
    struct error err = ERROR_INIT;
    struct monitor_end end = {0};
    int attach_fd = -EBADF;
    if (engine_start(e, id, true, &attach_fd, &err) < 0)
        return start_failed(e, v, id, &err);
    if (attach_to_some(e, v, id, attach_fd, &end, &err) < 0)
        return run_failed(v, &err);
    release_rest(v);
    if (end.lost) {
        output_warning("lost its monitor; see `proa ps -a` and `proa logs %.12s`", id);
        return 125;
    }
    return end.detached ? 0 : end.exit_code;
}

static int handle_run(struct cli *cli, void *values, char **args)
{
    struct run_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    _cleanup_free_ char *id = NULL;
    int r = v->detach ? 0 : cli_check_terminal(v->create.terminal, v->create.open_stdin, &err);
    if (r == 0)
        r = check_attach(v, &err);
    if (r < 0 || complete_options(v, args, &err) < 0 || cli_engine(cli, &e, &err) < 0 ||
        create(e, v, &id, &err) < 0)
        return run_failed(v, &err);
    if (!v->detach)
        return run_attached(e, v, id);
    if (engine_start(e, id, false, NULL, &err) < 0)
        return start_failed(e, v, id, &err);
    release_rest(v);
    puts(id);
    return 0;
}

const struct command cmd_run = {
    .name = "run",
    .aliases = "container run",
    .usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    .summary = "Create and run a new container or machine from an image",
    .description =
        "A disk image, or a path that begins with / or . and names one, boots as a machine. "
        "The exit code is the workload's own; 125 when Proa failed, 126 when the command "
        "cannot be executed, 127 when it does not exist, 128+N after signal N.",
    .sets = {OPTION_SET(create_table), OPTION_SET(sharing_table), OPTION_SET(machine_table),
             OPTION_SET(run_table)},
    .values_size = sizeof(struct run_values),
    .init = run_init,
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_IMAGE,
    .section = SECTION_COMMON,
    .stop_at_argument = true,
    .usage_exit = 125,
    .run = handle_run,
};

const struct command cmd_create = {
    .name = "create",
    .aliases = "container create",
    .usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    .summary = "Create a new container or machine without starting it",
    .sets = {OPTION_SET(create_table), OPTION_SET(sharing_table), OPTION_SET(machine_table)},
    .values_size = sizeof(struct run_values),
    .init = run_init,
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_IMAGE,
    .section = SECTION_OTHER,
    .stop_at_argument = true,
    .usage_exit = 125,
    .run = handle_create,
};
