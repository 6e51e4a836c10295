/* exec: one more process in a running container. */
#include <fcntl.h>
#include <sched.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "front/oci/commands.h"
#include "front/oci/session.h"
#include "runtime/oci/self.h"

#define EXEC_FAILED 255 /* as runc has it: the process's own codes go to 254 and signals */

struct exec_values {
    char *console_socket, *cwd, *user, *process, *pid_file, *process_label, *apparmor, *cgroup;
    char **env, **caps, **additional_gids;
    uint32_t preserve_fds;
    bool tty, detach, no_new_privs, ignore_paused;
};

static const struct cli_option exec_table[] = {
    OPT_NAMED(COMPLETES_FILE, 0, "console-socket", struct exec_values, console_socket, "path",
              "Unix socket that is sent the terminal's master"),
    OPT_STRING(0, "cwd", struct exec_values, cwd, "directory", "Working directory"),
    OPT_LIST('e', "env", struct exec_values, env, "NAME=VALUE", "Add to the environment"),
    OPT_FLAG('t', "tty", struct exec_values, tty, "Give it a terminal"),
    OPT_STRING('u', "user", struct exec_values, user, "UID[:GID]", "Run as this user"),
    OPT_LIST('g', "additional-gids", struct exec_values, additional_gids, "GID",
             "Add a supplementary group"),
    OPT_NAMED(COMPLETES_FILE, 'p', "process", struct exec_values, process, "file",
              "The process as JSON, instead of what the other options say"),
    OPT_FLAG('d', "detach", struct exec_values, detach, "Leave when it runs"),
    OPT_NAMED(COMPLETES_FILE, 0, "pid-file", struct exec_values, pid_file, "path",
              "File to write the process's id to"),
    OPT_STRING(0, "process-label", struct exec_values, process_label, "label",
               "SELinux label of the process"),
    OPT_STRING(0, "apparmor", struct exec_values, apparmor, "profile",
               "AppArmor profile of the process"),
    OPT_FLAG(0, "no-new-privs", struct exec_values, no_new_privs,
             "No program may give it more privileges"),
    OPT_LIST('c', "cap", struct exec_values, caps, "CAP", "Add a capability"),
    OPT_U32(0, "preserve-fds", struct exec_values, preserve_fds, "number",
            "Descriptors from 3 on that the process gets"),
    OPT_STRING(0, "cgroup", struct exec_values, cgroup, "path", NULL),
    OPT_FLAG(0, "ignore-paused", struct exec_values, ignore_paused, NULL),
};

static int add_capabilities(struct oci_process *p, char *const *names, struct error *err)
{
    for (size_t i = 0; names && names[i]; i++) {
        unsigned int number;
        if (oci_capability_from_name(names[i], &number) < 0)
            return error_invalid(err, "unknown capability \"%.32s\"", names[i]);
        uint64_t bit = UINT64_C(1) << number;
        struct oci_capabilities *c = &p->capabilities;
        c->bounding |= bit;
        c->effective |= bit;
        c->permitted |= bit;
        p->has_capabilities = true;
    }
    return 0;
}

static int add_groups(struct oci_process *p, char *const *gids, struct error *err)
{
    struct oci_user *u = &p->user;
    for (size_t i = 0; gids && gids[i]; i++) {
        uint32_t gid;
        if (parse_u32(gids[i], &gid) < 0 || gid == UINT32_MAX)
            return error_invalid(err, "\"%.32s\" is no group id", gids[i]);
        u->additional_gids =
            xreallocarray(u->additional_gids, u->n_additional_gids + 1, sizeof(uint32_t));
        u->additional_gids[u->n_additional_gids++] = gid;
    }
    return 0;
}

/* The container's own process, changed as the options say. */
static int change_process(struct oci_process *p, const struct exec_values *v, char **args,
                          struct error *err)
{
    if (!args[0])
        return error_invalid(err, "no command to execute");
    strv_free(p->args);
    p->args = strv_copy(args);
    p->terminal = v->tty;
    p->console_height = p->console_width = 0;
    p->no_new_privileges |= v->no_new_privs;
    for (size_t i = 0; v->env && v->env[i]; i++)
        env_set(&p->env, v->env[i]);
    if (v->cwd && v->cwd[0] != '/')
        return error_invalid(err, "--cwd %s is not an absolute path", v->cwd);
    if (v->cwd)
        xreplace(&p->cwd, v->cwd);
    if (v->process_label)
        xreplace(&p->selinux_label, v->process_label);
    if (v->apparmor)
        xreplace(&p->apparmor_profile, v->apparmor);
    if (v->user) {
        free(p->user.additional_gids);
        p->user.additional_gids = NULL;
        p->user.n_additional_gids = 0;
    }
    int r = add_groups(p, v->additional_gids, err);
    return r < 0 ? r : add_capabilities(p, v->caps, err);
}

static int execute(struct cli *cli, const struct exec_values *v, char **args, int *ret_status,
                   struct error *err)
{
    _cleanup_oci_container_ struct oci_container c;
    _cleanup_(oci_process_free_cleanup) struct oci_process *given = NULL;
    struct oci_exec e = {
        .console_socket = v->console_socket,
        .pid_file = v->pid_file,
        .detach = v->detach,
    };
    int r = oci_preserved(v->preserve_fds, &e.preserve_fds, err);
    oci_container_init(&c);
    if (r < 0 || (r = oci_self_protect(err)) < 0 ||
        (r = oci_open(cli, args[0], false, &c, err)) < 0)
        return r;
    if (!c.config || !c.config->has_process)
        return error_invalid(err, "config.json: \"process\" is missing");
    if (v->process) {
        if ((r = oci_process_load(v->process, &given, err)) < 0)
            return r;
        given->terminal |= v->tty;
        c.warning = oci_process_warning(given, oci_config_namespace(c.config, CLONE_NEWUSER));
        oci_warn(cli, &c);
    } else {
        if ((r = change_process(&c.config->process, v, args + 1, err)) < 0)
            return r;
        e.user = v->user;
    }
    e.process = given ? given : &c.config->process;
    e.seccomp = c.config->linux_.seccomp;
    if (e.process->terminal && e.detach && !e.console_socket)
        return error_invalid(err, "a process with a terminal that is left alone needs "
                                  "--console-socket");
    if (!e.process->terminal && e.console_socket)
        return error_invalid(err, "--console-socket is for a process with a terminal");
    return oci_container_exec(&c, &e, ret_status, err);
}

static int handle_exec(struct cli *cli, void *values, char **args)
{
    struct error err = ERROR_INIT;
    int status = 0;
    if (execute(cli, values, args, &status, &err) == 0)
        return status;
    return oci_failed(cli, &err, EXEC_FAILED);
}

const struct command cmd_exec = {
    .name = "exec",
    .usage = "[OPTIONS] ID [COMMAND [ARG...]]",
    .summary = "Run one more process in a container",
    .sets = {OPTION_SET(exec_table)},
    .values_size = sizeof(struct exec_values),
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_RUNNING,
    .section = SECTION_COMMON,
    .stop_at_argument = true,
    .usage_exit = EXEC_FAILED,
    .run = handle_exec,
};
