/* create and run. */
#include <string.h>
#include <sys/prctl.h>

#include "base/alloc.h"
#include "front/oci/commands.h"
#include "front/oci/session.h"
#include "runtime/oci/self.h"

struct create_values {
    char *bundle, *console_socket, *pid_file;
    uint32_t preserve_fds;
    bool no_pivot, no_new_keyring, detach, keep, no_subreaper;
};

static const struct cli_option create_table[] = {
    OPT_NAMED(COMPLETES_FILE, 'b', "bundle", struct create_values, bundle, "directory",
              "The bundle: config.json and the root file system (default .)"),
    OPT_NAMED(COMPLETES_FILE, 0, "console-socket", struct create_values, console_socket, "path",
              "Unix socket that is sent the terminal's master"),
    OPT_NAMED(COMPLETES_FILE, 0, "pid-file", struct create_values, pid_file, "path",
              "File to write the first process's id to"),
    OPT_FLAG(0, "no-pivot", struct create_values, no_pivot,
             "Enter the root by chroot, for hosts that run from a ramdisk"),
    OPT_FLAG(0, "no-new-keyring", struct create_values, no_new_keyring,
             "Keep the caller's session keyring"),
    OPT_U32(0, "preserve-fds", struct create_values, preserve_fds, "number",
            "Descriptors from 3 on that the process gets"),
};

static const struct cli_option run_table[] = {
    OPT_FLAG('d', "detach", struct create_values, detach, "Leave when it runs"),
    OPT_FLAG(0, "keep", struct create_values, keep, "Do not delete it when it has ended"),
    OPT_FLAG(0, "no-subreaper", struct create_values, no_subreaper, NULL),
};

static int create(const struct cli *cli, const struct create_values *v, const char *id, bool leaves,
                  struct oci_container *ret, int *ret_console, struct error *err)
{
    _cleanup_free_ char *root = oci_root(cli), *filters = oci_filter_cache();
    struct oci_create o = {
        .root = root,
        .id = id,
        .bundle = v->bundle ? v->bundle : ".",
        .console_socket = v->console_socket,
        .pid_file = v->pid_file,
        .filter_cache = filters,
        .systemd_cgroup = oci_wants_systemd(cli),
        .keyring = !v->no_new_keyring,
        .pivot = !v->no_pivot,
        .leaves = leaves,
    };
    int r = oci_preserved(v->preserve_fds, &o.preserve_fds, err);
    if (r < 0 || (r = oci_self_protect(err)) < 0)
        return r;
    r = oci_container_create(&o, ret, ret_console, err);
    oci_warn(cli, ret);
    return r;
}

static int handle_create(struct cli *cli, void *values, char **args)
{
    const struct create_values *v = values;
    _cleanup_oci_container_ struct oci_container c;
    struct error err = ERROR_INIT;
    _cleanup_close_ int console = -EBADF;
    oci_container_init(&c);
    int r = create(cli, v, args[0], true, &c, &console, &err);
    return r < 0 ? oci_failed(cli, &err, 1) : 0;
}

/* As a shell has it: 127 and 126 for a command that cannot be executed. */
static int run_code(const struct error *err)
{
    int code = error_exit_code(err);
    return code == 125 ? 1 : code;
}

static int handle_run(struct cli *cli, void *values, char **args)
{
    const struct create_values *v = values;
    _cleanup_oci_container_ struct oci_container c;
    struct error err = ERROR_INIT, late = ERROR_INIT;
    _cleanup_close_ int console = -EBADF;
    int status = 0;
    oci_container_init(&c);
    if (create(cli, v, args[0], v->detach, &c, &console, &err) < 0)
        return oci_failed(cli, &err, run_code(&err));
    int r = oci_container_start(&c, &err);
    oci_warn(cli, &c);
    pid_t pid = c.pid;
    if (r < 0)
        (void)!oci_container_delete(&c, true, NULL);
    oci_container_done(&c); /* others may work on it while it runs */
    if (r == 0 && !v->detach)
        r = oci_foreground(pid, console, &status, &err);
    if (r == 0 && !v->detach && !v->keep && oci_delete_ended(cli, args[0], &late) < 0)
        (void)oci_failed(cli, &late, 1);
    return r < 0 ? oci_failed(cli, &err, run_code(&err)) : status;
}

const struct command cmd_create = {
    .name = "create",
    .usage = "[OPTIONS] ID",
    .summary = "Create a container; start executes its process",
    .sets = {OPTION_SET(create_table)},
    .values_size = sizeof(struct create_values),
    .min_args = 1,
    .max_args = 1,
    .section = SECTION_COMMON,
    .run = handle_create,
};

const struct command cmd_run = {
    .name = "run",
    .usage = "[OPTIONS] ID",
    .summary = "Create a container, start it, and end as it does",
    .sets = {OPTION_SET(create_table), OPTION_SET(run_table)},
    .values_size = sizeof(struct create_values),
    .min_args = 1,
    .max_args = 1,
    .section = SECTION_COMMON,
    .run = handle_run,
};
