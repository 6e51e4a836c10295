/* network connect, disconnect, addresses. */
#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "engine/connect.h"
#include "front/cli/commands.h"
#include "front/cli/row.h"
#include "front/cli/session.h"

struct connect_values {
    char *ip, *ip6, *mac;
    char **aliases;
};
static const struct cli_option connect_table[] = {
    OPT_LIST(0, "alias", struct connect_values, aliases, "list", "Add a name on the network"),
    OPT_STRING(0, "ip", struct connect_values, ip, "string", "IPv4 address (172.30.100.104)"),
    OPT_STRING(0, "ip6", struct connect_values, ip6, "string", "IPv6 address (2001:db8::33)"),
    OPT_STRING(0, "mac-address", struct connect_values, mac, "string", "MAC address"),
    OPT_STRING(0, "mac", struct connect_values, mac, "string", NULL),
};

static int handle_connect(struct cli *cli, void *values, char **args)
{
    const struct connect_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct place place = {
        .network = args[0], .ip = v->ip, .ip6 = v->ip6, .mac = v->mac, .aliases = v->aliases};
    if (cli_engine(cli, &e, &err) < 0 || engine_network_connect(e, args[1], &place, &err) < 0)
        return cli_failed(&err);
    return 0;
}

const struct command cmd_network_connect = {
    .name = "network connect",
    .usage = "[OPTIONS] NETWORK INSTANCE",
    .summary = "Connect an instance to a network",
    .description = "A running container is connected at once. A machine gets the card at its next "
                   "start, so it must be stopped.",
    .sets = {OPTION_SET(connect_table)},
    .values_size = sizeof(struct connect_values),
    .min_args = 2,
    .max_args = 2,
    .completes = COMPLETES_NETWORK,
    .section = SECTION_GROUPED,
    .run = handle_connect,
};

struct disconnect_values {
    bool force;
};
static const struct cli_option disconnect_table[] = {
    OPT_FLAG('f', "force", struct disconnect_values, force, "Do not fail when it is not on it"),
};

static int handle_disconnect(struct cli *cli, void *values, char **args)
{
    const struct disconnect_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    if (cli_engine(cli, &e, &err) < 0 ||
        engine_network_disconnect(e, args[1], args[0], v->force, &err) < 0)
        return cli_failed(&err);
    return 0;
}

const struct command cmd_network_disconnect = {
    .name = "network disconnect",
    .usage = "[OPTIONS] NETWORK INSTANCE",
    .summary = "Disconnect an instance from a network",
    .sets = {OPTION_SET(disconnect_table)},
    .values_size = sizeof(struct disconnect_values),
    .min_args = 2,
    .max_args = 2,
    .completes = COMPLETES_NETWORK,
    .section = SECTION_GROUPED,
    .run = handle_disconnect,
};

struct addresses_values {
    struct list_values list;
};
static const struct cli_option addresses_table[] = {LIST_OPTIONS(struct addresses_values)};

static const struct column addresses_columns[] = {
    {"NETWORK", "Network", true}, {"ADDRESS", "Address", true},   {"ADDRESS6", "Address6", true},
    {"MAC", "MAC", true},         {"INSTANCE", "Instance", true}, {"STATE", "State", true},
    {"ID", "ID", false},
};
static const struct list_spec addresses_spec = {addresses_columns, ARRAY_SIZE(addresses_columns),
                                                "Address"};
static const char *const addresses_filters[] = {"name", "state", NULL};

/* "in use", "reserved", or the network's own. */
static const char *state_of(const struct address_view *v)
{
    return !v->instance_id ? "gateway" : v->in_use ? "in use" : "reserved";
}

static bool is_shown(const struct address_view *v, char *const *filters)
{
    for (size_t i = 0; filters && filters[i]; i++) {
        const char *w = filter_value(filters[i], "name");
        if (w ? !v->name || strcmp(v->name, w) != 0
              : strcmp(state_of(v), filter_value(filters[i], "state")) != 0)
            return false;
    }
    return true;
}

static void add_rows(json_t *rows, const struct address_view *list, const struct list_values *how)
{
    for (const struct address_view *v = list; v->network; v++) {
        if (!is_shown(v, how->filters))
            continue;
        json_t *row = json_object();
        row_set(row, "Network", v->network);
        row_set(row, "Address", v->address);
        row_set(row, "Address6", v->address6);
        row_set(row, "MAC", v->mac);
        row_set(row, "Instance", v->name);
        row_set(row, "State", state_of(v));
        row_set(row, "ID", v->instance_id ? short_id(v->instance_id, how->no_trunc).s : NULL);
        json_array_append_new(rows, row);
    }
}

static int handle_addresses(struct cli *cli, void *values, char **args)
{
    const struct addresses_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    _cleanup_json_ json_t *rows = json_array();
    static char *all[] = {NULL};
    if (filters_check(v->list.filters, addresses_filters, &err) < 0 ||
        cli_engine(cli, &e, &err) < 0)
        return cli_failed(&err);
    char **names = args[0] ? args : all;
    for (size_t i = 0; i == 0 || names[i]; i++) {
        struct address_view *list;
        if (engine_addresses(e, names[i], &list, &err) < 0)
            return cli_failed(&err);
        add_rows(rows, list, &v->list);
        address_views_free(list);
        if (!names[i])
            break;
    }
    return list_print(&addresses_spec, &v->list, rows, &err) < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_network_addresses = {
    .name = "network addresses",
    .usage = "[OPTIONS] [NETWORK...]",
    .summary = "Show who has which address, running or reserved",
    .description = "Filters: name, state (gateway, in use, reserved).",
    .sets = {OPTION_SET(addresses_table)},
    .values_size = sizeof(struct addresses_values),
    .max_args = ARGS_MANY,
    .completes = COMPLETES_NETWORK,
    .section = SECTION_GROUPED,
    .run = handle_addresses,
};
