/* inspect, for everything that has a name; and the same within one noun's group. */
#include <string.h>

#include "base/json.h"
#include "base/strv.h"
#include "front/cli/commands.h"
#include "front/cli/inspect.h"
#include "front/cli/session.h"

struct inspect_values {
    char *format, *type;
};
static const struct cli_option format_table[] = {
    OPT_STRING('f', "format", struct inspect_values, format, "string",
               "Print with a template, e.g. '{{.State.Status}}', or json"),
};
static const struct cli_option type_table[] = {
    OPT_STRING(0, "type", struct inspect_values, type, "string",
               "Only a container (or machine), image, network or volume"),
};

static int one_instance(struct engine *e, const char *name, json_t **ret, struct error *err)
{
    _cleanup_view_ struct instance_view *v = NULL;
    _cleanup_image_ struct image *image = NULL;
    struct error ignored = ERROR_INIT;
    int r = engine_view(e, name, &v, err);
    if (r < 0)
        return r;
    if (image_find(e->store, v->image_id, &image, &ignored) < 0)
        image = NULL; /* the instance is shown without what only its image knows */
    *ret = inspect_instance(v, image);
    return 0;
}

static int one_image(struct engine *e, const char *name, json_t **ret, struct error *err)
{
    _cleanup_image_ struct image *image = NULL;
    int r = image_find(e->store, name, &image, err);
    if (r == 0)
        *ret = inspect_image(image);
    return r;
}

static int one_network(struct engine *e, const char *name, json_t **ret, struct error *err)
{
    _cleanup_network_ struct network *n = NULL;
    struct instance_view **all;
    int r = network_find(e->store, name, &n, err);
    if (r < 0)
        return r;
    r = engine_list(e, true, &all, err);
    if (r < 0)
        return r;
    r = inspect_network(e, n, all, ret, err);
    engine_list_free(all);
    return r;
}

static int one_volume(struct engine *e, const char *name, json_t **ret, struct error *err)
{
    _cleanup_volume_ struct volume *volume = NULL;
    int r = volume_find(e->store, name, &volume, err);
    if (r == 0)
        *ret = inspect_volume(volume);
    return r;
}

/* In the order in which a bare name is tried. */
static const struct noun {
    const char *names; /* of --type */
    int (*inspect)(struct engine *e, const char *name, json_t **ret, struct error *err);
} nouns[] = {
    {"container,instance,machine,vm", one_instance},
    {"image", one_image},
    {"network", one_network},
    {"volume", one_volume},
};

static int find_any(struct engine *e, const char *name, const char *type, json_t **ret,
                    struct error *err)
{
    bool asked = false;
    for (size_t i = 0; i < ARRAY_SIZE(nouns); i++) {
        struct error why = ERROR_INIT;
        if (type && !command_names_have(nouns[i].names, type))
            continue;
        asked = true;
        int r = nouns[i].inspect(e, name, ret, &why);
        /* A malformed name for this noun may be a good one for the next. */
        bool go_on = !type && (why.kind == ERROR_NOT_FOUND || why.kind == ERROR_INVALID);
        if (r < 0 && !go_on)
            *err = why;
        if (r == 0 || !go_on)
            return r;
    }
    if (!asked)
        return error_invalid(err, "there is no type \"%s\": container, image, network or volume",
                             type);
    return error_set(err, ERROR_NOT_FOUND, ENOENT,
                     "no such object: %s; `proa ps -a` and `proa images` list what there is", name);
}

/* What was found is printed even when a later one was not, as Docker does. */
static int inspect_all(struct cli *cli, const struct inspect_values *v, const char *type,
                       char *const *args)
{
    struct error err = ERROR_INIT;
    struct engine *e;
    int code = 0;
    _cleanup_json_ json_t *values = json_array();
    if (cli_engine(cli, &e, &err) < 0)
        return cli_failed(&err);
    for (size_t i = 0; args[i]; i++) {
        json_t *value;
        error_clear(&err);
        if (find_any(e, args[i], type, &value, &err) < 0)
            code = cli_failed(&err);
        else
            json_array_append_new(values, value);
    }
    if (v->format && json_array_size(values) == 0)
        return code;
    return inspect_print(values, v->format, &err) < 0 ? cli_failed(&err) : code;
}

static int handle_inspect(struct cli *cli, void *values, char **args)
{
    const struct inspect_values *v = values;
    return inspect_all(cli, v, v->type, args);
}

static int handle_typed(struct cli *cli, void *values, char **args)
{
    /* "network inspect" inspects networks: the group's name is the type. */
    const char *name = cli->command->name, *space = strchr(name, ' ');
    char type[16];
    snprintf(type, sizeof(type), "%.*s", (int)(space - name), name);
    return inspect_all(cli, values, type, args);
}

const struct command cmd_inspect = {
    .name = "inspect",
    .usage = "[OPTIONS] NAME [NAME...]",
    .summary = "Show everything about instances, images, networks and volumes",
    .sets = {OPTION_SET(format_table), OPTION_SET(type_table)},
    .values_size = sizeof(struct inspect_values),
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_COMMON,
    .run = handle_inspect,
};

#define INSPECT_COMMAND(variable, name_, summary_, completes_)                                     \
    const struct command variable = {                                                              \
        .name = name_,                                                                             \
        .usage = "[OPTIONS] NAME [NAME...]",                                                       \
        .summary = summary_,                                                                       \
        .sets = {OPTION_SET(format_table)},                                                        \
        .values_size = sizeof(struct inspect_values),                                              \
        .min_args = 1,                                                                             \
        .max_args = ARGS_MANY,                                                                     \
        .completes = completes_,                                                                   \
        .section = SECTION_GROUPED,                                                                \
        .run = handle_typed,                                                                       \
    }

INSPECT_COMMAND(cmd_container_inspect, "container inspect", "Show everything about instances",
                COMPLETES_INSTANCE);
INSPECT_COMMAND(cmd_image_inspect, "image inspect", "Show everything about images",
                COMPLETES_IMAGE);
INSPECT_COMMAND(cmd_network_inspect, "network inspect", "Show everything about networks",
                COMPLETES_NETWORK);
INSPECT_COMMAND(cmd_volume_inspect, "volume inspect", "Show everything about volumes",
                COMPLETES_VOLUME);
