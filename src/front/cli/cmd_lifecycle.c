/* Verbs that change what an instance is doing: start, stop, kill, restart, rm, pause, rename, wait.
 */
#include <string.h>

#include "engine/instance.h"
#include "front/cli/commands.h"
#include "front/cli/session.h"

/* --- start --- */

struct start_values {
    char *detach_keys;
    bool attach, interactive, sig_proxy;
};
static const struct cli_option start_table[] = {
    OPT_FLAG('a', "attach", struct start_values, attach, "Attach to output and pass signals on"),
    OPT_STRING(0, "detach-keys", struct start_values, detach_keys, "string",
               "Keys that detach (ctrl-p,ctrl-q)"),
    OPT_FLAG('i', "interactive", struct start_values, interactive, "Attach to stdin"),
    OPT_FLAG(0, "sig-proxy", struct start_values, sig_proxy,
             "Pass signals on to the process (default true)"),
};

static void start_init(void *values)
{
    ((struct start_values *)values)->sig_proxy = true;
}

static int start_one(struct engine *e, const char *name, void *context, struct error *err)
{
    (void)context;
    return engine_start(e, name, false, NULL, err);
}

static int start_attached(struct cli *cli, const struct start_values *v, const char *name)
{
    struct error err = ERROR_INIT;
    struct engine *e;
    struct monitor_end end = {0};
    int fd = -EBADF;
    struct attach_options how = {.forward_stdin = v->interactive,
                                 .proxy_signals = v->sig_proxy,
                                 .detach_keys = v->detach_keys};
    if (cli_engine(cli, &e, &err) < 0)
        return cli_failed(&err);
    int r = engine_start(e, name, true, &fd, &err);
    if (r == 0) {
        r = engine_attach_started(e, name, fd, &how, &end, &err);
    } else if (r == -EBUSY) { /* it runs already: join it where it is */
        error_clear(&err);
        r = engine_attach(e, name, &how, &end, &err);
    }
    if (r < 0)
        return cli_failed(&err);
    if (end.lost) {
        output_warning("lost its monitor; see `proa ps -a` and `proa logs %s`", name);
        return 1;
    }
    return end.detached ? 0 : end.exit_code;
}

static int handle_start(struct cli *cli, void *values, char **args)
{
    struct start_values *v = values;
    if (!v->attach && !v->interactive)
        return cli_for_each(cli, args, true, start_one, NULL);
    if (args[1]) {
        output_warning("only one can be started attached: leave out -a and -i, or name one");
        return 1;
    }
    return start_attached(cli, v, args[0]);
}

const struct command cmd_start = {
    .name = "start",
    .aliases = "container start",
    .usage = "[OPTIONS] NAME [NAME...]",
    .summary = "Start one or more stopped instances",
    .sets = {OPTION_SET(start_table)},
    .values_size = sizeof(struct start_values),
    .init = start_init,
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_OTHER,
    .run = handle_start,
};

/* --- stop, restart --- */

struct stop_values {
    int32_t timeout_s;
};
static const struct cli_option stop_table[] = {
    OPT_I32('t', "timeout", struct stop_values, timeout_s, "int",
            "Seconds to wait before killing it"),
    OPT_I32(0, "time", struct stop_values, timeout_s, "int", NULL),
};

static void stop_init(void *values)
{
    ((struct stop_values *)values)->timeout_s = -1;
}

static int stop_one(struct engine *e, const char *name, void *context, struct error *err)
{
    return engine_stop(e, name, ((struct stop_values *)context)->timeout_s, err);
}

static int restart_one(struct engine *e, const char *name, void *context, struct error *err)
{
    return engine_restart(e, name, ((struct stop_values *)context)->timeout_s, err);
}

static int handle_stop(struct cli *cli, void *values, char **args)
{
    return cli_for_each(cli, args, true, stop_one, values);
}

static int handle_restart(struct cli *cli, void *values, char **args)
{
    return cli_for_each(cli, args, true, restart_one, values);
}

const struct command cmd_stop = {
    .name = "stop",
    .aliases = "container stop",
    .usage = "[OPTIONS] NAME [NAME...]",
    .summary = "Stop one or more running instances",
    .sets = {OPTION_SET(stop_table)},
    .values_size = sizeof(struct stop_values),
    .init = stop_init,
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_RUNNING,
    .section = SECTION_COMMON,
    .run = handle_stop,
};

const struct command cmd_restart = {
    .name = "restart",
    .aliases = "container restart",
    .usage = "[OPTIONS] NAME [NAME...]",
    .summary = "Restart one or more instances",
    .sets = {OPTION_SET(stop_table)},
    .values_size = sizeof(struct stop_values),
    .init = stop_init,
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_OTHER,
    .run = handle_restart,
};

/* --- kill --- */

struct kill_values {
    char *signal;
};
static const struct cli_option kill_table[] = {
    OPT_STRING('s', "signal", struct kill_values, signal, "string", "Signal to send (KILL)"),
};

static int kill_one(struct engine *e, const char *name, void *context, struct error *err)
{
    return engine_kill(e, name, ((struct kill_values *)context)->signal, err);
}

static int handle_kill(struct cli *cli, void *values, char **args)
{
    return cli_for_each(cli, args, true, kill_one, values);
}

const struct command cmd_kill = {
    .name = "kill",
    .aliases = "container kill",
    .usage = "[OPTIONS] NAME [NAME...]",
    .summary = "Send a signal to one or more running instances",
    .sets = {OPTION_SET(kill_table)},
    .values_size = sizeof(struct kill_values),
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_RUNNING,
    .section = SECTION_OTHER,
    .run = handle_kill,
};

/* --- rm --- */

struct rm_values {
    bool force, volumes;
};
static const struct cli_option rm_table[] = {
    OPT_FLAG('f', "force", struct rm_values, force, "Kill a running one first"),
    OPT_FLAG('v', "volumes", struct rm_values, volumes, "Remove its anonymous volumes too"),
};

static int rm_one(struct engine *e, const char *name, void *context, struct error *err)
{
    const struct rm_values *v = context;
    int r = engine_remove(e, name, v->force, v->volumes, err);
    /* As with rm(1), what is not there needs no force to be removed. */
    if (r < 0 && v->force && err->kind == ERROR_NOT_FOUND) {
        output_error(err->msg);
        return 1;
    }
    return r;
}

static int handle_rm(struct cli *cli, void *values, char **args)
{
    return cli_for_each(cli, args, true, rm_one, values);
}

const struct command cmd_rm = {
    .name = "rm",
    .aliases = "container rm,container remove",
    .usage = "[OPTIONS] NAME [NAME...]",
    .summary = "Remove one or more instances",
    .sets = {OPTION_SET(rm_table)},
    .values_size = sizeof(struct rm_values),
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_COMMON,
    .run = handle_rm,
};

/* --- pause, unpause --- */

static int pause_one(struct engine *e, const char *name, void *context, struct error *err)
{
    (void)context;
    return engine_pause(e, name, true, err);
}

static int unpause_one(struct engine *e, const char *name, void *context, struct error *err)
{
    (void)context;
    return engine_pause(e, name, false, err);
}

static int handle_pause(struct cli *cli, void *values, char **args)
{
    return cli_for_each(cli, args, true, pause_one, values);
}

static int handle_unpause(struct cli *cli, void *values, char **args)
{
    return cli_for_each(cli, args, true, unpause_one, values);
}

const struct command cmd_pause = {
    .name = "pause",
    .aliases = "container pause",
    .usage = "NAME [NAME...]",
    .summary = "Freeze all processes of one or more instances",
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_RUNNING,
    .section = SECTION_OTHER,
    .run = handle_pause,
};

const struct command cmd_unpause = {
    .name = "unpause",
    .aliases = "container unpause",
    .usage = "NAME [NAME...]",
    .summary = "Let the processes of one or more instances go on",
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_RUNNING,
    .section = SECTION_OTHER,
    .run = handle_unpause,
};

/* --- rename, wait --- */

static int handle_rename(struct cli *cli, void *values, char **args)
{
    struct error err = ERROR_INIT;
    struct engine *e;
    (void)values;
    if (cli_engine(cli, &e, &err) < 0 || engine_rename(e, args[0], args[1], &err) < 0)
        return cli_failed(&err);
    return 0;
}

static int wait_one(struct engine *e, const char *name, void *context, struct error *err)
{
    int code;
    (void)context;
    int r = engine_wait(e, name, &code, err);
    if (r == 0) {
        printf("%d\n", code);
        fflush(stdout);
    }
    return r;
}

static int handle_wait(struct cli *cli, void *values, char **args)
{
    (void)values;
    return cli_for_each(cli, args, false, wait_one, NULL);
}

const struct command cmd_rename = {
    .name = "rename",
    .aliases = "container rename",
    .usage = "NAME NEW_NAME",
    .summary = "Rename an instance",
    .min_args = 2,
    .max_args = 2,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_OTHER,
    .run = handle_rename,
};

const struct command cmd_wait = {
    .name = "wait",
    .aliases = "container wait",
    .usage = "NAME [NAME...]",
    .summary = "Block until one or more instances stop, then print their exit codes",
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_RUNNING,
    .section = SECTION_OTHER,
    .run = handle_wait,
};
