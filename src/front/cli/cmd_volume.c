/* volume create, ls, rm. */
#include <string.h>

#include "base/json.h"
#include "engine/system.h"
#include "front/cli/commands.h"
#include "front/cli/row.h"
#include "front/cli/session.h"

struct create_values {
    char *driver, *name;
    char **labels;
};
static const struct cli_option create_table[] = {
    OPT_STRING('d', "driver", struct create_values, driver, "string",
               "Driver: local is the one there is"),
    OPT_KEY_VALUE(0, "label", struct create_values, labels, "list", "Set metadata"),
    OPT_STRING(0, "name", struct create_values, name, "string", NULL),
};

static int handle_create(struct cli *cli, void *values, char **args)
{
    const struct create_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    _cleanup_volume_ struct volume *volume = NULL;
    if (v->driver && strcmp(v->driver, "local") != 0) {
        output_warning("there is no volume driver \"%s\": leave it out or say local", v->driver);
        return 1;
    }
    if (cli_engine(cli, &e, &err) < 0 ||
        volume_create(e->store, args[0] ? args[0] : v->name, v->labels, &volume, &err) < 0)
        return cli_failed(&err);
    puts(volume->name);
    return 0;
}

const struct command cmd_volume_create = {
    .name = "volume create",
    .usage = "[OPTIONS] [VOLUME]",
    .summary = "Create a volume",
    .sets = {OPTION_SET(create_table)},
    .values_size = sizeof(struct create_values),
    .max_args = 1,
    .section = SECTION_GROUPED,
    .run = handle_create,
};

struct ls_values {
    struct list_values list;
};
static const struct cli_option ls_table[] = {LIST_OPTIONS(struct ls_values)};

static const struct column ls_columns[] = {
    {"DRIVER", "Driver", true},          {"VOLUME NAME", "Name", true, true},
    {"MOUNTPOINT", "Mountpoint", false}, {"SCOPE", "Scope", false},
    {"CREATED AT", "CreatedAt", false},  {"CREATED", "CreatedSince", false},
    {"LABELS", "Labels", false},
};
static const struct list_spec ls_spec = {ls_columns, ARRAY_SIZE(ls_columns), "Name"};
static const char *const ls_filters[] = {"name", "label", "driver", NULL};

static bool volume_matches(const struct volume *volume, const char *filter)
{
    const char *w;
    if ((w = filter_value(filter, "name")))
        return strstr(volume->name, w) != NULL;
    if ((w = filter_value(filter, "label")))
        return label_matches(volume->labels, w);
    return strcmp(filter_value(filter, "driver"), "local") == 0;
}

static json_t *volume_row(const struct volume *volume)
{
    json_t *row = json_object();
    row_set(row, "Driver", "local");
    row_set(row, "Name", volume->name);
    row_set(row, "Mountpoint", volume->path);
    row_set(row, "Scope", "local");
    row_set_age(row, "CreatedSince", "CreatedAt", volume->created_ns);
    row_set_list(row, "Labels", volume->labels);
    return row;
}

static int handle_ls(struct cli *cli, void *values, char **args)
{
    const struct ls_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct volume **list;
    (void)args;
    if (filters_check(v->list.filters, ls_filters, &err) < 0 || cli_engine(cli, &e, &err) < 0 ||
        volume_list(e->store, &list, &err) < 0)
        return cli_failed(&err);
    _cleanup_json_ json_t *rows = json_array();
    for (size_t i = 0; list[i]; i++) {
        bool shown = true;
        for (size_t f = 0; v->list.filters && v->list.filters[f]; f++)
            shown &= volume_matches(list[i], v->list.filters[f]);
        if (shown)
            json_array_append_new(rows, volume_row(list[i]));
    }
    volume_list_free(list);
    return list_print(&ls_spec, &v->list, rows, &err) < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_volume_ls = {
    .name = "volume ls",
    .aliases = "volume list",
    .usage = "[OPTIONS]",
    .summary = "List volumes",
    .description = "Filters: name, label, driver.",
    .sets = {OPTION_SET(ls_table)},
    .values_size = sizeof(struct ls_values),
    .section = SECTION_GROUPED,
    .run = handle_ls,
};

struct rm_values {
    bool force;
};
static const struct cli_option rm_table[] = {
    OPT_FLAG('f', "force", struct rm_values, force, "Do not fail when it does not exist"),
};

static int rm_one(struct engine *e, const char *name, void *context, struct error *err)
{
    const struct rm_values *v = context;
    int r = engine_volume_remove(e, name, v->force, err);
    return r < 0 && v->force && err->kind == ERROR_NOT_FOUND ? 1 : r;
}

static int handle_rm(struct cli *cli, void *values, char **args)
{
    return cli_for_each(cli, args, true, rm_one, values);
}

const struct command cmd_volume_rm = {
    .name = "volume rm",
    .aliases = "volume remove",
    .usage = "[OPTIONS] VOLUME [VOLUME...]",
    .summary = "Remove one or more volumes",
    .sets = {OPTION_SET(rm_table)},
    .values_size = sizeof(struct rm_values),
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_VOLUME,
    .section = SECTION_GROUPED,
    .run = handle_rm,
};
