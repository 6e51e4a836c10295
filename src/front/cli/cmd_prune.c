/* Everything that removes what nobody uses. */
#include "base/strv.h"
#include "base/text.h"
#include "engine/system.h"
#include "front/cli/commands.h"
#include "front/cli/session.h"

struct prune_values {
    bool force, all, volumes;
};
#define FORCE OPT_FLAG('f', "force", struct prune_values, force, "Do not ask")
static const struct cli_option force_table[] = {FORCE};
static const struct cli_option image_table[] = {
    FORCE,
    OPT_FLAG('a', "all", struct prune_values, all, "Remove all images that no instance uses"),
};
static const struct cli_option system_table[] = {
    FORCE,
    OPT_FLAG('a', "all", struct prune_values, all, "Remove all images that no instance uses"),
    OPT_FLAG(0, "volumes", struct prune_values, volumes, "Remove unused volumes too"),
};

static int prune(struct cli *cli, const struct prune_values *v, const struct prune_options *o,
                 const char *question)
{
    struct error err = ERROR_INIT;
    struct engine *e;
    uint64_t bytes = 0;
    _cleanup_strv_ char **done = NULL;
    if (!v->force && !output_confirm(question)) {
        output_warning("nothing was removed; --force does it without asking");
        return 1;
    }
    if (cli_engine(cli, &e, &err) < 0 || engine_prune(e, o, &done, &bytes, &err) < 0)
        return cli_failed(&err);
    for (size_t i = 0; done && done[i]; i++)
        puts(done[i]);
    printf("Total reclaimed space: %s\n", format_size(bytes).s);
    return 0;
}

static int handle_system(struct cli *cli, void *values, char **args)
{
    const struct prune_values *v = values;
    const struct prune_options o = {.instances = true,
                                    .images = true,
                                    .all_images = v->all,
                                    .volumes = v->volumes,
                                    .networks = true,
                                    .build_cache = true,
                                    .prepared = true};
    (void)args;
    return prune(
        cli, v, &o,
        v->volumes
            ? "Remove all stopped instances, unused networks, images and volumes, and the build "
              "cache?"
            : "Remove all stopped instances, unused networks and images, and the build cache?");
}

static int handle_container(struct cli *cli, void *values, char **args)
{
    const struct prune_options o = {.instances = true};
    (void)args;
    return prune(cli, values, &o, "Remove all stopped instances?");
}

static int handle_image(struct cli *cli, void *values, char **args)
{
    const struct prune_values *v = values;
    const struct prune_options o = {.images = true, .all_images = v->all};
    (void)args;
    return prune(cli, v, &o,
                 v->all ? "Remove all images that no instance uses?"
                        : "Remove all images without a name?");
}

static int handle_network(struct cli *cli, void *values, char **args)
{
    const struct prune_options o = {.networks = true};
    (void)args;
    return prune(cli, values, &o, "Remove all networks that no instance uses?");
}

static int handle_volume(struct cli *cli, void *values, char **args)
{
    const struct prune_options o = {.volumes = true};
    (void)args;
    return prune(cli, values, &o, "Remove all volumes that no instance uses, with their data?");
}

#define PRUNE_COMMAND(variable, name_, summary_, table, handler)                                   \
    const struct command variable = {                                                              \
        .name = name_,                                                                             \
        .usage = "[OPTIONS]",                                                                      \
        .summary = summary_,                                                                       \
        .sets = {OPTION_SET(table)},                                                               \
        .values_size = sizeof(struct prune_values),                                                \
        .section = SECTION_GROUPED,                                                                \
        .run = handler,                                                                            \
    }

PRUNE_COMMAND(cmd_system_prune, "system prune", "Remove what nobody uses", system_table,
              handle_system);
PRUNE_COMMAND(cmd_container_prune, "container prune", "Remove all stopped instances", force_table,
              handle_container);
PRUNE_COMMAND(cmd_image_prune, "image prune", "Remove unused images", image_table, handle_image);
PRUNE_COMMAND(cmd_network_prune, "network prune", "Remove unused networks", force_table,
              handle_network);
PRUNE_COMMAND(cmd_volume_prune, "volume prune", "Remove unused volumes", force_table,
              handle_volume);
