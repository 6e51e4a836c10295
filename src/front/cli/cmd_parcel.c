/* snapshot export, import, flatten. */
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "engine/snapshot.h"
#include "front/cli/commands.h"
#include "front/cli/session.h"

struct export_values {
    bool flatten, no_memory;
};
static const struct cli_option export_table[] = {
    OPT_FLAG(0, "flatten", struct export_values, flatten,
             "Each of its disks as one file, not as a chain of them"),
    OPT_FLAG(0, "no-memory", struct export_values, no_memory,
             "Leave what the machine was doing out"),
};

static int handle_export(struct cli *cli, void *values, char **args)
{
    const struct export_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    const struct snapshot_export how = {.no_memory = v->no_memory, .flatten = v->flatten};
    bool out = strcmp(args[1], "-") == 0;
    if (out && isatty(STDOUT_FILENO)) {
        error_invalid(&err, "a snapshot is not written to a terminal: name a file, or redirect "
                            "stdout");
        return cli_failed(&err);
    }
    if (cli_engine(cli, &e, &err) < 0 ||
        engine_snapshot_export(e, args[0], out ? NULL : args[1], &how, &err) < 0)
        return cli_failed(&err);
    return 0;
}

const struct command cmd_snapshot_export = {
    .name = "snapshot export",
    .usage = "[OPTIONS] SNAPSHOT FILE|-",
    .summary = "Write a machine's snapshot into one file, for another host",
    .description =
        "The file has its disks, with all that they stand on but images; what its firmware and "
        "its TPM keep; its memory, if it was kept; and the machine's options. Memory holds what "
        "the guest had in it, keys too. `snapshot import` reads it, where the image is.",
    .sets = {OPTION_SET(export_table)},
    .values_size = sizeof(struct export_values),
    .min_args = 2,
    .max_args = 2,
    .completes = COMPLETES_SNAPSHOT,
    .section = SECTION_GROUPED,
    .run = handle_export,
};

static int flatten_one(struct engine *e, const char *name, void *context, struct error *err)
{
    (void)context;
    return engine_snapshot_flatten(e, name, err);
}

static int handle_flatten(struct cli *cli, void *values, char **args)
{
    (void)values;
    return cli_for_each(cli, args, true, flatten_one, NULL);
}

const struct command cmd_snapshot_flatten = {
    .name = "snapshot flatten",
    .usage = "MACHINE [MACHINE...]",
    .summary = "Make one file of the chain that each disk of a stopped machine is",
    .description =
        "Each snapshot makes the chains one longer, up to 64, and reading through them slower; "
        "what removed snapshots have left stays in them. Afterwards each disk stands on one file "
        "(and its image). The machine's snapshots stay as they are, and share nothing with it any "
        "more.",
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_GROUPED,
    .run = handle_flatten,
};

struct import_values {
    char *name;
};
static const struct cli_option import_table[] = {
    OPT_STRING(0, "name", struct import_values, name, "string", "Another name than it had"),
};

static int handle_import(struct cli *cli, void *values, char **args)
{
    const struct import_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    char *made = NULL;
    bool in = strcmp(args[0], "-") == 0;
    _cleanup_close_ int fd = in ? -EBADF : open(args[0], O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (!in && fd < 0) {
        error_errno(&err, errno, "open %s", args[0]);
        return cli_failed(&err);
    }
    if (cli_engine(cli, &e, &err) < 0 ||
        engine_snapshot_import(e, in ? STDIN_FILENO : fd, v->name, &made, &err) < 0)
        return cli_failed(&err);
    puts(made);
    free(made);
    return 0;
}

const struct command cmd_snapshot_import = {
    .name = "snapshot import",
    .usage = "[OPTIONS] FILE|-",
    .summary = "Make a snapshot of the store of what snapshot export wrote",
    .description =
        "`snapshot clone` makes a machine of it, and the machine that it was made of, where it is "
        "here, can go back to it. The image must be here. Whoever wrote the file decides what the "
        "machine runs, and nothing of this host.",
    .sets = {OPTION_SET(import_table)},
    .values_size = sizeof(struct import_values),
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_FILE,
    .section = SECTION_GROUPED,
    .run = handle_import,
};
