/* help, completion, and what other programs call: internal finish, lease, man. */
#include <string.h>

#include "base/text.h"
#include "engine/instance.h"
#include "engine/lease.h"
#include "front/cli/commands.h"
#include "front/cli/session.h"

static int handle_help(struct cli *cli, void *values, char **args)
{
    const struct command *c;
    const struct command_group *group;
    size_t words;
    (void)values;
    if (!args[0]) {
        help_print_all(stdout, cli->set, output_wrap_columns());
        return 0;
    }
    switch (command_find(cli->set, args, &c, &group, &words)) {
    case COMMAND_FOUND:
        help_print(stdout, cli->set, c, output_wrap_columns());
        return 0;
    case COMMAND_GROUP:
        help_print_group(stdout, cli->set, group, output_wrap_columns());
        return 0;
    case COMMAND_UNKNOWN:
        break;
    }
    output_warning("there is no command '%s'; `proa --help` lists them", args[0]);
    return 1;
}

const struct command cmd_help = {
    .name = "help",
    .usage = "[COMMAND]",
    .summary = "Show help on a command",
    .max_args = 2,
    .completes = COMPLETES_COMMAND,
    .section = SECTION_OTHER,
    .run = handle_help,
};

static int handle_completion(struct cli *cli, void *values, char **args)
{
    struct error err = ERROR_INIT;
    (void)values;
    return completion_print(stdout, cli->set, args[0], &err) < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_completion = {
    .name = "completion",
    .usage = "bash|zsh|fish",
    .summary = "Print a completion script for a shell",
    .description = "For bash: . <(proa completion bash)",
    .min_args = 1,
    .max_args = 1,
    .section = SECTION_OTHER,
    .run = handle_completion,
};

static int handle_finish(struct cli *cli, void *values, char **args)
{
    struct error err = ERROR_INIT;
    struct engine *e;
    (void)values;
    if (cli_engine(cli, &e, &err) < 0 || engine_finish(e, args[0], &err) < 0)
        return cli_failed(&err);
    return 0;
}

const struct command cmd_internal_finish = {
    .name = "internal finish",
    .usage = "ID",
    .summary = "Release what an instance that ended held; its monitor calls this",
    .min_args = 1,
    .max_args = 1,
    .section = SECTION_HIDDEN,
    .run = handle_finish,
};

static int handle_spare(struct cli *cli, void *values, char **args)
{
    struct error err = ERROR_INIT;
    struct engine *e;
    (void)values;
    if (cli_engine(cli, &e, &err) < 0 || engine_spare_make(e, args[0], &err) < 0)
        return cli_failed(&err);
    return 0;
}

/* 3: the socket that says what the LAN gives; 4: the container's network, or the machine's tap. */
static int handle_lease(struct cli *cli, void *values, char **args)
{
    struct error err = ERROR_INIT;
    struct engine *e;
    uint64_t position;
    (void)values;
    if (parse_u64(args[1], BUNDLE_NETWORKS_MAX - 1, &position) < 0) {
        error_invalid(&err, "%s is no position", args[1]);
        return cli_failed(&err);
    }
    if (cli_engine(cli, &e, &err) < 0 ||
        engine_lease(e, args[0], (uint8_t)position, 3, 4, &err) < 0)
        return cli_failed(&err);
    return 0;
}

const struct command cmd_internal_spare = {
    .name = "internal spare",
    .usage = "SHAPE",
    .summary =
        "Start a machine that waits until somebody wants it; a start of one like it calls this",
    .min_args = 1,
    .max_args = 1,
    .section = SECTION_HIDDEN,
    .run = handle_spare,
};

const struct command cmd_internal_lease = {
    .name = "internal lease",
    .usage = "ID POSITION",
    .summary = "Follow what a LAN's DHCP gives an instance; its monitor calls this",
    .min_args = 2,
    .max_args = 2,
    .section = SECTION_HIDDEN,
    .run = handle_lease,
};

static int handle_man(struct cli *cli, void *values, char **args)
{
    struct error err = ERROR_INIT;
    (void)values;
    return man_write_all(cli->set, args[0], &err) < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_internal_man = {
    .name = "internal man",
    .usage = "DIRECTORY",
    .summary = "Write the manual pages into a directory",
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_FILE,
    .section = SECTION_HIDDEN,
    .run = handle_man,
};
