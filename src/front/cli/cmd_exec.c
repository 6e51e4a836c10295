/* Joining a running instance: exec and attach. */
#include <string.h>

#include "base/strv.h"
#include "engine/instance.h"
#include "engine/observe.h"
#include "front/cli/commands.h"
#include "front/cli/session.h"

struct exec_values {
    char **env, **env_files;
    char *user, *working_dir;
    bool detach, interactive, terminal, privileged;
};
static const struct cli_option exec_table[] = {
    OPT_FLAG('d', "detach", struct exec_values, detach, "Run the command in the background"),
    OPT_KEY_VALUE('e', "env", struct exec_values, env, "list", "Set environment variables"),
    OPT_NAMED_LIST(COMPLETES_FILE, 0, "env-file", struct exec_values, env_files, "list",
                   "Read environment variables from a file"),
    OPT_FLAG('i', "interactive", struct exec_values, interactive,
             "Keep stdin open even if not attached"),
    OPT_FLAG(0, "privileged", struct exec_values, privileged, "Give the command all capabilities"),
    OPT_FLAG('t', "tty", struct exec_values, terminal, "Allocate a pseudo-terminal"),
    OPT_STRING('u', "user", struct exec_values, user, "string", "User (name|uid[:group|gid])"),
    OPT_STRING('w', "workdir", struct exec_values, working_dir, "string",
               "Working directory inside"),
};

/* 126 and 127 say that the command is wrong; every other failure is 1, as Docker has it. */
static int exec_failed(const struct error *err)
{
    bool command = err->kind == ERROR_COMMAND_NOT_FOUND || err->kind == ERROR_COMMAND_NOT_RUN;
    cli_failed(err);
    return command ? error_exit_code(err) : 1;
}

static int handle_exec(struct cli *cli, void *values, char **args)
{
    static const int stdio[3] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
    struct exec_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    _cleanup_strv_ char **env = NULL;
    int status = 0;
    int r = v->detach ? 0 : cli_check_terminal(v->terminal, v->interactive, &err);
    if (r < 0 || cli_environment(v->env, v->env_files, &env, &err) < 0 ||
        cli_engine(cli, &e, &err) < 0)
        return exec_failed(&err);
    struct runtime_exec x = {.argv = args + 1,
                             .env = env,
                             .cwd = v->working_dir,
                             .user = v->user,
                             .terminal = v->terminal && !v->detach,
                             .interactive = v->interactive && !v->detach,
                             .detach = v->detach,
                             .privileged = v->privileged};
    if (engine_exec(e, args[0], &x, stdio, &status, &err) < 0)
        return exec_failed(&err);
    return v->detach ? 0 : status;
}

const struct command cmd_exec = {
    .name = "exec",
    .aliases = "container exec",
    .usage = "[OPTIONS] NAME COMMAND [ARG...]",
    .summary = "Execute a command in a running instance",
    .sets = {OPTION_SET(exec_table)},
    .values_size = sizeof(struct exec_values),
    .min_args = 2,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_RUNNING,
    .section = SECTION_COMMON,
    .stop_at_argument = true,
    .usage_exit = 125,
    .run = handle_exec,
};

struct attach_values {
    char *detach_keys;
    bool no_stdin, sig_proxy;
};
static const struct cli_option attach_table[] = {
    OPT_STRING(0, "detach-keys", struct attach_values, detach_keys, "string",
               "Keys that detach (ctrl-p,ctrl-q)"),
    OPT_FLAG(0, "no-stdin", struct attach_values, no_stdin, "Do not attach stdin"),
    OPT_FLAG(0, "sig-proxy", struct attach_values, sig_proxy,
             "Pass signals on to the process (default true)"),
};

static void attach_init(void *values)
{
    ((struct attach_values *)values)->sig_proxy = true;
}

static int handle_attach(struct cli *cli, void *values, char **args)
{
    struct attach_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct monitor_end end = {0};
    struct attach_options how = {.forward_stdin = !v->no_stdin,
                                 .proxy_signals = v->sig_proxy,
                                 .detach_keys = v->detach_keys};
    if (cli_engine(cli, &e, &err) < 0 || engine_attach(e, args[0], &how, &end, &err) < 0)
        return cli_failed(&err);
    if (end.lost) {
        output_warning("lost its monitor; see `proa ps -a` and `proa logs %s`", args[0]);
        return 1;
    }
    return end.detached ? 0 : end.exit_code;
}

const struct command cmd_attach = {
    .name = "attach",
    .aliases = "container attach",
    .usage = "[OPTIONS] NAME",
    .summary = "Attach stdin, stdout and stderr to a running instance",
    .sets = {OPTION_SET(attach_table)},
    .values_size = sizeof(struct attach_values),
    .init = attach_init,
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_RUNNING,
    .section = SECTION_OTHER,
    .run = handle_attach,
};
