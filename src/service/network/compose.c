/*
 * The whole tables as text, from what the store says: for their first time, and whenever somebody
 * has taken them away.
 */
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "service/network/connections.h"
#include "service/network/network-internal.h"
#include "service/network/rules.h"
#include "service/network/span.h"
#include "service/network/tunnel.h"

/* Every set and map, in the order of their declarations. */
enum {
    BRIDGES,
    INTERNAL,
    ISOLATED,
    WITHOUT6,
    SAME,
    PLACES,
    GATEWAYS,
    CLOSED,
    CLOSED6,
    MEMBERS,
    MEMBERS6,
    RESOLVERS,
    PRIORITIES,
    PRIORITIES6,
    TUNNELS,
    TUNNEL_PEERS,
    SEALED,
    TELLER_PORTS,
    TELLERS,
    PUBLISHED,
    PUBLISHED_ANY,
    PUBLISHED6,
    PUBLISHED6_ANY,
    COUNTED,
    FEW,
    MANY,
    INET_SETS,
    RATES = INET_SETS,
    PREFERRED,
    LINKS,
    MACS,
    FREE,
    PORTS,
    PORTS6,
    TARGETS6,
    ALL_SETS
};
static const struct {
    const char *what, *name, *type;
} sets[ALL_SETS] = {
    [BRIDGES] = {"set", "bridges", "type ifname"},
    [INTERNAL] = {"set", "internal", "type ifname"},
    [ISOLATED] = {"set", "isolated", "type ifname"},
    [WITHOUT6] = {"set", "without6", "type ifname"},
    [SAME] = {"set", "same", "type ifname . ifname"},
    [PLACES] = {"set", "places", "type ifname . ipv4_addr"},
    [GATEWAYS] = {"set", "gateways", "type ipv4_addr"},
    [CLOSED] = {"set", "closed", "type ifname"},
    [CLOSED6] = {"set", "closed6", "type ifname"},
    [MEMBERS] = {"set", "members", "type ipv4_addr"},
    [MEMBERS6] = {"set", "members6", "type ipv6_addr"},
    [RESOLVERS] = {"map", "resolvers", "type ipv4_addr : inet_service"},
    [PRIORITIES] = {"map", "priorities", "type ipv4_addr : classid"},
    [PRIORITIES6] = {"map", "priorities6", "type ipv6_addr : classid"},
    [TUNNELS] = {"set", "tunnels", "typeof udp dport . @th,96,24"},
    [TUNNEL_PEERS] = {"set", "tunnel_peers", "typeof ip saddr . udp dport . @th,96,24"},
    [SEALED] = {"set", "sealed", "typeof udp dport . @th,96,24"},
    [TELLER_PORTS] = {"set", "teller_ports", "type inet_service"},
    [TELLERS] = {"set", "tellers", "type ipv4_addr . inet_service"},
    [PUBLISHED] = {"map", "published",
                   "type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service"},
    [PUBLISHED_ANY] = {"map", "published_any",
                       "type inet_proto . inet_service : ipv4_addr . inet_service"},
    [PUBLISHED6] = {"map", "published6",
                    "type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service"},
    [PUBLISHED6_ANY] = {"map", "published6_any",
                        "type inet_proto . inet_service : ipv6_addr . inet_service"},
    [COUNTED] = {"map", "counted", "type ifname . ether_addr : verdict"},
    /* each element has a number of its own */
    [FEW] = {"set", "few", "type ifname . ether_addr; ct count over 1024"},
    [MANY] = {"set", "many", "typeof iifname . ether saddr . @th,0,32; ct count over 1024"},
    [RATES] = {"map", "rates", "type ifname : limit"},
    [PREFERRED] = {"map", "preferred", "type ifname : classid"},
    [LINKS] = {"set", "links", "type ifname"},
    [MACS] = {"set", "macs", "type ifname . ether_addr"},
    [FREE] = {"set", "free", "type ifname . ether_addr"},
    /* a table of fixed size: every packet looks into it */
    [PORTS] = {"set", "ports", "type ifname . ether_addr . ipv4_addr; size 16384"},
    [PORTS6] = {"set", "ports6", "type ifname . ether_addr . ipv6_addr"},
    [TARGETS6] = {"set", "targets6", "typeof iifname . @th,64,128"},
};

struct elements {
    struct buf of[ALL_SETS];
    struct buf limits; /* objects that `rates` names */
    bool failed;
};

static void elements_done(struct elements *e)
{
    for (size_t i = 0; i < ALL_SETS; i++)
        buf_done(&e->of[i]);
    buf_done(&e->limits);
}

#define put_text(e, set, ...) ((e)->failed |= buf_addf(&(e)->of[set], __VA_ARGS__) < 0)

static void elements_of_network(struct elements *e, const struct network *n)
{
    struct address_text gateway = address_text(n->gateway);
    put_text(e, BRIDGES, "\"%s\",", n->bridge);
    if (n->internal)
        put_text(e, INTERNAL, "\"%s\",", n->bridge);
    if (n->isolated)
        put_text(e, ISOLATED, "\"%s\",", n->bridge);
    if (n->prefix6 == 0)
        put_text(e, WITHOUT6, "\"%s\",", n->bridge);
    for (size_t i = 0; n->vxlan_id && n->peers[i]; i++) {
        struct address_text peer = address_text(tunnel_peer_address(n, i));
        put_text(e, TUNNEL_PEERS, "%s . %u . 0x%06x,", peer.s, n->vxlan_port, n->vxlan_id);
        put_text(e, TELLERS, "%s . %u,", peer.s, span_port(n));
    }
    if (tunnel_is_sealed(n))
        put_text(e, SEALED, "%u . 0x%06x,", n->vxlan_port, n->vxlan_id);
    if (n->vxlan_id) {
        put_text(e, TUNNELS, "%u . 0x%06x,", n->vxlan_port, n->vxlan_id);
        put_text(e, TELLER_PORTS, "%u,", span_port(n));
    }
    put_text(e, SAME, "\"%s\" . \"%s\",", n->bridge, n->bridge);
    put_text(e, PLACES, "\"%s\" . %s,", n->bridge, gateway.s);
    put_text(e, GATEWAYS, "%s,", gateway.s);
}

static void elements_of_publish6(struct elements *e, const struct store_publish *row)
{
    const struct network_publish *p = &row->publish;
    struct address6_text target = address6_text(&row->target6),
                         host = address6_text(&p->host_address6);
    if (IN6_IS_ADDR_UNSPECIFIED(&row->target6))
        return;
    if (publish_is_any(p))
        put_text(e, PUBLISHED6_ANY, "%s . %u : %s . %u,", protocol_name(p->protocol), p->host_port,
                 target.s, p->port);
    else
        put_text(e, PUBLISHED6, "%s . %s . %u : %s . %u,", host.s, protocol_name(p->protocol),
                 p->host_port, target.s, p->port);
}

static void elements_of_publish(struct elements *e, const struct store_publish *row)
{
    const struct network_publish *p = &row->publish;
    struct address_text target = address_text(row->target), host = address_text(p->host_address);
    if (row->target.s_addr == 0)
        return;
    if (publish_is_any(p))
        put_text(e, PUBLISHED_ANY, "%s . %u : %s . %u,", protocol_name(p->protocol), p->host_port,
                 target.s, p->port);
    else
        put_text(e, PUBLISHED, "%s . %s . %u : %s . %u,", host.s, protocol_name(p->protocol),
                 p->host_port, target.s, p->port);
}

static void elements_of_address6(struct elements *e, const struct store_port *p,
                                 const struct in6_addr *address)
{
    put_text(e, PORTS6, "\"%s\" . %s . %s,", p->link, p->mac, address6_text(address).s);
    put_text(e, TARGETS6, "\"%s\" . 0x", p->link);
    for (size_t i = 0; i < 16; i++)
        put_text(e, TARGETS6, "%02x", address->s6_addr[i]);
    put_text(e, TARGETS6, ",");
}

static void elements_of_rate(struct elements *e, const struct store_port *p)
{
    if (p->rate.out == 0)
        return;
    e->failed |= buf_addf(&e->limits, "limit %1$s { " RATE_LIMIT " }\n", p->link,
                          (unsigned long long)p->rate.out,
                          (unsigned long long)rate_burst_out(p->rate.out)) < 0;
    put_text(e, RATES, "\"%s\" : \"%s\",", p->link, p->link);
}

/* A class is written as two numbers of hexadecimal digits. */
static void elements_of_priority(struct elements *e, const struct store_port *p)
{
    uint32_t number = priority_number(p->priority);
    if (number == 0)
        return;
    put_text(e, PREFERRED, "\"%s\" : 0:%x,", p->link, number);
    if (p->address.s_addr)
        put_text(e, PRIORITIES, "%s : 0:%x,", address_text(p->address).s, number);
    if (!IN6_IS_ADDR_UNSPECIFIED(&p->address6))
        put_text(e, PRIORITIES6, "%s : 0:%x,", address6_text(&p->address6).s, number);
}

static void elements_of_connections(struct elements *e, struct network *const *networks,
                                    const struct store_port *p)
{
    struct connections_count count;
    for (size_t i = 0; networks[i]; i++) {
        const char *bridge = connections_bridge(networks[i]);
        if (strcmp(networks[i]->name, p->network) != 0 || networks[i]->driver != NETWORK_BRIDGE ||
            !connections_count(p, &count))
            continue;
        put_text(e, COUNTED, "\"%s\" . %s : goto %s,", bridge, p->mac, count.chain);
        if (count.lists == 1)
            put_text(e, FEW, "\"%s\" . %s ct count over %u,", bridge, p->mac, count.most);
        for (uint32_t k = 0; count.lists > 1 && k < count.lists; k++)
            put_text(e, MANY, "\"%s\" . %s . %u ct count over %u,", bridge, p->mac, k, count.most);
    }
}

static void elements_of_port(struct elements *e, const struct store_port *p)
{
    struct address_text address = address_text(p->address);
    struct link_mac mac;
    put_text(e, LINKS, "\"%s\",", p->link);
    if (link_mac_parse(p->mac, &mac) < 0)
        return;
    struct in6_addr link_local = link_local_address(&mac);
    put_text(e, MACS, "\"%s\" . %s,", p->link, p->mac);
    if (p->address.s_addr) {
        put_text(e, MEMBERS, "%s,", address.s);
        put_text(e, PORTS, "\"%s\" . %s . %s,", p->link, p->mac, address.s);
    } else if (!p->lease) {
        put_text(e, FREE, "\"%s\" . %s,", p->link, p->mac);
    }
    if (IN6_IS_ADDR_UNSPECIFIED(&p->address6))
        return;
    put_text(e, MEMBERS6, "%s,", address6_text(&p->address6).s);
    elements_of_address6(e, p, &p->address6);
    elements_of_address6(e, p, &link_local);
}

static void elements_of_resolver(struct store *s, struct elements *e, const struct store_port *p)
{
    uint16_t port = p->address.s_addr ? learner_port(s, p->instance_id) : 0;
    if (!port && p->address.s_addr)
        port = resolver_port(s, p->instance_id);
    if (port)
        put_text(e, RESOLVERS, "%s : %u,", address_text(p->address).s, port);
}

static int collect_rows(struct store *s, struct elements *e, struct error *err)
{
    struct network **networks = NULL;
    struct store_port *ports = NULL;
    struct store_publish *publish = NULL;
    int r = store_network_list(s, &networks, err);
    if (r == 0)
        r = store_port_list(s, NULL, &ports, err);
    if (r == 0)
        r = store_publish_list(s, NULL, &publish, err);
    for (size_t i = 0; r == 0 && networks[i]; i++)
        if (!networks[i]->parent)
            elements_of_network(e, networks[i]);
    for (struct store_port *p = ports; r == 0 && p->instance_id; p++)
        if (p->attached) {
            elements_of_port(e, p);
            elements_of_rate(e, p);
            elements_of_priority(e, p);
            elements_of_connections(e, networks, p);
            elements_of_resolver(s, e, p);
        }
    for (struct store_publish *p = publish; r == 0 && p->instance_id; p++) {
        if (p->publish.ipv6)
            elements_of_publish6(e, p);
        else
            elements_of_publish(e, p);
    }
    network_list_free(networks);
    store_port_list_free(ports);
    store_publish_list_free(publish);
    return r;
}

/* The links that bridge_up noted when it switched forwarding on. */
static void collect_closed(struct store *s, struct elements *e, const char *file, int set)
{
    _cleanup_free_ char *path = path_join(s->run, file), *text = NULL;
    if (file_read(AT_FDCWD, path, 65536, &text) < 0)
        return;
    _cleanup_strv_ char **names = strv_split(text, '\n');
    for (size_t i = 0; names[i]; i++)
        if (*names[i])
            put_text(e, set, "\"%s\",", names[i]);
}

static int put_sets(struct buf *out, const struct elements *e, int first, int end)
{
    int r = 0;
    for (int i = first; r >= 0 && i < end; i++) {
        if (e->of[i].len == 0)
            r = buf_addf(out, "%s %s { %s; }\n", sets[i].what, sets[i].name, sets[i].type);
        else
            r = buf_addf(out, "%s %s { %s; elements = { %s } }\n", sets[i].what, sets[i].name,
                         sets[i].type, e->of[i].data);
    }
    return r;
}

/* `table x` before `delete table x` makes the deletion work whether it was there or not. */
static int put_tables(struct buf *out, const struct elements *e, const char *name)
{
    _cleanup_free_ char *bridge = xasprintf("bridge %s", name);
    int r = buf_addf(out,
                     "table inet %1$s\ndelete table inet %1$s\n"
                     "table bridge %1$s\ndelete table bridge %1$s\n"
                     "table inet %1$s {\nset " RULES_VERSION " { type mark; elements = { 1 } }\n",
                     name);
    if (r == 0)
        r = put_sets(out, e, 0, INET_SETS);
    if (r == 0)
        r = connections_put(out);
    if (r == 0)
        r = buf_addf(out, "%s}\n", rules_inet_chains);
    if (r == 0)
        r = refused_put(out, bridge, "refuse", "iifname");
    if (r == 0)
        r = buf_addf(out, "table %s {\n", bridge);
    if (r == 0)
        r = buf_add(out, e->limits.data, e->limits.len);
    if (r == 0)
        r = put_sets(out, e, INET_SETS, ALL_SETS);
    if (r == 0)
        r = buf_addf(out, "%s}\n", rules_bridge_chains);
    if (r == 0 && e->of[RATES].len + e->of[PREFERRED].len)
        r = rules_put_special(out, name);
    return r;
}

int rules_compose(struct store *s, struct buf *out, struct error *err)
{
    struct elements e = {.failed = false};
    for (size_t i = 0; i < ALL_SETS; i++)
        e.of[i].max = RULESET_MAX;
    e.limits.max = RULESET_MAX;
    int r = collect_rows(s, &e, err);
    collect_closed(s, &e, "networks/closed", CLOSED);
    collect_closed(s, &e, "networks/closed6", CLOSED6);
    bool failed = e.failed || put_tables(out, &e, store_table(s, RULES_TABLE).name) < 0;
    elements_done(&e);
    if (r == 0 && failed)
        r = error_set(err, ERROR_LIMIT, EFBIG, "the ruleset is too large");
    return r;
}
