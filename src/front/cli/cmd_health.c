/* Health checks: one by hand, and the one that a monitor asks for. */
#include "engine/health.h"
#include "front/cli/commands.h"
#include "front/cli/session.h"

/* 0: healthy; 1: not, or it could not be found out. */
static int handle_health(struct cli *cli, void *values, char **args)
{
    struct error err = ERROR_INIT;
    struct engine *e;
    bool failed;
    (void)values;
    if (cli_engine(cli, &e, &err) < 0 || engine_health(e, args[0], &failed, &err) < 0)
        return cli_failed(&err);
    return failed;
}

const struct command cmd_healthcheck = {
    .name = "healthcheck run",
    .usage = "NAME",
    .summary = "Check an instance's health now; the exit code is 0 when all is well",
    .description = "The check is that of --health-cmd, or the image's HEALTHCHECK. It counts like "
                   "those that are made by themselves; `ps` and `inspect` show what they came to.",
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_RUNNING,
    .section = SECTION_GROUPED,
    .run = handle_health,
};

const struct command cmd_internal_health = {
    .name = "internal health",
    .usage = "ID",
    .summary = "Check an instance's health; its monitor calls this",
    .min_args = 1,
    .max_args = 1,
    .section = SECTION_HIDDEN,
    .run = handle_health,
};
