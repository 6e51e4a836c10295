/* Which addresses a port gets, and its row in the store. */
#include <arpa/inet.h>
#include <string.h>

#include "base/alloc.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/network/connections.h"
#include "service/network/network-internal.h"
#include "service/network/rules.h"
#include "service/network/tunnel.h"

#define ALIASES_MAX 64

int request_check(const struct network_request *q, const struct network *n, struct error *err)
{
    struct link_mac mac;
    size_t aliases = strv_len(q->aliases);
    int r = process_is_host_root() ? 0 : pasta_check(q, err);
    if (r < 0)
        return r;
    if (!is_hex(q->instance_id, 64))
        return error_invalid(err, "%.80s is not an instance id", q->instance_id);
    if (q->mac && link_mac_parse(q->mac, &mac) < 0)
        return error_invalid(err, "%.32s is not a hardware address such as 02:50:00:00:00:01",
                             q->mac);
    if (n->parent && q->n_publish > 0)
        return error_invalid(err,
                             "network %s is the LAN's: its instances are reached by their own "
                             "addresses, and no port can be published from it",
                             n->name);
    if (n->driver == NETWORK_MACVLAN && (q->rate.in || q->rate.out))
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "--network-rate: what is on macvlan %s does not pass this host", n->name);
    if (n->driver == NETWORK_MACVLAN && q->priority != NETWORK_PRIORITY_NORMAL && !q->machine)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "--network-priority: what a container sends on macvlan %s does not pass "
                         "this host",
                         n->name);
    if ((r = connections_check(n, q->connections, err)) < 0)
        return r;
    if (n->internal && q->n_publish > 0)
        return error_invalid(err, "network %s is internal: no port can be published from it",
                             n->name);
    if (aliases > ALIASES_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG, "more than %d aliases", ALIASES_MAX);
    if (!names_valid(q->instance_name) || (q->hostname && !names_valid(q->hostname)))
        return error_invalid(err, "\"%.64s\" cannot be resolved: use letters, digits, _ . -",
                             q->hostname ? q->hostname : q->instance_name);
    for (size_t i = 0; i < aliases; i++)
        if (!names_valid(q->aliases[i]))
            return error_invalid(err, "alias \"%.64s\": use letters, digits, _ . -", q->aliases[i]);
    return 0;
}

static int taken(const char *address, const char *holder, struct error *err)
{
    return error_set(err, ERROR_CONFLICT, EADDRINUSE, "address %s is in use by %.12s", address,
                     holder);
}

/* The other hosts would not believe that it is here. */
static int not_of_part(const char *address, const struct network *n, struct error *err)
{
    struct address_text range = address_text(n->range);
    if (!strchr(address, ':'))
        return error_invalid(err, "address %s is another host's to give: this one has %s/%u",
                             address, range.s, n->range_prefix);
    struct in6_addr first = subnet6_address(&n->subnet6,
                                            ntohl(n->range.s_addr) - ntohl(n->subnet.s_addr)),
                    last = subnet6_address(&n->subnet6,
                                           (ntohl(n->range.s_addr) - ntohl(n->subnet.s_addr)) |
                                               (0xffffffffu >> n->range_prefix));
    return error_invalid(err, "address %s is another host's to give: this one has %s to %s",
                         address, address6_text(&first).s, address6_text(&last).s);
}

static int fixed_address(struct store *s, const struct network_request *q, const struct network *n,
                         struct in_addr *ret, struct error *err)
{
    _cleanup_free_ char *holder = NULL;
    int r = address_parse(q->address, ret, err);
    if (r < 0)
        return r;
    if (!subnet_has(n->subnet, n->prefix, *ret) || ret->s_addr == n->gateway.s_addr)
        return error_invalid(err, "address %s: not a free one in %s/%u (gateway %s)", q->address,
                             address_text(n->subnet).s, n->prefix, address_text(n->gateway).s);
    if (n->vxlan_id && !part_has(n, *ret))
        return not_of_part(q->address, n, err);
    r = store_port_holder(s, n->name, *ret, &holder, err);
    if (r == 0 && holder && strcmp(holder, q->instance_id) != 0)
        return taken(q->address, holder, err);
    return r;
}

/* Its address from last time if that still fits what is asked for, else another one. */
static int choose_address(struct store *s, const struct network_request *q, const struct network *n,
                          const struct store_port *old, struct in_addr *ret, struct error *err)
{
    if (n->prefix == 0 && q->address)
        return error_invalid(err, "network %s has no subnet to take address %s from", n->name,
                             q->address);
    if (q->address)
        return fixed_address(s, q, n, ret, err);
    *ret = lan_gives(n, q) ? (struct in_addr){0} : old->address;
    if (n->prefix == 0 || old->address.s_addr != 0)
        return 0;
    return store_port_next_address(s, n, ret, err);
}

static int fixed_address6(struct store *s, const struct network_request *q, const struct network *n,
                          struct in6_addr *ret, struct error *err)
{
    _cleanup_free_ char *holder = NULL;
    int r = address6_parse(q->address6, ret, err);
    if (r < 0)
        return r;
    if (!subnet6_has(&n->subnet6, n->prefix6, ret) || IN6_ARE_ADDR_EQUAL(ret, &n->gateway6))
        return error_invalid(err, "address %s: not a free one in %s/%u (gateway %s)", q->address6,
                             address6_text(&n->subnet6).s, n->prefix6,
                             address6_text(&n->gateway6).s);
    if (n->vxlan_id && !part6_has(n, ret))
        return not_of_part(q->address6, n, err);
    r = store_port_holder6(s, n->name, ret, &holder, err);
    if (r == 0 && holder && strcmp(holder, q->instance_id) != 0)
        return taken(q->address6, holder, err);
    return r;
}

/* The IPv4 address' number in its subnet is the IPv6 one's, too: unique where that is, and easy to
 * read. Where somebody asked for that very address, the number gets one more digit in front. */
static int choose_address6(struct store *s, const struct network_request *q,
                           const struct network *n, const struct store_port *old,
                           struct in_addr address, struct in6_addr *ret, struct error *err)
{
    *ret = in6addr_any;
    if (n->prefix6 == 0 && q->address6)
        return error_invalid(err, "network %s has no IPv6 subnet to take address %s from", n->name,
                             q->address6);
    if (n->prefix6 == 0)
        return 0;
    if (q->address6)
        return fixed_address6(s, q, n, ret, err);
    if (!IN6_IS_ADDR_UNSPECIFIED(&old->address6) && old->address.s_addr == address.s_addr) {
        *ret = old->address6;
        return 0;
    }
    uint32_t number = ntohl(address.s_addr) - ntohl(n->subnet.s_addr);
    for (uint8_t front = 0; front < 16; front++) {
        _cleanup_free_ char *holder = NULL;
        struct in6_addr a = subnet6_address(&n->subnet6, number | (uint32_t)front << 28);
        int r = store_port_holder6(s, n->name, &a, &holder, err);
        if (r < 0)
            return r;
        bool good = !holder || strcmp(holder, q->instance_id) == 0;
        if (!good || IN6_ARE_ADDR_EQUAL(&a, &n->gateway6))
            continue;
        *ret = a;
        return 0;
    }
    return error_set(err, ERROR_LIMIT, EADDRNOTAVAIL, "network %s has no free IPv6 address",
                     n->name);
}

/* The hardware address follows from the IP address: unique where that is, and the same again after
 * a restart, so that nobody's ARP cache goes stale. On a network whose addresses are not ours to
 * give it follows from the instance. */
static char *derive_mac(const char *instance_id, struct in_addr address, uint8_t position)
{
    const uint8_t *a = (const uint8_t *)&address.s_addr;
    if (address.s_addr)
        return xasprintf("02:51:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3]);
    return xasprintf("02:52:%.2s:%.2s:%.2s:%x%.1s", instance_id, instance_id + 2, instance_id + 4,
                     position & 15u, instance_id + 6);
}

static int find_old(struct store *s, const struct network_request *q, const struct network *n,
                    struct store_port *ret, struct error *err)
{
    struct error why = ERROR_INIT;
    int r = store_port_get(s, q->instance_id, n->name, ret, &why);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        *err = why;
    return r;
}

/* Of a machine that runs and finds its cards itself the next one: so its cards are, as long as that
 * can be, in the order in which its next start would make them. */
static uint8_t first_position(const struct network_request *q, uint32_t used)
{
    uint8_t next = used ? (uint8_t)(32 - __builtin_clz(used)) : 0;
    return q->more && q->asks && next < NETWORK_PORTS_MAX ? next : 0;
}

/* The lowest position that no other port of the instance has. */
static int choose_position(struct store *s, const struct network_request *q,
                           const struct network *n, uint8_t *ret, struct error *err)
{
    struct store_port *ports;
    uint32_t used = 0;
    int r = store_port_of(s, q->instance_id, &ports, err);
    if (r < 0)
        return r;
    for (struct store_port *p = ports; p->instance_id; p++)
        if (p->attached && strcmp(p->network, n->name) != 0)
            used |= 1u << p->position;
    store_port_list_free(ports);
    for (uint8_t i = first_position(q, used); i < NETWORK_PORTS_MAX; i++)
        if (!(used & 1u << i)) {
            *ret = i;
            return 0;
        }
    return error_set(err, ERROR_LIMIT, E2BIG, "an instance can be on %d networks at most",
                     NETWORK_PORTS_MAX);
}

int network_check(struct store *s, const struct network_request *q, struct error *err)
{
    _cleanup_network_ struct network *n = NULL;
    struct store_port old = {NULL};
    struct in_addr address;
    struct in6_addr address6;
    int r = network_find(s, q->network, &n, err);
    if (r == 0)
        r = request_check(q, n, err);
    if (r == 0 && q->address)
        r = choose_address(s, q, n, &old, &address, err);
    if (r == 0 && q->address6)
        r = choose_address6(s, q, n, &old, (struct in_addr){0}, &address6, err);
    return r;
}

int port_record(struct store *s, const struct network_request *q, const struct network *n,
                const struct network_port *port, struct store_port *ret, struct error *err)
{
    struct store_port old = {NULL};
    struct in_addr address;
    struct in6_addr address6;
    uint8_t position = 0;
    int r = find_old(s, q, n, &old, err);
    if (r == 0)
        r = choose_address(s, q, n, &old, &address, err);
    if (r == 0)
        r = choose_address6(s, q, n, &old, address, &address6, err);
    if (r == 0)
        r = choose_position(s, q, n, &position, err);
    _cleanup_free_ char *lease = lan_gives(n, q) ? xstrdup(old.lease ? old.lease : "") : NULL;
    store_port_done(&old);
    if (r < 0)
        return r;
    struct store_port row = {
        .instance_id = xstrdup(q->instance_id),
        .network = xstrdup(n->name),
        .position = position,
        .address = address,
        .address6 = address6,
        .mac = q->mac ? xstrdup(q->mac) : derive_mac(q->instance_id, address, position),
        .link = xasprintf(PORT_LINK_PREFIX "%.9s%x", q->instance_id, position & 15u),
        .name = xstrdup(q->instance_name),
        .hostname = xstrdup(q->hostname),
        .aliases = strv_copy(q->aliases),
        .attached = true,
        .rate = q->rate,
        .priority = q->priority,
        .connections = q->connections,
        .lease = TAKE_PTR(lease),
    };
    r = store_port_put(s, &row, err);
    if (r == 0)
        r = store_publish_put(s, q->instance_id, n->name, port->publish, port->n_publish, err);
    if (r == 0)
        *ret = row;
    else
        store_port_done(&row);
    return r;
}
