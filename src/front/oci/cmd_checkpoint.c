/* checkpoint and restore: over the program criu. */
#include <sched.h>
#include <string.h>

#include "base/alloc.h"
#include "front/oci/commands.h"
#include "front/oci/session.h"
#include "runtime/oci/self.h"
#include "wire/criu/rpc.h"

#define DEFAULT_IMAGE "checkpoint"

struct criu_values {
    char *image_path, *work_path, *parent_path, *manage_cgroups_mode;
    char **empty_ns;
    bool tcp_established, ext_unix_sk, shell_job, file_locks, auto_dedup, lazy_pages;
    bool leave_running, tcp_skip_in_flight, pre_dump; /* checkpoint */
    char *page_server, *status_fd;
    char *bundle, *console_socket, *pid_file, *lsm_profile, *lsm_mount_context; /* restore */
    bool detach, no_pivot, no_subreaper;
};

static const struct cli_option common_table[] = {
    OPT_NAMED(COMPLETES_FILE, 0, "image-path", struct criu_values, image_path, "directory",
              "Where the image is (default ./" DEFAULT_IMAGE ")"),
    OPT_NAMED(COMPLETES_FILE, 0, "work-path", struct criu_values, work_path, "directory",
              "Where CRIU's log goes (default the image's directory)"),
    OPT_FLAG(0, "tcp-established", struct criu_values, tcp_established,
             "With open TCP connections"),
    OPT_FLAG(0, "ext-unix-sk", struct criu_values, ext_unix_sk,
             "With Unix sockets whose other end is outside"),
    OPT_FLAG(0, "shell-job", struct criu_values, shell_job,
             "With a terminal that is the caller's own"),
    OPT_FLAG(0, "file-locks", struct criu_values, file_locks, "With file locks"),
    OPT_STRING(0, "manage-cgroups-mode", struct criu_values, manage_cgroups_mode, "mode",
               "What of the control groups: soft (default), full, strict or ignore"),
    OPT_LIST(0, "empty-ns", struct criu_values, empty_ns, "namespace",
             "network: leave what is in it to somebody else"),
    OPT_FLAG(0, "auto-dedup", struct criu_values, auto_dedup,
             "Drop pages from the image that are not needed any more"),
    OPT_FLAG(0, "lazy-pages", struct criu_values, lazy_pages, "Not supported: refused"),
};

static const struct cli_option checkpoint_table[] = {
    OPT_NAMED(COMPLETES_FILE, 0, "parent-path", struct criu_values, parent_path, "directory",
              "An earlier image, relative to the image's: only what has changed is saved"),
    OPT_FLAG(0, "leave-running", struct criu_values, leave_running,
             "Let the container go on afterwards"),
    OPT_FLAG(0, "tcp-skip-in-flight", struct criu_values, tcp_skip_in_flight,
             "Without TCP connections that are being made"),
    OPT_FLAG(0, "pre-dump", struct criu_values, pre_dump,
             "Save the memory only, for a later one with --parent-path"),
    OPT_STRING(0, "page-server", struct criu_values, page_server, "address",
               "Not supported: refused"),
    OPT_STRING(0, "status-fd", struct criu_values, status_fd, "number", "Not supported: refused"),
};

static const struct cli_option restore_table[] = {
    OPT_NAMED(COMPLETES_FILE, 'b', "bundle", struct criu_values, bundle, "directory",
              "The bundle: config.json and the root file system (default .)"),
    OPT_NAMED(COMPLETES_FILE, 0, "console-socket", struct criu_values, console_socket, "path",
              "Unix socket that is sent the terminal's master"),
    OPT_NAMED(COMPLETES_FILE, 0, "pid-file", struct criu_values, pid_file, "path",
              "File to write the first process's id to"),
    OPT_FLAG('d', "detach", struct criu_values, detach, "Leave when it runs"),
    OPT_FLAG(0, "no-subreaper", struct criu_values, no_subreaper, NULL),
    OPT_FLAG(0, "no-pivot", struct criu_values, no_pivot, NULL),
    OPT_STRING(0, "lsm-profile", struct criu_values, lsm_profile, "type:name",
               "Another security profile: apparmor:NAME or selinux:LABEL"),
    OPT_STRING(0, "lsm-mount-context", struct criu_values, lsm_mount_context, "context",
               "Another SELinux context for the mounts"),
};

static int refuse(const struct criu_values *v, struct error *err)
{
    const struct {
        bool asked;
        const char *name;
    } refused[] = {
        {v->lazy_pages, "--lazy-pages"},
        {v->page_server != NULL, "--page-server"},
        {v->status_fd != NULL, "--status-fd"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
        if (refused[i].asked)
            return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                             "%s: memory over the network is not supported", refused[i].name);
    return 0;
}

static int cgroups_mode(const char *text, int *ret, struct error *err)
{
    static const struct {
        const char *name;
        enum criu_cgroups mode;
    } modes[] = {
        {"soft", CRIU_CGROUPS_SOFT},
        {"full", CRIU_CGROUPS_FULL},
        {"strict", CRIU_CGROUPS_STRICT},
        {"ignore", CRIU_CGROUPS_IGNORE},
    };
    if (!text || !*text)
        text = modes[0].name;
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
        if (strcmp(text, modes[i].name) == 0) {
            *ret = (int)modes[i].mode;
            return 0;
        }
    return error_invalid(
        err, "--manage-cgroups-mode is soft, full, strict or ignore, not \"%.32s\"", text);
}

static int common_options(const struct criu_values *v, struct oci_criu *ret, struct error *err)
{
    int r = refuse(v, err);
    if (r < 0)
        return r;
    *ret = (struct oci_criu){
        .image_path = v->image_path ? v->image_path : DEFAULT_IMAGE,
        .work_path = v->work_path,
        .tcp_established = v->tcp_established,
        .external_sockets = v->ext_unix_sk,
        .shell_job = v->shell_job,
        .file_locks = v->file_locks,
        .auto_dedup = v->auto_dedup,
    };
    for (size_t i = 0; v->empty_ns && v->empty_ns[i]; i++) {
        if (strcmp(v->empty_ns[i], "network") != 0)
            return error_invalid(err, "--empty-ns is network, not \"%.32s\"", v->empty_ns[i]);
        ret->empty_namespaces = CLONE_NEWNET;
    }
    return cgroups_mode(v->manage_cgroups_mode, &ret->cgroups, err);
}

static int handle_checkpoint(struct cli *cli, void *values, char **args)
{
    const struct criu_values *v = values;
    _cleanup_oci_container_ struct oci_container c;
    struct error err = ERROR_INIT;
    struct oci_checkpoint o = {
        .parent_path = v->parent_path,
        .leave_running = v->leave_running,
        .tcp_skip_in_flight = v->tcp_skip_in_flight,
        .pre_dump = v->pre_dump,
    };
    oci_container_init(&c);
    int r = common_options(v, &o.common, &err);
    if (r == 0 && (r = oci_open(cli, args[0], true, &c, &err)) == 0)
        r = oci_container_checkpoint(&c, &o, &err);
    oci_warn(cli, &c);
    return r < 0 ? oci_failed(cli, &err, 1) : 0;
}

static int restore(const struct cli *cli, const struct criu_values *v, const char *id,
                   struct oci_container *ret, int *ret_console, struct error *err)
{
    _cleanup_free_ char *root = oci_root(cli), *filters = oci_filter_cache();
    struct oci_restore o = {
        .create =
            {
                .root = root,
                .id = id,
                .bundle = v->bundle ? v->bundle : ".",
                .console_socket = v->console_socket,
                .pid_file = v->pid_file,
                .filter_cache = filters,
                .systemd_cgroup = oci_wants_systemd(cli),
                .leaves = v->detach,
            },
        .lsm_profile = v->lsm_profile,
        .lsm_mount_context = v->lsm_mount_context,
    };
    int r = common_options(v, &o.common, err);
    return r < 0 ? r : oci_container_restore(&o, ret, ret_console, err);
}

static int handle_restore(struct cli *cli, void *values, char **args)
{
    const struct criu_values *v = values;
    _cleanup_oci_container_ struct oci_container c;
    struct error err = ERROR_INIT;
    _cleanup_close_ int console = -EBADF;
    int status = 0;
    oci_container_init(&c);
    int r = restore(cli, v, args[0], &c, &console, &err);
    oci_warn(cli, &c);
    pid_t pid = c.pid;
    oci_container_done(&c); /* others may work on it while it runs */
    if (r == 0 && !v->detach)
        r = oci_foreground(pid, console, &status, &err);
    if (r == 0 && !v->detach)
        r = oci_delete_ended(cli, args[0], &err);
    return r < 0 ? oci_failed(cli, &err, 1) : status;
}

const struct command cmd_checkpoint = {
    .name = "checkpoint",
    .usage = "[OPTIONS] ID",
    .summary = "Save a running container as an image, and delete it",
    .description = "Needs the program criu (Debian's package criu), root, and a kernel that CRIU "
                   "knows. An image is trusted: whoever can write to it is root of the host when "
                   "it is restored.",
    .sets = {OPTION_SET(common_table), OPTION_SET(checkpoint_table)},
    .values_size = sizeof(struct criu_values),
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_COMMON,
    .single_dash = true,
    .run = handle_checkpoint,
};

const struct command cmd_restore = {
    .name = "restore",
    .usage = "[OPTIONS] ID",
    .summary = "Make a container from an image, as it was when it was saved",
    .description =
        "The configuration of the bundle is the one that the container had. Standard "
        "input, output and error become those of this command; where one was a file, CRIU "
        "wants one of the same mode and length.",
    .sets = {OPTION_SET(common_table), OPTION_SET(restore_table)},
    .values_size = sizeof(struct criu_values),
    .min_args = 1,
    .max_args = 1,
    .section = SECTION_COMMON,
    .single_dash = true,
    .run = handle_restore,
};
