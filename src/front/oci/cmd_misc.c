/* completion and man: what the build makes from the tables. */
#include "front/oci/commands.h"
#include "front/oci/session.h"

static int handle_completion(struct cli *cli, void *values, char **args)
{
    struct error err = ERROR_INIT;
    (void)values;
    return completion_print(stdout, cli->set, args[0], &err) < 0 ? oci_failed(cli, &err, 1) : 0;
}

const struct command cmd_completion = {
    .name = "completion",
    .usage = "bash|zsh|fish",
    .summary = "Print a completion script for a shell",
    .min_args = 1,
    .max_args = 1,
    .section = SECTION_OTHER,
    .run = handle_completion,
};

static int handle_man(struct cli *cli, void *values, char **args)
{
    struct error err = ERROR_INIT;
    (void)values;
    return man_write_all(cli->set, args[0], &err) < 0 ? oci_failed(cli, &err, 1) : 0;
}

const struct command cmd_man = {
    .name = "man",
    .usage = "DIRECTORY",
    .summary = "Write the manual pages into a directory",
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_FILE,
    .section = SECTION_HIDDEN,
    .run = handle_man,
};
