/* snapshot create, ls, inspect, restore, clone, rm. */
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/snapshot.h"
#include "engine/view.h"
#include "front/cli/commands.h"
#include "front/cli/row.h"
#include "front/cli/session.h"
#include "service/store/snapshot.h"

/* --- create --- */

struct create_values {
    char *name;
    bool memory, no_freeze, quiet;
};
static const struct cli_option create_table[] = {
    OPT_FLAG(0, "memory", struct create_values, memory,
             "Keep what the running machine is doing, too"),
    OPT_STRING(0, "name", struct create_values, name, "string", "Its name (snap0, snap1, ...)"),
    OPT_FLAG(0, "no-freeze", struct create_values, no_freeze,
             "Do not have the guest bring its file system in order first"),
    OPT_FLAG('q', "quiet", struct create_values, quiet, "Print the name only"),
};

static int handle_create(struct cli *cli, void *values, char **args)
{
    const struct create_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct snapshot_made made;
    const struct snapshot_options o = {
        .name = v->name, .memory = v->memory, .no_freeze = v->no_freeze};
    if (cli_engine(cli, &e, &err) < 0 || engine_snapshot_create(e, args[0], &o, &made, &err) < 0)
        return cli_failed(&err);
    puts(made.name);
    if (made.pause_us > 0 && !v->quiet)
        fprintf(stderr, "paused for %.1f ms\n", (double)made.pause_us / 1000);
    for (size_t i = 0; made.left_out[i]; i++)
        fprintf(stderr, "not in it: %s, which is no disk of Proa's\n", made.left_out[i]);
    strv_free(made.left_out);
    return 0;
}

const struct command cmd_snapshot_create = {
    .name = "snapshot create",
    .usage = "[OPTIONS] INSTANCE",
    .summary = "Keep what an instance is now",
    .description =
        "Keeps the files and the options of a container or a machine, running or not; volumes are "
        "not in it, and neither are files that a machine uses in place (--disk FILE, --cdrom). A "
        "running machine goes on; its disks are, all at one moment, as after a power failure, or "
        "in order where its guest can freeze its file systems. With --memory what it is doing is "
        "kept as well, and `snapshot restore` lets it go on from there.",
    .sets = {OPTION_SET(create_table)},
    .values_size = sizeof(struct create_values),
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_GROUPED,
    .run = handle_create,
};

/* --- ls --- */

struct ls_values {
    struct list_values list;
};
static const struct cli_option ls_table[] = {LIST_OPTIONS(struct ls_values)};

static const struct column ls_columns[] = {
    {"SNAPSHOT ID", "ID", true},
    {"INSTANCE", "Instance", true, true},
    {"NAME", "Name", true, true},
    {"CREATED", "CreatedSince", true},
    {"CREATED AT", "CreatedAt", false},
    {"STATE", "Consistency", true},
    {"MEMORY", "Memory", true},
    {"IMAGE", "Image", true, true},
    {"KIND", "Kind", false},
    {"PARENT", "Parent", false},
};
static const struct list_spec ls_spec = {ls_columns, ARRAY_SIZE(ls_columns), "ID"};
static const char *const ls_filters[] = {"name", "instance", NULL};

static bool matches(const struct snapshot_record *s, const char *filter)
{
    const char *name = filter_value(filter, "name");
    return name ? strstr(s->name, name) != NULL
                : strcmp(s->instance_name, filter_value(filter, "instance")) == 0;
}

static json_t *row_of(const struct snapshot_record *s, bool whole)
{
    json_t *row = json_object();
    row_set(row, "ID", short_id(s->id, whole).s);
    row_set(row, "Instance", s->instance_name);
    row_set(row, "Name", s->name);
    row_set_age(row, "CreatedSince", "CreatedAt", s->created_ns);
    row_set(row, "Consistency", s->consistency);
    row_set(row, "Memory", s->memory_bytes ? format_size(s->memory_bytes).s : "");
    row_set(row, "Image", s->image_name);
    row_set(row, "Kind", runtime_kind_name((enum runtime_kind)s->kind));
    row_set(row, "Parent", s->base ? short_id(s->base, whole).s : "");
    return row;
}

static int instance_of(struct engine *e, const char *reference, char **ret, struct error *err)
{
    _cleanup_view_ struct instance_view *v = NULL;
    int r = reference ? engine_view(e, reference, &v, err) : 0;
    if (r == 0)
        *ret = xstrdup(v ? v->id : NULL);
    return r;
}

static int handle_ls(struct cli *cli, void *values, char **args)
{
    const struct ls_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct snapshot_record *list;
    _cleanup_free_ char *id = NULL;
    if (filters_check(v->list.filters, ls_filters, &err) < 0 || cli_engine(cli, &e, &err) < 0 ||
        instance_of(e, args[0], &id, &err) < 0 ||
        store_snapshot_list(e->store, id, false, &list, &err) < 0)
        return cli_failed(&err);
    _cleanup_json_ json_t *rows = json_array();
    for (size_t i = 0; list[i].id; i++) {
        bool shown = true;
        for (size_t f = 0; v->list.filters && v->list.filters[f]; f++)
            shown &= matches(&list[i], v->list.filters[f]);
        if (shown)
            json_array_append_new(rows, row_of(&list[i], v->list.no_trunc));
    }
    snapshot_record_list_free(list);
    return list_print(&ls_spec, &v->list, rows, &err) < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_snapshot_ls = {
    .name = "snapshot ls",
    .aliases = "snapshot list",
    .usage = "[OPTIONS] [INSTANCE]",
    .summary = "List snapshots",
    .description = "Filters: name, instance.",
    .sets = {OPTION_SET(ls_table)},
    .values_size = sizeof(struct ls_values),
    .max_args = 1,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_GROUPED,
    .run = handle_ls,
};

/* --- inspect --- */

struct inspect_values {
    char *format;
};
static const struct cli_option inspect_table[] = {
    OPT_STRING('f', "format", struct inspect_values, format, "string",
               "Print with a template, e.g. '{{.Name}}', or json"),
};

static json_t *describe(const struct snapshot_record *s)
{
    json_t *o = json_object();
    json_object_set_new(o, "Id", json_text(s->id));
    json_object_set_new(o, "Name", json_text(s->name));
    json_object_set_new(o, "InstanceId", json_text(s->instance_id));
    json_object_set_new(o, "Instance", json_text(s->instance_name));
    json_object_set_new(o, "Kind", json_text(runtime_kind_name((enum runtime_kind)s->kind)));
    json_object_set_new(o, "Created", json_time(s->created_ns));
    json_object_set_new(o, "ImageId", json_text(s->image_id));
    json_object_set_new(o, "Image", json_text(s->image_name));
    json_object_set_new(o, "Consistency", json_text(s->consistency));
    json_object_set_new(o, "MemoryBytes", json_integer((json_int_t)s->memory_bytes));
    json_object_set_new(o, "Parent", json_text(s->base));
    json_t *options = json_loads(s->options, 0, NULL);
    json_object_set_new(o, "Options", options ? options : json_null());
    return o;
}

static int handle_inspect(struct cli *cli, void *values, char **args)
{
    const struct inspect_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    _cleanup_json_ json_t *all = json_array();
    if (cli_engine(cli, &e, &err) < 0)
        return cli_failed(&err);
    for (size_t i = 0; args[i]; i++) {
        struct snapshot_record record = {0};
        if (store_snapshot_find(e->store, NULL, args[i], &record, &err) < 0)
            return cli_failed(&err);
        json_array_append_new(all, describe(&record));
        snapshot_record_done(&record);
    }
    return inspect_print(all, v->format, &err) < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_snapshot_inspect = {
    .name = "snapshot inspect",
    .usage = "[OPTIONS] SNAPSHOT [SNAPSHOT...]",
    .summary = "Show everything about one or more snapshots",
    .sets = {OPTION_SET(inspect_table)},
    .values_size = sizeof(struct inspect_values),
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_SNAPSHOT,
    .section = SECTION_GROUPED,
    .run = handle_inspect,
};

/* --- restore --- */

struct restore_values {
    bool force;
};
static const struct cli_option restore_table[] = {
    OPT_FLAG('f', "force", struct restore_values, force, "Kill the instance first if it runs"),
};

static int handle_restore(struct cli *cli, void *values, char **args)
{
    const struct restore_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    if (cli_engine(cli, &e, &err) < 0 ||
        engine_snapshot_restore(e, args[0], args[1], v->force, &err) < 0)
        return cli_failed(&err);
    puts(args[0]);
    return 0;
}

const struct command cmd_snapshot_restore = {
    .name = "snapshot restore",
    .aliases = "snapshot revert",
    .usage = "[OPTIONS] INSTANCE SNAPSHOT",
    .summary = "Put an instance back to one of its snapshots",
    .description = "Its files and options become those of the snapshot; all that came later is "
                   "gone. Of a snapshot with memory the machine goes on where it was, otherwise "
                   "the instance is stopped afterwards.",
    .sets = {OPTION_SET(restore_table)},
    .values_size = sizeof(struct restore_values),
    .min_args = 2,
    .max_args = 2,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_GROUPED,
    .run = handle_restore,
};

/* --- clone --- */

struct clone_values {
    char *name;
};
static const struct cli_option clone_table[] = {
    OPT_STRING(0, "name", struct clone_values, name, "string", "Name of the new instance"),
};

static int handle_clone(struct cli *cli, void *values, char **args)
{
    const struct clone_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    _cleanup_free_ char *id = NULL;
    if (cli_engine(cli, &e, &err) < 0 || engine_snapshot_clone(e, args[0], v->name, &id, &err) < 0)
        return cli_failed(&err);
    puts(id);
    return 0;
}

const struct command cmd_snapshot_clone = {
    .name = "snapshot clone",
    .usage = "[OPTIONS] SNAPSHOT",
    .summary = "Create an instance that begins as a snapshot",
    .description = "A machine's disk is shared, and only what the clone writes takes room. The "
                   "clone has an id, a name, a MAC and an IP address of its own, publishes no "
                   "ports, and is not started.",
    .sets = {OPTION_SET(clone_table)},
    .values_size = sizeof(struct clone_values),
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_SNAPSHOT,
    .section = SECTION_GROUPED,
    .run = handle_clone,
};

/* --- rm --- */

static int rm_one(struct engine *e, const char *name, void *context, struct error *err)
{
    (void)context;
    return engine_snapshot_remove(e, name, err);
}

static int handle_rm(struct cli *cli, void *values, char **args)
{
    (void)values;
    return cli_for_each(cli, args, true, rm_one, NULL);
}

const struct command cmd_snapshot_rm = {
    .name = "snapshot rm",
    .aliases = "snapshot remove",
    .usage = "SNAPSHOT [SNAPSHOT...]",
    .summary = "Remove one or more snapshots",
    .description = "What an instance or another snapshot stands on stays until they are gone.",
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_SNAPSHOT,
    .section = SECTION_GROUPED,
    .run = handle_rm,
};
