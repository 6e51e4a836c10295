/* migrate. */
#include <stdlib.h>

#include "engine/migrate.h"
#include "front/cli/commands.h"
#include "front/cli/session.h"

struct migrate_values {
    char *to;
};
static const struct cli_option migrate_table[] = {
    OPT_NAMED(COMPLETES_FILE, 0, "to", struct migrate_values, to, "directory",
              "State directory of this host that it moves to"),
};

static int handle_migrate(struct cli *cli, void *values, char **args)
{
    const struct migrate_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct migrate_done done = {0};
    if (!v->to) {
        output_warning("say where to: --to DIRECTORY");
        return 1;
    }
    if (cli_engine(cli, &e, &err) < 0 || engine_migrate(e, args[0], v->to, &done, &err) < 0)
        return cli_failed(&err);
    puts(done.id);
    if (done.pause_us > 0)
        fprintf(stderr, "stood still for %.1f ms\n", (double)done.pause_us / 1000);
    free(done.id);
    return 0;
}

const struct command cmd_migrate = {
    .name = "migrate",
    .usage = "--to DIRECTORY MACHINE",
    .summary = "Move a machine to another state directory of this host",
    .description =
        "A running machine goes on there with what it is doing, after a moment in which it stands "
        "still; its id and name stay, and its disks, firmware and TPM go along. It gets an address "
        "of the other directory's network, and has no volumes. Its image must be there. Until it "
        "has moved, a failure leaves it where it is.",
    .sets = {OPTION_SET(migrate_table)},
    .values_size = sizeof(struct migrate_values),
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_OTHER,
    .run = handle_migrate,
};
