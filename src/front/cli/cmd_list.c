/* ps and port. */
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/system.h"
#include "engine/view.h"
#include "front/cli/commands.h"
#include "front/cli/instance_text.h"
#include "front/cli/row.h"
#include "front/cli/session.h"

struct ps_values {
    struct list_values list;
    bool all, latest;
    int32_t last;
};
static const struct cli_option ps_table[] = {
    LIST_OPTIONS(struct ps_values),
    OPT_FLAG('a', "all", struct ps_values, all, "Show stopped instances too"),
    OPT_I32('n', "last", struct ps_values, last, "int", "Show the last N created (any state)"),
    OPT_FLAG('l', "latest", struct ps_values, latest, "Show the last created (any state)"),
};

static const struct column ps_columns[] = {
    {"CONTAINER ID", "ID", true},       {"KIND", "Kind", true},
    {"IMAGE", "Image", true, true},     {"COMMAND", "Command", true, true},
    {"CREATED", "RunningFor", true},    {"STATUS", "Status", true},
    {"PORTS", "Ports", true, true},     {"NAMES", "Names", true},
    {"CREATED AT", "CreatedAt", false}, {"STATE", "State", false},
    {"LABELS", "Labels", false},        {"MOUNTS", "Mounts", false},
    {"NETWORKS", "Networks", false},
};
static const struct list_spec ps_spec = {ps_columns, ARRAY_SIZE(ps_columns), "ID"};

static const char *const ps_filters[] = {"name",     "id",     "status",  "label",
                                         "ancestor", "kind",   "network", "volume",
                                         "exited",   "health", NULL};

static bool ancestor_matches(const struct instance_view *v, const char *wanted)
{
    size_t n = strlen(wanted);
    const char *id = strchr(v->image_id ? v->image_id : "", ':');
    if (v->image_name && strncmp(v->image_name, wanted, n) == 0 &&
        (v->image_name[n] == '\0' || v->image_name[n] == ':'))
        return true;
    if (strncmp(wanted, "sha256:", 7) == 0)
        wanted += 7;
    return id && strlen(wanted) >= 4 && strncmp(id + 1, wanted, strlen(wanted)) == 0;
}

static bool mount_matches(const struct instance_view *v, const char *wanted)
{
    for (size_t i = 0; i < v->n_mounts; i++)
        if ((v->mounts[i].name && strcmp(v->mounts[i].name, wanted) == 0) ||
            (v->mounts[i].target && strcmp(v->mounts[i].target, wanted) == 0))
            return true;
    return false;
}

static bool exit_code_matches(const struct instance_view *v, const char *wanted)
{
    uint32_t code;
    return v->state == STATE_EXITED && parse_u32(wanted, &code) == 0 &&
           (uint32_t)v->status.exit_code == code;
}

static bool matches(const struct instance_view *v, const char *filter)
{
    const char *w;
    if ((w = filter_value(filter, "name")))
        return v->name && strstr(v->name, *w == '/' ? w + 1 : w);
    if ((w = filter_value(filter, "id")))
        return strncmp(v->id, w, strlen(w)) == 0;
    if ((w = filter_value(filter, "status")))
        return strcmp(instance_state_name(v->state), w) == 0;
    if ((w = filter_value(filter, "label")))
        return label_matches(v->options.labels, w);
    if ((w = filter_value(filter, "ancestor")))
        return ancestor_matches(v, w);
    if ((w = filter_value(filter, "kind")))
        return strcmp(runtime_kind_name(v->kind), w) == 0;
    if ((w = filter_value(filter, "network")))
        return view_is_on(v, w);
    if ((w = filter_value(filter, "health")))
        return strcmp(instance_health(v), w) == 0;
    if ((w = filter_value(filter, "exited")))
        return exit_code_matches(v, w);
    w = filter_value(filter, "volume");
    return w && mount_matches(v, w);
}

/* Different keys must all match; of several filters with one key, any may. */
static bool selected(const struct instance_view *v, char *const *filters)
{
    for (size_t k = 0; ps_filters[k]; k++) {
        bool asked = false, any = false;
        for (size_t i = 0; filters && filters[i]; i++) {
            bool this_key = filter_value(filters[i], ps_filters[k]) != NULL;
            asked |= this_key;
            any |= this_key && matches(v, filters[i]);
        }
        if (asked && !any)
            return false;
    }
    return true;
}

static bool has_filter(char *const *filters, const char *key)
{
    for (size_t i = 0; filters && filters[i]; i++)
        if (filter_value(filters[i], key))
            return true;
    return false;
}

static void set_mounts(json_t *row, const struct instance_view *v)
{
    _cleanup_free_ char *text = xstrdup("");
    for (size_t i = 0; i < v->n_mounts; i++) {
        const char *source = v->mounts[i].name ? v->mounts[i].name : v->mounts[i].source;
        char *longer = xasprintf("%s%s%s", text, i > 0 ? "," : "", source ? source : "");
        free(text);
        text = longer;
    }
    row_set(row, "Mounts", text);
}

static void row_set_networks(json_t *row, const struct instance_view *v)
{
    _cleanup_strv_ char **names = strv_copy(NULL);
    for (size_t i = 0; i < v->n_networks; i++)
        strv_add(&names, v->networks[i].network);
    _cleanup_free_ char *joined = strv_join(names, ",");
    row_set(row, "Networks", v->n_networks ? joined : v->network);
}

static json_t *ps_row(const struct instance_view *v, bool whole, int64_t now_ns)
{
    json_t *row = json_object();
    _cleanup_free_ char *command = instance_command_text(v, whole), *ports = instance_ports_text(v);
    row_set(row, "ID", short_id(v->id, whole).s);
    row_set(row, "Kind", runtime_kind_name(v->kind));
    row_set(row, "Image", v->image_name ? v->image_name : short_id(v->image_id, whole).s);
    row_set(row, "Command", command);
    row_set_age(row, "RunningFor", "CreatedAt", v->created_ns);
    row_set(row, "Status", instance_status_text(v, now_ns).s);
    row_set(row, "State", instance_state_name(v->state));
    row_set(row, "Ports", ports);
    row_set(row, "Names", v->name);
    row_set_list(row, "Labels", v->options.labels);
    row_set_networks(row, v);
    set_mounts(row, v);
    return row;
}

static int handle_ps(struct cli *cli, void *values, char **args)
{
    struct ps_values *p = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct instance_view **list;
    (void)args;
    /* Asking for a state, or for the last N, means stopped ones too. */
    bool all = p->all || p->latest || p->last > 0 || has_filter(p->list.filters, "status") ||
               has_filter(p->list.filters, "exited");
    size_t most = p->latest ? 1 : p->last > 0 ? (size_t)p->last : SIZE_MAX;
    if (filters_check(p->list.filters, ps_filters, &err) < 0 || cli_engine(cli, &e, &err) < 0 ||
        engine_list(e, all, &list, &err) < 0)
        return cli_failed(&err);
    _cleanup_json_ json_t *rows = json_array();
    int64_t now_ns = time_now_ns();
    for (size_t i = 0; list[i] && json_array_size(rows) < most; i++)
        if (selected(list[i], p->list.filters))
            json_array_append_new(rows, ps_row(list[i], p->list.no_trunc, now_ns));
    engine_list_free(list);
    return list_print(&ps_spec, &p->list, rows, &err) < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_ps = {
    .name = "ps",
    .aliases = "container ls,container ps,container list",
    .usage = "[OPTIONS]",
    .summary = "List instances",
    .description = "Filters: name, id, status, label, ancestor, kind, network, volume, exited. "
                   "Several filters must all match; of several with one key, any may.",
    .sets = {OPTION_SET(ps_table)},
    .values_size = sizeof(struct ps_values),
    .section = SECTION_COMMON,
    .run = handle_ps,
};

static int handle_port(struct cli *cli, void *values, char **args)
{
    struct error err = ERROR_INIT;
    struct engine *e;
    _cleanup_view_ struct instance_view *v = NULL;
    bool found = false;
    (void)values;
    if (cli_engine(cli, &e, &err) < 0 || engine_view(e, args[0], &v, &err) < 0)
        return cli_failed(&err);
    _cleanup_free_ char *wanted = !args[1]               ? NULL
                                  : strchr(args[1], '/') ? xstrdup(args[1])
                                                         : xasprintf("%s/tcp", args[1]);
    for (size_t i = 0; i < v->n_ports; i++) {
        struct port_text t = port_text(&v->ports[i]);
        if (wanted && strcmp(wanted, t.inside) != 0)
            continue;
        found = true;
        printf(wanted ? "%.0s%s\n" : "%s -> %s\n", t.inside, t.outside);
    }
    if (!wanted || found)
        return 0;
    output_warning("no public port '%s' published for %s", wanted, args[0]);
    return 1;
}

const struct command cmd_port = {
    .name = "port",
    .aliases = "container port",
    .usage = "NAME [PRIVATE_PORT[/PROTO]]",
    .summary = "List the published ports of an instance",
    .min_args = 1,
    .max_args = 2,
    .completes = COMPLETES_RUNNING,
    .section = SECTION_OTHER,
    .run = handle_port,
};
