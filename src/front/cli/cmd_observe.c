/* top, stats and cp. */
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/observe.h"
#include "engine/view.h"
#include "front/cli/commands.h"
#include "front/cli/row.h"
#include "front/cli/session.h"
#include "front/cli/table.h"

/* --- top --- */

static void add_row(struct table *t, const json_t *cells)
{
    table_row(t);
    for (size_t i = 0; i < json_array_size(cells); i++) {
        const char *text = json_string_value(json_array_get(cells, i));
        table_cell(t, text ? text : "");
    }
}

static int handle_top(struct cli *cli, void *values, char **args)
{
    struct error err = ERROR_INIT;
    struct engine *e;
    _cleanup_free_ char *text = NULL;
    _cleanup_json_ json_t *top = NULL;
    json_t *titles = NULL, *processes = NULL;
    (void)values;
    if (cli_engine(cli, &e, &err) < 0 || engine_top(e, args[0], &text, &err) < 0 ||
        json_parse(text, strlen(text), "processes", &top, &err) < 0 ||
        json_get_array(top, "processes", "titles", &titles, &err) < 0 ||
        json_get_array(top, "processes", "processes", &processes, &err) < 0)
        return cli_failed(&err);
    _cleanup_table_ struct table *t = table_new();
    add_row(t, titles);
    for (size_t i = 0; i < json_array_size(processes); i++)
        add_row(t, json_array_get(processes, i));
    table_print(t, stdout, output_columns());
    return 0;
}

const struct command cmd_top = {
    .name = "top",
    .aliases = "container top",
    .usage = "NAME",
    .summary = "List the processes of an instance",
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_RUNNING,
    .section = SECTION_OTHER,
    .run = handle_top,
};

/* --- stats: two readings, a second apart; the difference gives the CPU's use --- */

struct stats_values {
    struct list_values list;
    bool all, no_stream;
};
static const struct cli_option stats_table[] = {
    OPT_FLAG('a', "all", struct stats_values, all, "Show stopped instances too"),
    OPT_STRING(0, "format", struct stats_values, list.format, "string",
               "Print with a template, or json"),
    OPT_FLAG(0, "no-stream", struct stats_values, no_stream, "Print once and leave"),
    OPT_FLAG(0, "no-trunc", struct stats_values, list.no_trunc, "Do not shorten anything"),
};

static const struct column stats_columns[] = {
    {"CONTAINER ID", "ID", true},
    {"NAME", "Name", true, true},
    {"KIND", "Kind", true},
    {"CPU %", "CPUPerc", true},
    {"MEM USAGE / LIMIT", "MemUsage", true},
    {"MEM %", "MemPerc", true},
    {"NET I/O", "NetIO", true},
    {"BLOCK I/O", "BlockIO", true},
    {"PIDS", "PIDs", true},
    {"CONTAINER", "Container", false},
    {"HOST CPU %", "HostCPUPerc", false},
    {"HOST MEM USAGE / LIMIT", "HostMemUsage", false},
    {"HOST BLOCK I/O", "HostBlockIO", false},
};
static const struct list_spec stats_spec = {stats_columns, ARRAY_SIZE(stats_columns), "ID"};

/* What one side of it counts. */
struct reading {
    struct runtime_stats first, second;
    int64_t first_ms, second_ms;
    bool there;
};
struct sample {
    struct instance_view *view;
    struct reading inside, outside; /* outside: a machine as the host has it */
};
struct samples {
    struct sample *list;
    size_t n;
};

static void samples_done(struct samples *s)
{
    for (size_t i = 0; i < s->n; i++)
        instance_view_free(s->list[i].view);
    free(s->list);
}

static void samples_add(struct samples *s, struct instance_view *view)
{
    s->list = xreallocarray(s->list, s->n + 1, sizeof(*s->list));
    s->list[s->n++] = (struct sample){.view = view};
}

static int collect(struct engine *e, const struct stats_values *v, char *const *names,
                   struct samples *out, struct error *err)
{
    for (size_t i = 0; names[i]; i++) {
        struct instance_view *view;
        int r = engine_view(e, names[i], &view, err);
        if (r < 0)
            return r;
        samples_add(out, view);
    }
    if (names[0])
        return 0;
    struct instance_view **list;
    int r = engine_list(e, v->all, &list, err);
    if (r < 0)
        return r;
    for (size_t i = 0; list[i]; i++)
        samples_add(out, list[i]);
    free(list); /* its members are the samples' now */
    return 0;
}

typedef int (*read_fn)(struct engine *e, const char *reference, struct runtime_stats *ret,
                       struct error *err);

/* One that ends meanwhile is not there any more; that is no failure. */
static void read_side(struct engine *e, const char *id, read_fn read, struct reading *r,
                      bool second)
{
    struct error ignored = ERROR_INIT;
    r->there = (!second || r->there) && read(e, id, second ? &r->second : &r->first, &ignored) == 0;
    *(second ? &r->second_ms : &r->first_ms) = time_monotonic_ms();
}

/* Who is known not to answer is not waited for. */
static void read_all(struct engine *e, struct samples *s, bool second)
{
    for (size_t i = 0; i < s->n; i++) {
        struct sample *p = &s->list[i];
        read_side(e, p->view->id, engine_stats_outside, &p->outside, second);
        if (!p->view->silent)
            read_side(e, p->view->id, engine_stats, &p->inside, second);
    }
}

static void set_nothing(json_t *row, const char *const *fields, size_t n)
{
    for (size_t i = 0; i < n; i++)
        row_set(row, fields[i], "--");
}

static double cpu_percent(const struct reading *r)
{
    double elapsed_ns = (double)MAX(r->second_ms - r->first_ms, (int64_t)1) * 1e6;
    uint64_t used_ns = r->second.cpu_ns - MIN(r->first.cpu_ns, r->second.cpu_ns);
    return (double)used_ns * 100 / elapsed_ns;
}

static void set_inside(json_t *row, const struct reading *r, uint64_t host_bytes)
{
    static const char *const fields[] = {"CPUPerc", "MemUsage", "MemPerc",
                                         "NetIO",   "BlockIO",  "PIDs"};
    const struct runtime_stats *s = &r->second;
    uint64_t limit = s->memory_limit ? s->memory_limit : host_bytes;
    if (!r->there) {
        set_nothing(row, fields, ARRAY_SIZE(fields));
        return;
    }
    row_setf(row, "CPUPerc", "%.2f%%", cpu_percent(r));
    row_setf(row, "MemUsage", "%s / %s", format_size_binary(s->memory_bytes).s,
             format_size_binary(limit).s);
    row_setf(row, "MemPerc", "%.2f%%", limit ? (double)s->memory_bytes * 100 / (double)limit : 0.0);
    row_setf(row, "NetIO", "%s / %s", format_size(s->net_rx_bytes).s,
             format_size(s->net_tx_bytes).s);
    row_setf(row, "BlockIO", "%s / %s", format_size(s->block_read_bytes).s,
             format_size(s->block_write_bytes).s);
    row_setf(row, "PIDs", "%llu", (unsigned long long)s->pids);
}

static void set_outside(json_t *row, const struct reading *r, uint64_t host_bytes)
{
    static const char *const fields[] = {"HostCPUPerc", "HostMemUsage", "HostBlockIO"};
    const struct runtime_stats *s = &r->second;
    if (!r->there) {
        set_nothing(row, fields, ARRAY_SIZE(fields));
        return;
    }
    row_setf(row, "HostCPUPerc", "%.2f%%", cpu_percent(r));
    row_setf(row, "HostMemUsage", "%s / %s", format_size_binary(s->memory_bytes).s,
             format_size_binary(s->memory_limit ? s->memory_limit : host_bytes).s);
    row_setf(row, "HostBlockIO", "%s / %s", format_size(s->block_read_bytes).s,
             format_size(s->block_write_bytes).s);
}

static json_t *stats_row(const struct sample *p, uint64_t host_bytes, bool whole)
{
    json_t *row = json_object();
    row_set(row, "Container", p->view->id);
    row_set(row, "ID", short_id(p->view->id, whole).s);
    row_set(row, "Name", p->view->name);
    row_set(row, "Kind", runtime_kind_name(p->view->kind));
    set_inside(row, &p->inside, host_bytes);
    set_outside(row, &p->outside, host_bytes);
    return row;
}

static int stats_once(struct engine *e, const struct stats_values *v, char *const *names,
                      struct error *err)
{
    _cleanup_(samples_done) struct samples s = {0};
    _cleanup_json_ json_t *rows = json_array();
    uint64_t host_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    int r = collect(e, v, names, &s, err);
    if (r < 0)
        return r;
    read_all(e, &s, false);
    struct timespec second = {.tv_sec = 1};
    bool sleeps = s.n > 0 || !v->no_stream;
    while (sleeps && nanosleep(&second, &second) < 0 && errno == EINTR)
        ;
    read_all(e, &s, true);
    for (size_t i = 0; i < s.n; i++)
        json_array_append_new(rows, stats_row(&s.list[i], host_bytes, v->list.no_trunc));
    if (!v->no_stream && !v->list.format && isatty(STDOUT_FILENO))
        fputs("\033[H\033[2J", stdout);
    r = list_print(&stats_spec, &v->list, rows, err);
    fflush(stdout);
    return r;
}

static int handle_stats(struct cli *cli, void *values, char **args)
{
    struct stats_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    if (cli_engine(cli, &e, &err) < 0)
        return cli_failed(&err);
    do {
        if (stats_once(e, v, args, &err) < 0)
            return cli_failed(&err);
    } while (!v->no_stream && !ferror(stdout));
    return 0;
}

const struct command cmd_stats = {
    .name = "stats",
    .aliases = "container stats",
    .usage = "[OPTIONS] [NAME...]",
    .summary = "Show what instances use, live",
    .sets = {OPTION_SET(stats_table)},
    .values_size = sizeof(struct stats_values),
    .max_args = ARGS_MANY,
    .completes = COMPLETES_RUNNING,
    .section = SECTION_OTHER,
    .run = handle_stats,
};

/* --- cp --- */

struct cp_values {
    bool follow, archive, quiet;
};
static const struct cli_option cp_table[] = {
    OPT_FLAG('L', "follow-link", struct cp_values, follow, "Follow a symbolic link in SRC_PATH"),
    /* Ownership is always kept and nothing is printed: accepted for Docker's scripts. */
    OPT_FLAG('a', "archive", struct cp_values, archive, NULL),
    OPT_FLAG('q', "quiet", struct cp_values, quiet, NULL),
};

static int handle_cp(struct cli *cli, void *values, char **args)
{
    const struct cp_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    if (strcmp(args[1], "-") == 0 && isatty(STDOUT_FILENO)) {
        output_warning("refusing to write a tar stream to a terminal: redirect the output");
        return 1;
    }
    if (cli_engine(cli, &e, &err) < 0 || engine_copy(e, args[0], args[1], v->follow, &err) < 0)
        return cli_failed(&err);
    return 0;
}

const struct command cmd_cp = {
    .name = "cp",
    .aliases = "container cp",
    .usage =
        "[OPTIONS] NAME:SRC_PATH DEST_PATH|-\n       proa cp [OPTIONS] SRC_PATH|- NAME:DEST_PATH",
    .summary = "Copy files between an instance and the host",
    .description =
        "\"-\" as the source reads a tar stream from stdin, as the destination writes one "
        "to stdout.",
    .sets = {OPTION_SET(cp_table)},
    .values_size = sizeof(struct cp_values),
    .min_args = 2,
    .max_args = 2,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_OTHER,
    .run = handle_cp,
};
