/* network create, ls, rm. */
#include <arpa/inet.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/text.h"
#include "engine/system.h"
#include "front/cli/commands.h"
#include "front/cli/row.h"
#include "front/cli/session.h"
#include "service/network/network.h"
#include "service/network/seal.h"
#include "service/store/policy.h"

struct create_values {
    char *driver;
    char *range, *parent, *peer_key;
    char **subnets, **gateways, **labels, **options, **peers;
    uint32_t vxlan_id, vxlan_port, wireguard_port;
    bool default_deny, internal, ipv6, isolate;
};
static const struct cli_option create_table[] = {
    OPT_FLAG(0, "default-deny", struct create_values, default_deny,
             "Allow its instances nothing that no policy allows"),
    OPT_STRING('d', "driver", struct create_values, driver, "string",
               "Driver: bridge, or macvlan for a place on the LAN of --parent"),
    OPT_LIST(0, "gateway", struct create_values, gateways, "string",
             "Gateway of the subnet of its family"),
    OPT_FLAG(0, "internal", struct create_values, internal, "No way out of the network"),
    OPT_STRING(0, "ip-range", struct create_values, range, "string",
               "Part of the subnet to give addresses out of (10.1.0.128/25)"),
    OPT_FLAG(0, "ipv6", struct create_values, ipv6,
             "IPv6, too; without a subnet for it a random local one"),
    OPT_FLAG(0, "isolate", struct create_values, isolate,
             "Keep the network's instances from each other"),
    OPT_KEY_VALUE(0, "label", struct create_values, labels, "list", "Set metadata"),
    OPT_KEY_VALUE('o', "opt", struct create_values, options, "map",
                  "Options: mtu=1400, parent=LINK"),
    OPT_STRING(
        0, "parent", struct create_values, parent, "link",
        "Put instances on the LAN: by this bridge of the host's, or with macvlan by this link; "
        "without --subnet the LAN's DHCP gives addresses"),
    OPT_LIST(
        0, "peer", struct create_values, peers, "address[=key]",
        "Another host that the network spans (IPv4); with the key that `proa network key` says "
        "there, what is sent is encrypted (WireGuard)"),
    OPT_STRING(
        0, "peer-key", struct create_values, peer_key, "file",
        "File with a line that all the hosts have: what they tell each other is believed with it "
        "only"),
    OPT_LIST(0, "subnet", struct create_values, subnets, "string",
             "Subnet (10.1.0.0/24); otherwise the next free one. One more for IPv6 (fd00:1::/64)"),
    OPT_U32(0, "vxlan-id", struct create_values, vxlan_id, "number",
            "Span several hosts with the VXLAN of this number"),
    OPT_U32(0, "vxlan-port", struct create_values, vxlan_port, "port",
            "UDP port of the VXLAN (4789)"),
    OPT_U32(0, "wireguard-port", struct create_values, wireguard_port, "port",
            "UDP port of WireGuard, the same on all hosts (51820)"),
};

static int fill_options(const struct create_values *v, struct network_options *o, struct error *err)
{
    if (v->vxlan_port > UINT16_MAX)
        return error_invalid(err, "UDP port %u: at most 65535", v->vxlan_port);
    if (v->wireguard_port > UINT16_MAX)
        return error_invalid(err, "UDP port %u: at most 65535", v->wireguard_port);
    if (v->driver && network_driver_from_name(v->driver, &o->driver) < 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "there is no network driver \"%s\": say bridge or macvlan", v->driver);
    for (size_t i = 0; v->options && v->options[i]; i++) {
        const char *mtu = filter_value(v->options[i], "mtu"),
                   *parent = filter_value(v->options[i], "parent");
        if (parent && (!o->parent || strcmp(o->parent, parent) == 0)) {
            o->parent = parent;
            continue;
        }
        if (!mtu)
            mtu = filter_value(v->options[i], "com.docker.network.driver.mtu");
        uint64_t value;
        if (!mtu || parse_u64(mtu, UINT16_MAX, &value) < 0)
            return error_invalid(err,
                                 "invalid network option \"%s\": mtu=N and parent=LINK are known",
                                 v->options[i]);
        o->mtu = (uint16_t)value;
    }
    if (o->parent && v->default_deny)
        return error_invalid(err, "--default-deny: what goes over the LAN does not pass this host");
    return 0;
}

static int handle_create(struct cli *cli, void *values, char **args)
{
    const struct create_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    _cleanup_network_ struct network *n = NULL;
    struct network_options o = {.name = args[0],
                                .subnets = v->subnets,
                                .gateways = v->gateways,
                                .ipv6 = v->ipv6,
                                .internal = v->internal,
                                .isolated = v->isolate,
                                .range = v->range,
                                .parent = v->parent,
                                .vxlan_id = v->vxlan_id,
                                .vxlan_port = (uint16_t)v->vxlan_port,
                                .wireguard_port = (uint16_t)v->wireguard_port,
                                .peers = v->peers,
                                .peer_key = v->peer_key,
                                .labels = v->labels};
    if (fill_options(v, &o, &err) < 0 || cli_engine(cli, &e, &err) < 0 ||
        network_create(e->store, &o, &n, &err) < 0)
        return cli_failed(&err);
    if (v->default_deny && store_policy_set_default_deny(e->store, n->id, &err) < 0) {
        (void)!network_remove(e->store, n->id, NULL);
        return cli_failed(&err);
    }
    puts(n->id);
    return 0;
}

const struct command cmd_network_create = {
    .name = "network create",
    .usage = "[OPTIONS] NETWORK",
    .summary = "Create a network",
    .sets = {OPTION_SET(create_table)},
    .values_size = sizeof(struct create_values),
    .min_args = 1,
    .max_args = 1,
    .section = SECTION_GROUPED,
    .run = handle_create,
};

static int handle_key(struct cli *cli, void *values, char **args)
{
    struct error err = ERROR_INIT;
    struct engine *e;
    _cleanup_free_ char *key = NULL;
    (void)values;
    (void)args;
    if (cli_engine(cli, &e, &err) < 0 || network_public_key(e->store, &key, &err) < 0)
        return cli_failed(&err);
    puts(key);
    return 0;
}

const struct command cmd_network_key = {
    .name = "network key",
    .usage = "",
    .summary = "Print this host's public key for networks over several hosts",
    .description =
        "The other hosts name it in --peer ADDRESS=KEY of `network create`, and this one "
        "names theirs: then what the hosts send each other on that network is in "
        "WireGuard. The key is made when it is first asked for; its private half stays "
        "in the state directory.",
    .section = SECTION_GROUPED,
    .run = handle_key,
};

struct ls_values {
    struct list_values list;
};
static const struct cli_option ls_table[] = {LIST_OPTIONS(struct ls_values)};

static const struct column ls_columns[] = {
    {"NETWORK ID", "ID", true},         {"NAME", "Name", true, true},
    {"DRIVER", "Driver", true},         {"SUBNET", "Subnet", true},
    {"SUBNET6", "Subnet6", false},      {"SCOPE", "Scope", true},
    {"INTERNAL", "Internal", false},    {"CREATED AT", "CreatedAt", false},
    {"CREATED", "CreatedSince", false}, {"LABELS", "Labels", false},
};
static const struct list_spec ls_spec = {ls_columns, ARRAY_SIZE(ls_columns), "ID"};
static const char *const ls_filters[] = {"name", "id", "label", "driver", NULL};

static bool network_matches(const struct network *n, const char *filter)
{
    const char *w;
    if ((w = filter_value(filter, "name")))
        return strstr(n->name, w) != NULL;
    if ((w = filter_value(filter, "id")))
        return strncmp(n->id, w, strlen(w)) == 0;
    if ((w = filter_value(filter, "label")))
        return label_matches(n->labels, w);
    return strcmp(filter_value(filter, "driver"), network_driver_name(n->driver)) == 0;
}

/* Empty where there is none. */
static void row_set_subnet(json_t *row, const char *key, int family, const void *address,
                           unsigned prefix)
{
    char text[INET6_ADDRSTRLEN + 5] = "";
    if (prefix && inet_ntop(family, address, text, INET6_ADDRSTRLEN))
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "/%u", prefix);
    row_set(row, key, text);
}

static json_t *network_row(const struct network *n, bool whole)
{
    json_t *row = json_object();
    row_set(row, "ID", short_id(n->id, whole).s);
    row_set(row, "Name", n->name);
    row_set(row, "Driver", network_driver_name(n->driver));
    row_set_subnet(row, "Subnet", AF_INET, &n->subnet, n->prefix);
    row_set_subnet(row, "Subnet6", AF_INET6, &n->subnet6, n->prefix6);
    row_set(row, "Scope", "local");
    row_set(row, "Internal", n->internal ? "true" : "false");
    row_set_age(row, "CreatedSince", "CreatedAt", n->created_ns);
    row_set_list(row, "Labels", n->labels);
    return row;
}

static int handle_ls(struct cli *cli, void *values, char **args)
{
    const struct ls_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct network **list;
    (void)args;
    if (filters_check(v->list.filters, ls_filters, &err) < 0 || cli_engine(cli, &e, &err) < 0 ||
        network_list(e->store, &list, &err) < 0)
        return cli_failed(&err);
    _cleanup_json_ json_t *rows = json_array();
    for (size_t i = 0; list[i]; i++) {
        bool shown = true;
        for (size_t f = 0; v->list.filters && v->list.filters[f]; f++)
            shown &= network_matches(list[i], v->list.filters[f]);
        if (shown)
            json_array_append_new(rows, network_row(list[i], v->list.no_trunc));
    }
    network_list_free(list);
    return list_print(&ls_spec, &v->list, rows, &err) < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_network_ls = {
    .name = "network ls",
    .aliases = "network list",
    .usage = "[OPTIONS]",
    .summary = "List networks",
    .description = "Filters: name, id, label, driver.",
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
    int r = engine_network_remove(e, name, err);
    return r < 0 && v->force && err->kind == ERROR_NOT_FOUND ? 1 : r;
}

static int handle_rm(struct cli *cli, void *values, char **args)
{
    return cli_for_each(cli, args, true, rm_one, values);
}

const struct command cmd_network_rm = {
    .name = "network rm",
    .aliases = "network remove",
    .usage = "[OPTIONS] NETWORK [NETWORK...]",
    .summary = "Remove one or more networks",
    .sets = {OPTION_SET(rm_table)},
    .values_size = sizeof(struct rm_values),
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_NETWORK,
    .section = SECTION_GROUPED,
    .run = handle_rm,
};
