/* list and ps. */
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "front/oci/commands.h"
#include "front/oci/session.h"

struct list_values {
    char *format;
    bool quiet;
};
static const struct cli_option list_table[] = {
    OPT_STRING('f', "format", struct list_values, format, "format", "table or json"),
    OPT_FLAG('q', "quiet", struct list_values, quiet, "Print only the IDs"),
};

static int check_format(const char *format, struct error *err)
{
    if (format && strcmp(format, "table") != 0 && strcmp(format, "json") != 0)
        return error_invalid(err, "--format is table or json, not \"%.32s\"", format);
    return 0;
}

static bool is_json(const char *format)
{
    return format && strcmp(format, "json") == 0;
}

/* One that is being deleted meanwhile is left out. */
static int collect(const struct cli *cli, json_t **ret, struct error *err)
{
    _cleanup_free_ char *root = oci_root(cli);
    _cleanup_strv_ char **names = NULL;
    int r = oci_container_names(root, &names, err);
    if (r < 0)
        return r;
    json_t *rows = json_array();
    for (size_t i = 0; names[i]; i++) {
        _cleanup_oci_container_ struct oci_container c;
        oci_container_init(&c);
        if (oci_container_load(root, names[i], false, &c, NULL) == 0)
            json_array_append_new(rows, oci_container_state(&c, oci_container_status(&c), true));
    }
    *ret = rows;
    return 0;
}

static const char *member(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text ? text : "";
}

static void print_table(const json_t *rows)
{
    size_t i, id = 2, bundle = 6;
    const json_t *row;
    json_array_foreach(rows, i, row)
    {
        id = MAX(id, strlen(member(row, "id")));
        bundle = MAX(bundle, strlen(member(row, "bundle")));
    }
    printf("%-*s   %-7s   %-8s   %-*s   %-30s   %s\n", (int)id, "ID", "PID", "STATUS", (int)bundle,
           "BUNDLE", "CREATED", "OWNER");
    json_array_foreach(rows, i, row)
        printf("%-*s   %-7lld   %-8s   %-*s   %-30s   %s\n", (int)id, member(row, "id"),
               (long long)json_integer_value(json_object_get(row, "pid")), member(row, "status"),
               (int)bundle, member(row, "bundle"), member(row, "created"), member(row, "owner"));
}

static void print_ids(const json_t *rows)
{
    size_t i;
    const json_t *row;
    json_array_foreach(rows, i, row) puts(member(row, "id"));
}

static int handle_list(struct cli *cli, void *values, char **args)
{
    const struct list_values *v = values;
    struct error err = ERROR_INIT;
    _cleanup_json_ json_t *rows = NULL;
    (void)args;
    if (check_format(v->format, &err) < 0 || collect(cli, &rows, &err) < 0)
        return oci_failed(cli, &err, 1);
    if (v->quiet) {
        print_ids(rows);
    } else if (is_json(v->format)) {
        _cleanup_free_ char *text = json_to_text(rows);
        puts(text);
    } else {
        print_table(rows);
    }
    return 0;
}

/* --- ps --- */

struct ps_values {
    char *format;
};
static const struct cli_option ps_table[] = {
    OPT_STRING('f', "format", struct ps_values, format, "format", "table or json (ids only)"),
};

static void print_processes(const json_t *processes)
{
    const json_t *titles = json_object_get(processes, "titles");
    const json_t *rows = json_object_get(processes, "processes"), *row, *cell;
    size_t i, j;
    json_array_foreach(titles, j, cell)
        printf(j + 1 < json_array_size(titles) ? "%-8s " : "%s\n", json_string_value(cell));
    json_array_foreach(rows, i, row) json_array_foreach(row, j, cell)
        printf(j + 1 < json_array_size(row) ? "%-8s " : "%s\n", json_string_value(cell));
}

static void print_pids(const json_t *processes)
{
    const json_t *row;
    size_t i;
    fputs("[", stdout);
    json_array_foreach(json_object_get(processes, "processes"), i, row)
        printf("%s%s", i ? "," : "", json_string_value(json_array_get(row, 1)));
    puts("]");
}

static int handle_ps(struct cli *cli, void *values, char **args)
{
    const struct ps_values *v = values;
    _cleanup_oci_container_ struct oci_container c;
    _cleanup_free_ char *text = NULL;
    _cleanup_json_ json_t *processes = NULL;
    struct error err = ERROR_INIT;
    oci_container_init(&c);
    int r = check_format(v->format, &err);
    if (r == 0 && (r = oci_open(cli, args[0], false, &c, &err)) == 0) {
        struct runtime_target t = oci_container_target(&c);
        r = container_ops.processes(&t, &text, &err);
    }
    if (r == 0)
        r = json_parse(text, strlen(text), "the processes", &processes, &err);
    if (r < 0)
        return oci_failed(cli, &err, 1);
    if (is_json(v->format))
        print_pids(processes);
    else
        print_processes(processes);
    return 0;
}

const struct command cmd_list = {
    .name = "list",
    .aliases = "ls",
    .usage = "[OPTIONS]",
    .summary = "List the containers of this root",
    .sets = {OPTION_SET(list_table)},
    .values_size = sizeof(struct list_values),
    .section = SECTION_COMMON,
    .run = handle_list,
};

const struct command cmd_ps = {
    .name = "ps",
    .usage = "[OPTIONS] ID [PS-OPTIONS...]",
    .summary = "List the processes of a container, by the host's numbers",
    .description = "Options of ps(1) are accepted and make no difference: nothing is executed.",
    .sets = {OPTION_SET(ps_table)},
    .values_size = sizeof(struct ps_values),
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_COMMON,
    .stop_at_argument = true,
    .run = handle_ps,
};
