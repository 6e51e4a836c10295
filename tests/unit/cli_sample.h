/* A small set of commands with every kind of option: what the tests of the command line work with.
 */
#pragma once

#include "front/command/command.h"

struct sample_values {
    char *name, *file;
    char **list, **env;
    uint64_t bytes, milli, ms, u64;
    uint32_t u32;
    int32_t i32;
    int64_t i64;
    bool flag, interactive, tty, on;
};

static const struct cli_option sample_table[] = {
    OPT_FLAG('d', "detach", struct sample_values, flag, "Run in the background"),
    OPT_FLAG('i', "interactive", struct sample_values, interactive, "Keep stdin open"),
    OPT_FLAG('t', "tty", struct sample_values, tty, "Allocate a terminal"),
    OPT_FLAG(0, "sig-proxy", struct sample_values, on, "Pass signals on"),
    OPT_STRING(0, "name", struct sample_values, name, "string", "Assign a name"),
    OPT_NAMED(COMPLETES_FILE, 0, "cidfile", struct sample_values, file, "file", "Write the ID"),
    OPT_LIST('p', "publish", struct sample_values, list, "list", "Publish a port"),
    OPT_KEY_VALUE('e', "env", struct sample_values, env, "list", "Set an environment variable"),
    OPT_SIZE('m', "memory", struct sample_values, bytes, "bytes", "Memory limit"),
    OPT_MILLI(0, "cpus", struct sample_values, milli, "decimal", "CPUs"),
    OPT_DURATION(0, "for", struct sample_values, ms, "duration", "How long"),
    OPT_U32('n', "last", struct sample_values, u32, "int", "How many"),
    OPT_U64(0, "shares", struct sample_values, u64, "int", "Shares"),
    OPT_I32(0, "time", struct sample_values, i32, "int", "Seconds"),
    OPT_I64(0, "pids-limit", struct sample_values, i64, "int", "Processes"),
    OPT_STRING(0, "hidden", struct sample_values, name, "string", NULL),
};

static void sample_init(void *values)
{
    ((struct sample_values *)values)->on = true;
}

static const struct command sample_run = {
    .name = "run",
    .aliases = "container run",
    .usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    .summary = "Run a command",
    .description = "It's what `run` does.",
    .sets = {OPTION_SET(sample_table)},
    .values_size = sizeof(struct sample_values),
    .init = sample_init,
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_IMAGE,
    .section = SECTION_COMMON,
    .stop_at_argument = true,
};

static const struct command sample_rm = {
    .name = "network rm",
    .aliases = "network remove",
    .usage = "NETWORK [NETWORK...]",
    .summary = "Remove networks",
    .sets = {OPTION_SET(sample_table)},
    .values_size = sizeof(struct sample_values),
    .min_args = 1,
    .max_args = 2,
    .completes = COMPLETES_NETWORK,
    .section = SECTION_GROUPED,
};

static const struct command sample_hidden = {
    .name = "internal finish", .usage = "", .summary = "Hidden", .section = SECTION_HIDDEN};

static const struct command sample_global = {
    .name = "proa", .usage = "[OPTIONS] COMMAND", .summary = "", .max_args = ARGS_MANY};

static const struct command *const sample_commands[] = {&sample_run, &sample_rm, &sample_hidden};
static const struct command_group sample_groups[] = {
    {"container", "Manage instances", false},
    {"network", "Manage networks", false},
    {"internal", "Internal", true},
};
static const char *const sample_sources[COMPLETES_COMMAND + 1] = {
    [COMPLETES_INSTANCE] = "ps -a --format '{{.Names}}'",
    [COMPLETES_RUNNING] = "ps --format '{{.Names}}'",
    [COMPLETES_IMAGE] = "images --format '{{.Repository}}:{{.Tag}}'",
    [COMPLETES_NETWORK] = "network ls --format '{{.Name}}'",
    [COMPLETES_VOLUME] = "volume ls --format '{{.Name}}'",
};

static const struct command_set sample_set = {
    .program = "proa",
    .tagline = "One image, two kinds",
    .commands = sample_commands,
    .n_commands = ARRAY_SIZE(sample_commands),
    .groups = sample_groups,
    .n_groups = ARRAY_SIZE(sample_groups),
    .global = &sample_global,
    .sources = sample_sources,
};
