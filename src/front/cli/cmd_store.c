/* The store as a whole: system df, fsck. */
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "engine/system.h"
#include "front/cli/commands.h"
#include "front/cli/row.h"
#include "front/cli/session.h"
#include "service/snapshot/fsck.h"

/* --- system df --- */

struct df_values {
    struct list_values list;
    bool verbose;
};
static const struct cli_option df_table[] = {
    OPT_STRING(0, "format", struct df_values, list.format, "string",
               "Print with a template, or json"),
    OPT_FLAG('v', "verbose", struct df_values, verbose, "Show every image, and what it shares"),
};
static const struct column df_columns[] = {
    {"TYPE", "Type", true, true}, {"TOTAL", "TotalCount", true},        {"ACTIVE", "Active", true},
    {"SIZE", "Size", true},       {"RECLAIMABLE", "Reclaimable", true},
};
static const struct list_spec df_spec = {df_columns, ARRAY_SIZE(df_columns), "Type"};

static void add_df(json_t *rows, const char *type, size_t total, size_t active, uint64_t bytes,
                   uint64_t reclaimable)
{
    json_t *row = json_object();
    row_set(row, "Type", type);
    row_setf(row, "TotalCount", "%zu", total);
    row_setf(row, "Active", "%zu", active);
    row_set(row, "Size", format_size(bytes).s);
    row_setf(row, "Reclaimable", "%s (%u%%)", format_size(reclaimable).s,
             bytes ? (unsigned int)((double)reclaimable * 100 / (double)bytes) : 0);
    json_array_append_new(rows, row);
}

static const struct column df_image_columns[] = {
    {"REPOSITORY", "Repository", true, true}, {"IMAGE ID", "ID", true},
    {"CREATED", "CreatedSince", true},        {"SIZE", "Size", true},
    {"SHARED SIZE", "SharedSize", true},      {"UNIQUE SIZE", "UniqueSize", true},
    {"INSTANCES", "Instances", true},
};
static const struct list_spec df_image_spec = {df_image_columns, ARRAY_SIZE(df_image_columns),
                                               "ID"};

static int print_images(const struct system_usage *u, const struct list_values *how,
                        struct error *err)
{
    _cleanup_json_ json_t *rows = json_array();
    for (const struct image_usage *i = u->image_list; i->id; i++) {
        json_t *row = json_object();
        row_set(row, "Repository", i->names[0] ? i->names[0] : "<none>");
        row_set(row, "ID", short_id(i->id, how->no_trunc).s);
        row_set_age(row, "CreatedSince", "CreatedAt", i->created_ns);
        row_set(row, "Size", format_size(i->shared_bytes + i->unique_bytes).s);
        row_set(row, "SharedSize", format_size(i->shared_bytes).s);
        row_set(row, "UniqueSize", format_size(i->unique_bytes).s);
        row_setf(row, "Instances", "%zu", i->instances);
        json_array_append_new(rows, row);
    }
    return list_print(&df_image_spec, how, rows, err);
}

static int handle_df(struct cli *cli, void *values, char **args)
{
    const struct df_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct system_usage u = {0};
    (void)args;
    if (cli_engine(cli, &e, &err) < 0 || engine_usage(e, &u, &err) < 0)
        return cli_failed(&err);
    if (v->verbose) {
        int r = print_images(&u, &v->list, &err);
        image_usage_list_free(u.image_list);
        return r < 0 ? cli_failed(&err) : 0;
    }
    image_usage_list_free(u.image_list);
    _cleanup_json_ json_t *rows = json_array();
    add_df(rows, "Images", u.images, u.images_active, u.images_bytes, u.images_reclaimable);
    add_df(rows, "Instances", u.instances, u.instances_active, u.instances_bytes,
           u.instances_reclaimable);
    add_df(rows, "Volumes", u.volumes, u.volumes_active, u.volumes_bytes, u.volumes_reclaimable);
    add_df(rows, "Snapshots", u.snapshots, u.snapshots_active, u.snapshots_bytes, 0);
    add_df(rows, "Build cache", u.build_steps, 0, u.build_bytes, u.build_bytes);
    return list_print(&df_spec, &v->list, rows, &err) < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_system_df = {
    .name = "system df",
    .usage = "[OPTIONS]",
    .summary = "Show disk use",
    .description = "A layer that several images share is counted once.",
    .sets = {OPTION_SET(df_table)},
    .values_size = sizeof(struct df_values),
    .section = SECTION_GROUPED,
    .run = handle_df,
};

/* --- fsck --- */

struct fsck_values {
    bool repair, quiet;
};
static const struct cli_option fsck_table[] = {
    OPT_FLAG(0, "repair", struct fsck_values, repair,
             "Remove what is broken, so that pulling or loading the image brings it again"),
    OPT_FLAG('q', "quiet", struct fsck_values, quiet, "Print faults only"),
};

static int handle_fsck(struct cli *cli, void *values, char **args)
{
    const struct fsck_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    _cleanup_(image_fsck_done) struct image_fsck f = {0};
    (void)args;
    if (cli_engine(cli, &e, &err) < 0 || image_fsck(e->store, v->repair, &f, &err) < 0 ||
        snapshot_fsck(e->store, v->repair, &f, &err) < 0)
        return cli_failed(&err);
    size_t faults = 0, repaired = 0;
    for (; f.faults[faults]; faults++)
        puts(f.faults[faults]);
    for (; f.repaired[repaired]; repaired++)
        puts(f.repaired[repaired]);
    if (!v->quiet)
        printf("%zu images, %zu layers, %zu documents, %zu snapshots: %s read, %zu fault%s\n",
               f.images, f.layers, f.blobs, f.snapshots, format_size(f.bytes).s, faults,
               faults == 1 ? "" : "s");
    return faults > 0 && repaired < faults;
}

const struct command cmd_fsck = {
    .name = "fsck",
    .aliases = "system fsck",
    .usage = "[OPTIONS]",
    .summary = "Verify every byte of every image",
    .description = "Of snapshots: that their files are there, and lead nowhere. A line for each "
                   "fault. The exit code is 1 when there is one that was not repaired.",
    .sets = {OPTION_SET(fsck_table)},
    .values_size = sizeof(struct fsck_values),
    .section = SECTION_OTHER,
    .run = handle_fsck,
};
