/* The list of all verbs, and what stands before them on a command line. */
#include "front/oci/commands.h"

#include <string.h>

#include "base/alloc.h"
#include "front/oci/session.h"

static const struct command *const commands[] = {
    &cmd_create, &cmd_run,      &cmd_start,      &cmd_state,      &cmd_kill,
    &cmd_delete, &cmd_exec,     &cmd_list,       &cmd_ps,         &cmd_pause,
    &cmd_resume, &cmd_update,   &cmd_events,     &cmd_checkpoint, &cmd_restore,
    &cmd_spec,   &cmd_features, &cmd_completion, &cmd_man,
};

static const struct cli_option global_table[] = {
    OPT_NAMED(COMPLETES_FILE, 0, "root", struct oci_globals, root, "directory",
              "Where the state is kept (/run/proa-oci, or in XDG_RUNTIME_DIR)"),
    OPT_NAMED(COMPLETES_FILE, 0, "log", struct oci_globals, log, "file",
              "Write what goes wrong to a file, too"),
    OPT_STRING(0, "log-format", struct oci_globals, log_format, "format", "text or json"),
    OPT_STRING(0, "cgroup-manager", struct oci_globals, cgroup_manager, "name",
               "cgroupfs, or systemd (on control groups v2)"),
    OPT_FLAG(0, "systemd-cgroup", struct oci_globals, systemd_cgroup,
             "As --cgroup-manager systemd"),
    OPT_STRING(0, "rootless", struct oci_globals, rootless, "value", NULL),
    OPT_FLAG(0, "debug", struct oci_globals, debug, "Accepted; everything is told already"),
    OPT_FLAG('v', "version", struct oci_globals, version, "Print the version and leave"),
};

static const struct command global = {
    .name = "proa-oci",
    .usage = "[OPTIONS] COMMAND",
    .summary = "",
    .sets = {OPTION_SET(global_table)},
    .values_size = sizeof(struct oci_globals),
    .max_args = ARGS_MANY,
    .stop_at_argument = true,
};

static const char *const sources[COMPLETES_COMMAND + 1] = {
    [COMPLETES_INSTANCE] = "list -q",
    [COMPLETES_RUNNING] = "list -q",
};

const struct command_set oci_commands = {
    .program = "proa-oci",
    .tagline = "Runs containers as the OCI runtime specification has it, for other engines",
    .commands = commands,
    .n_commands = ARRAY_SIZE(commands),
    .global = &global,
    .sources = sources,
};

static int check_globals(const struct oci_globals *g, struct error *err)
{
    if (g->log_format && strcmp(g->log_format, "text") != 0 && strcmp(g->log_format, "json") != 0)
        return error_invalid(err, "--log-format is text or json, not \"%.32s\"", g->log_format);
    if (g->cgroup_manager && strcmp(g->cgroup_manager, "cgroupfs") != 0 &&
        strcmp(g->cgroup_manager, "systemd") != 0)
        return error_invalid(err, "--cgroup-manager is cgroupfs or systemd, not \"%.32s\"",
                             g->cgroup_manager);
    return 0;
}

int oci_main(char **argv)
{
    const struct command_set *set = &oci_commands;
    struct error err = ERROR_INIT;
    struct oci_globals globals = {0};
    struct parsed parsed = {0};
    struct cli cli = {.set = set, .globals = &globals};
    int code = 0;
    output_program("proa-oci");
    if (options_parse(set->global, argv + 1, &globals, &parsed, &err) < 0 ||
        check_globals(&globals, &err) < 0) {
        code = command_usage_error(set, NULL, err.msg, 1);
    } else {
        cli.root = globals.root;
        if (globals.version)
            printf("proa-oci version %s\nspec: 1.2.0\n", PROA_VERSION);
        else if (parsed.help)
            help_print_all(stdout, set, output_wrap_columns());
        else
            code = command_dispatch(&cli, parsed.args);
        code = output_finish(code);
    }
    free(parsed.args);
    options_done(set->global, &globals);
    return code;
}
