/* update: other limits for instances that exist. */
#include "engine/instance.h"
#include "front/cli/commands.h"
#include "front/cli/limits.h"
#include "front/cli/session.h"

struct update_values {
    struct create_options create;
    char *memory_swap;
};

static const struct cli_option update_table[] = {LIMIT_OPTIONS(struct update_values)};

static void update_init(void *values)
{
    create_options_init(&((struct update_values *)values)->create);
}

static int update_one(struct engine *e, const char *name, void *context, struct error *err)
{
    return engine_update(e, name, context, err);
}

static int handle_update(struct cli *cli, void *values, char **args)
{
    struct update_values *v = values;
    struct error err = ERROR_INIT;
    if (cli_memory_swap(v->memory_swap, &v->create.memory_swap_bytes, &err) < 0)
        return cli_failed(&err);
    return cli_for_each(cli, args, true, update_one, &v->create);
}

const struct command cmd_update = {
    .name = "update",
    .aliases = "container update",
    .usage = "[OPTIONS] NAME [NAME...]",
    .summary = "Change the limits of one or more instances, running or not",
    .sets = {OPTION_SET(update_table)},
    .values_size = sizeof(struct update_values),
    .init = update_init,
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_OTHER,
    .run = handle_update,
};
