/* Images out of the store, and what is known of how they were made: save, history. */
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "front/cli/commands.h"
#include "front/cli/row.h"
#include "front/cli/session.h"
#include "service/image/save.h"
#include "wire/image/history.h"

/* --- save --- */

struct save_values {
    char *output, *format, *compression;
    bool quiet;
};
static const struct cli_option save_table[] = {
    OPT_NAMED(COMPLETES_FILE, 'o', "output", struct save_values, output, "string",
              "Write to a file (a directory with oci-dir) instead of stdout"),
    OPT_STRING(0, "format", struct save_values, format, "string",
               "docker-archive (the default), oci-archive or oci-dir"),
    OPT_STRING(0, "compression", struct save_values, compression, "string",
               "Compress the layers of an OCI layout with gzip (the default), zstd or none"),
    OPT_FLAG('q', "quiet", struct save_values, quiet, NULL),
    OPT_FLAG('m', "multi-image-archive", struct save_values, quiet, NULL),
};

static int handle_save(struct cli *cli, void *values, char **args)
{
    const struct save_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct image_save how = {
        .references = args,
        .format = v->format ? v->format : "docker-archive",
        .compression = v->compression,
        .output = v->output,
    };
    int r = 0;
    if (!v->output && isatty(STDOUT_FILENO))
        r = error_invalid(&err,
                          "an archive is not written to a terminal: use --output, or redirect "
                          "stdout");
    if (r < 0 || cli_engine(cli, &e, &err) < 0 || image_save(e->store, &how, &err) < 0)
        return cli_failed(&err);
    return 0;
}

const struct command cmd_save = {
    .name = "save",
    .aliases = "image save",
    .usage = "[OPTIONS] IMAGE [IMAGE...]",
    .summary = "Save images to an archive that load, Docker and Podman read",
    .description =
        "The image keeps its id wherever it is loaded: its layers are given back as they "
        "were, byte for byte.",
    .sets = {OPTION_SET(save_table)},
    .values_size = sizeof(struct save_values),
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_IMAGE,
    .section = SECTION_OTHER,
    .run = handle_save,
};

/* --- history --- */

struct history_values {
    struct list_values list;
    bool human;
};
static const struct cli_option history_table[] = {
    OPT_STRING(0, "format", struct history_values, list.format, "string",
               "Print with a template, e.g. '{{.ID}} {{.CreatedBy}}', or json"),
    OPT_FLAG('q', "quiet", struct history_values, list.quiet, "Print only the identifiers"),
    OPT_FLAG(0, "no-trunc", struct history_values, list.no_trunc, "Do not shorten anything"),
    OPT_FLAG('H', "human", struct history_values, human,
             "Sizes and dates for people (the default)"),
};

static const struct column history_columns[] = {
    {"IMAGE", "ID", true},
    {"CREATED", "CreatedSince", true},
    {"CREATED BY", "CreatedBy", true, true},
    {"SIZE", "Size", true},
    {"COMMENT", "Comment", true, true},
    {"CREATED AT", "CreatedAt", false},
};
static const struct list_spec history_spec = {history_columns, ARRAY_SIZE(history_columns), "ID"};

#define CREATED_BY_SHORT 45 /* characters, as Docker has it */

static void set_created_by(json_t *row, const char *text, bool whole)
{
    if (!whole && text && strlen(text) > CREATED_BY_SHORT)
        row_setf(row, "CreatedBy", "%.*s…", CREATED_BY_SHORT - 1, text);
    else
        row_set(row, "CreatedBy", text);
}

static json_t *history_row(const struct image_history_step *step, const char *id, uint64_t bytes,
                           const struct history_values *v)
{
    json_t *row = json_object();
    row_set(row, "ID", id ? short_id(id, v->list.no_trunc).s : "<missing>");
    row_set_age(row, "CreatedSince", "CreatedAt", step->created_ns);
    set_created_by(row, step->created_by, v->list.no_trunc);
    row_set(row, "Comment", step->comment);
    if (v->human) {
        row_set(row, "Size", format_size(bytes).s);
    } else {
        row_setf(row, "Size", "%llu", (unsigned long long)bytes);
        row_set(row, "CreatedSince", time_format(step->created_ns).s);
    }
    return row;
}

/* From the newest down; a step that made a layer takes the next one. */
static json_t *history_rows(const struct image *image, const struct image_history *h,
                            const struct history_values *v)
{
    json_t *rows = json_array();
    size_t layer = image->n_layers;
    for (size_t i = h->n_steps; i-- > 0;) {
        uint64_t bytes = 0;
        if (!h->steps[i].empty && layer > 0)
            bytes = image->layers[--layer].bytes;
        const char *id = i + 1 == h->n_steps ? image->id : NULL;
        json_array_append_new(rows, history_row(&h->steps[i], id, bytes, v));
    }
    return rows;
}

static void history_init(void *values)
{
    ((struct history_values *)values)->human = true;
}

static int handle_history(struct cli *cli, void *values, char **args)
{
    const struct history_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    _cleanup_image_ struct image *image = NULL;
    _cleanup_(image_history_done) struct image_history h = {0};
    if (cli_engine(cli, &e, &err) < 0 || image_find(e->store, args[0], &image, &err) < 0 ||
        image_need_kind(image, IMAGE_APPLICATION, &err) < 0 ||
        image_history_parse(image->config_json, strlen(image->config_json), &h, &err) < 0)
        return cli_failed(&err);
    _cleanup_json_ json_t *rows = history_rows(image, &h, v);
    return list_print(&history_spec, &v->list, rows, &err) < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_history = {
    .name = "history",
    .aliases = "image history",
    .usage = "[OPTIONS] IMAGE",
    .summary = "Show how an image was made",
    .sets = {OPTION_SET(history_table)},
    .values_size = sizeof(struct history_values),
    .init = history_init,
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_IMAGE,
    .section = SECTION_OTHER,
    .run = handle_history,
};
