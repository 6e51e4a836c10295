/*
 * A port's life: attach, detach, release.
 *
 * Order of an attach, each step undone in reverse when a later one fails:
 *   1. host ports are reserved (sockets)
 *   2. the store: address, attached=1, published ports. From here on a kill is repaired, because
 *      the row says that something may exist.
 *   3. the network is up (bridge.c)
 *   4. the rules: it will send what is its own, and can be reached
 *   5. the link: a namespace with eth0, or a tap
 *   6. the names: the instance can be found
 * What the kernel holds by descriptor (sockets, namespace, tap) goes with the process; only names,
 * rules and the row can be left over.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <string.h>
#include <sys/file.h>

#include "base/alloc.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/conntrack.h"
#include "kernel/netns.h"
#include "service/network/network-internal.h"
#include "service/network/rules.h"

void network_port_init(struct network_port *p)
{
    *p = (struct network_port){.fd = -EBADF, .lease_fd = -EBADF};
}

void network_port_done(struct network_port *p)
{
    p->fd = close_fd(p->fd);
    p->lease_fd = close_fd(p->lease_fd);
    for (size_t i = 0; i < p->n_hold_fds; i++)
        close_fd(p->hold_fds[i]);
    free(p->hold_fds);
    free(p->publish);
    free(p->network);
    p->network = NULL;
    p->hold_fds = NULL;
    p->publish = NULL;
    p->n_hold_fds = p->n_publish = 0;
}

static int record_in_transaction(struct store *s, const struct network_request *q,
                                 const struct network *n, const struct network_port *port,
                                 struct store_port *ret, struct error *err)
{
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = port_record(s, q, n, port, ret, err);
    int end = store_end(s, r == 0, r == 0 ? err : NULL);
    if (r == 0 && end < 0)
        store_port_done(ret);
    return r < 0 ? r : end;
}

/* --- the link --- */

/* What the end inside is called, and its hardware address. */
static int name_inside(const struct store_port *row, char name[IFNAMSIZ], struct link_mac *ret_mac,
                       struct error *err)
{
    snprintf(name, IFNAMSIZ, "eth%u", row->position);
    return link_mac_parse(row->mac, ret_mac) < 0
               ? error_set(err, ERROR_CORRUPT, EBADMSG, "the store has %s as a hardware address",
                           row->mac)
               : 0;
}

static int make_veth(struct netlink *nl, const struct network *n, const struct store_port *row,
                     uint32_t bridge, int namespace, struct error *err)
{
    struct link_mac mac;
    char inside[IFNAMSIZ];
    int r = name_inside(row, inside, &mac, err);
    if (r < 0)
        return r;
    struct netlink_veth veth = {
        .name = row->link,
        .master = bridge,
        .mtu = n->mtu,
        .peer_name = inside,
        .peer_namespace = namespace,
        .peer_mac = &mac,
    };
    r = netlink_veth_create(nl, &veth, err);
    if (r != -EEXIST)
        return r;
    /* The kernel takes a dead namespace apart at its leisure; the old link may still be there. */
    r = netlink_link_remove(nl, row->link, err);
    return r < 0 ? r : netlink_veth_create(nl, &veth, err);
}

static int make_macvlan(struct netlink *nl, const struct network *n, const struct store_port *row,
                        uint32_t parent, int namespace, struct error *err)
{
    struct link_mac mac;
    char inside[IFNAMSIZ];
    int r = name_inside(row, inside, &mac, err);
    if (r < 0)
        return r;
    struct netlink_macvlan m = {
        .name = inside, .parent = parent, .mtu = n->mtu, .mac = &mac, .namespace_fd = namespace};
    return netlink_macvlan_create(nl, &m, err);
}

/* The first port makes the namespace; the others join it. */
static int make_container_link(struct netlink *nl, const struct network_request *q,
                               const struct network *n, const struct store_port *row,
                               uint32_t bridge, int *ret_fd, struct error *err)
{
    _cleanup_close_ int made = -EBADF;
    int r = q->more ? 0 : netns_create(&made, NULL, err);
    int fd = q->more ? q->netns_fd : made;
    if (r == 0)
        r = n->driver == NETWORK_MACVLAN ? make_macvlan(nl, n, row, bridge, fd, err)
                                         : make_veth(nl, n, row, bridge, fd, err);
    if (r == 0)
        r = inside_configure(fd, n, row, err);
    if (r == 0)
        *ret_fd = TAKE_FD(made);
    return r;
}

/* A light machine that runs has had its tap from the start. */
static bool has_card(const struct network_request *q)
{
    return q->machine && q->more && !q->asks;
}

static int make_machine_link(struct netlink *nl, const struct network_request *q,
                             const struct network *n, const struct store_port *row, uint32_t bridge,
                             int *ret_fd, struct error *err)
{
    _cleanup_close_ int fd = -EBADF;
    uint32_t index;
    int r = has_card(q) ? card_take(nl, row, err) : tap_create(row->link, &fd, err);
    if (!has_card(q) && (r == -EBUSY || r == -EEXIST)) {
        r = netlink_link_remove(nl, row->link, err);
        if (r == 0)
            r = tap_create(row->link, &fd, err);
    }
    if (r == 0)
        r = netlink_link_index(nl, row->link, &index, err);
    if (r == 0)
        r = netlink_link_no_ipv6_address(nl, index, err);
    if (r == 0)
        r = netlink_link_up(nl, index, bridge, n->mtu, err);
    if (r == 0)
        *ret_fd = TAKE_FD(fd);
    return r;
}

/* The wall stands before the link comes up. A macvtap stays when its descriptor goes: what is left
 * of it is removed by port_take_down. */
static int make_macvtap(struct store *s, struct netlink *nl, const struct network *n,
                        const struct store_port *row, uint32_t parent, int *ret_fd,
                        struct error *err)
{
    struct link_mac mac;
    char inside[IFNAMSIZ];
    uint32_t index;
    int r = name_inside(row, inside, &mac, err);
    if (r == 0)
        r = netlink_link_remove(nl, row->link, err);
    if (r < 0)
        return r;
    struct netlink_macvlan m = {.name = row->link,
                                .parent = parent,
                                .mtu = n->mtu,
                                .mac = &mac,
                                .tap = true,
                                .namespace_fd = -EBADF};
    r = netlink_macvlan_create(nl, &m, err);
    if (r == -EOPNOTSUPP)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "this kernel has no macvtap, the card of a machine on macvlan %s: make a "
                         "network with --driver bridge and a bridge of the LAN's as --parent",
                         n->name);
    if (r == 0)
        r = netlink_link_index(nl, row->link, &index, err);
    if (r == 0)
        r = netlink_link_no_ipv6_address(nl, index, err);
    if (r == 0)
        r = wall_add(s, row, err);
    if (r == 0)
        r = macvtap_open(row->link, ret_fd, err);
    return r < 0 ? r : netlink_link_up(nl, index, 0, 0, err);
}

static int make_lan_link(struct store *s, struct netlink *nl, const struct network_request *q,
                         const struct network *n, const struct store_port *row, uint32_t parent,
                         int *ret_fd, struct error *err)
{
    if (!q->machine)
        return make_container_link(nl, q, n, row, parent, ret_fd, err);
    /* Who asks the LAN for its address would need the tap, which only its monitor has. */
    if (has_card(q) && (n->driver == NETWORK_MACVLAN || row->lease))
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "network %s is a macvlan, or its LAN gives the addresses: a light machine "
                         "joins it at its start only; stop it first, its next start has the change",
                         n->name);
    return n->driver == NETWORK_MACVLAN ? make_macvtap(s, nl, n, row, parent, ret_fd, err)
                                        : make_machine_link(nl, q, n, row, parent, ret_fd, err);
}

/* --- attach --- */

/* UDP flows have no end of their own. A kernel that tracks nothing has nothing to forget, and a
 * flow that stays is no reason to fail a start or an end. */
static void forget_flows(const struct network_publish *publish, size_t n,
                         const struct store_port *row)
{
    if (row->address.s_addr == 0 && IN6_IS_ADDR_UNSPECIFIED(&row->address6))
        return;
    _cleanup_free_ uint16_t *ports = xcalloc(n + 1, sizeof(*ports));
    size_t n_ports = 0;
    for (size_t i = 0; i < n; i++)
        if (publish[i].protocol == IPPROTO_UDP)
            ports[n_ports++] = publish[i].host_port;
    if (n_ports > 0)
        (void)!conntrack_forget_udp(ports, n_ports, row->address, &row->address6, NULL);
}

/* A place on the LAN: it has its own router, names and DHCP. */
static int connect_to_lan(struct store *s, struct netlink *nl, const struct network_request *q,
                          const struct network *n, struct store_port *row,
                          struct network_port *port, struct error *err)
{
    uint32_t parent;
    int r = netlink_link_index(nl, n->parent, &parent, err);
    if (r == 0 && n->driver == NETWORK_BRIDGE) /* first: it may send nothing but its own */
        r = rules_add(s, n, row, NULL, 0, err);
    if (r == 0)
        r = make_lan_link(s, nl, q, n, row, parent, &port->fd, err);
    if (r == 0 && row->lease)
        r = lan_join(s, n, row,
                     q->machine ? -EBADF
                     : q->more  ? q->netns_fd
                                : port->fd,
                     q->machine ? port->fd : -EBADF, &port->lease_fd, err);
    return r;
}

static int connect_to_bridge(struct store *s, struct netlink *nl, const struct network_request *q,
                             const struct network *n, const struct store_port *row,
                             struct network_port *port, struct error *err)
{
    uint32_t bridge;
    int r = bridge_up(s, nl, n, &bridge, err);
    if (r == 0) /* before the link: it may send nothing but its own */
        r = rules_add(s, n, row, port->publish, port->n_publish, err);
    if (r == 0)
        r = q->machine ? make_machine_link(nl, q, n, row, bridge, &port->fd, err)
                       : make_container_link(nl, q, n, row, bridge, &port->fd, err);
    if (r == 0 && port->n_publish > 0)
        r = netlink_port_hairpin(nl, row->link, err);
    if (r == 0 && n->isolated)
        r = netlink_port_isolate(nl, row->link, err);
    if (r == 0)
        r = names_add(n, row, err);
    if (r == 0 && q->machine)
        r = lease_add(s, n, row, bridge, err);
    return r;
}

static int connect_port(struct store *s, const struct network_request *q, const struct network *n,
                        struct store_port *row, struct network_port *port, struct error *err)
{
    _cleanup_netlink_ struct netlink *nl = NULL;
    if (!process_is_host_root())
        return pasta_up(s, q, n, row, port, err);
    int r = netlink_open(&nl, err);
    if (r == 0)
        r = n->parent ? connect_to_lan(s, nl, q, n, row, port, err)
                      : connect_to_bridge(s, nl, q, n, row, port, err);
    if (r == 0)
        r = rate_add(s, nl, row, q->machine ? -EBADF : q->more ? q->netns_fd : port->fd, err);
    if (r == 0)
        r = port_join_policies(s, row, row->name, err);
    if (r == 0)
        forget_flows(port->publish, port->n_publish, row);
    return r;
}

static int reserve(const struct network_request *q, const struct network *n,
                   struct network_port *port, struct error *err)
{
    if (q->n_publish == 0)
        return 0;
    port->publish = xreallocarray(NULL, q->n_publish, sizeof(*port->publish));
    memcpy(port->publish, q->publish, q->n_publish * sizeof(*port->publish));
    port->n_publish = q->n_publish;
    int r = publish_reserve(&port->publish, &port->n_publish, n->prefix6, &port->hold_fds, err);
    if (r == 0)
        port->n_hold_fds = port->n_publish;
    return r;
}

static void describe(struct network_port *port, const struct network *n,
                     const struct store_port *row)
{
    port->network = xstrdup(n->name);
    port->position = row->position;
    port->address = row->address;
    port->gateway = n->gateway;
    port->prefix = n->prefix;
    port->address6 = row->address6;
    port->gateway6 = n->gateway6;
    port->prefix6 = n->prefix6;
    port->internal = n->internal;
    port->lan = n->parent != NULL;
    port->mtu = n->mtu;
    struct lease_grant grant;
    if (lan_grant(row, &grant)) {
        port->gateway = grant.gateway;
        port->prefix = grant.prefix;
        port_take_dns(port, &grant);
    }
    snprintf(port->mac, sizeof(port->mac), "%s", row->mac);
    snprintf(port->link, sizeof(port->link), "%s", row->link);
}

static int attach(struct store *s, const struct network_request *q, const struct network *n,
                  struct network_port *port, struct error *err)
{
    _cleanup_close_ int lock = -EBADF;
    struct error ignored = ERROR_INIT;
    struct store_port row;
    int r = network_lock(s, LOCK_PLACES, LOCK_SH, &lock, err);
    if (r == 0)
        r = reserve(q, n, port, err);
    if (r == 0)
        r = record_in_transaction(s, q, n, port, &row, err);
    if (r < 0)
        return r;
    r = connect_port(s, q, n, &row, port, err);
    if (r == 0 && (q->more || row.position > 0))
        r = resolver_settle(s, q->instance_id, err);
    if (r == 0)
        r = learner_settle(s, q->instance_id, err);
    if (r == 0)
        describe(port, n, &row);
    if (r < 0 && q->more && !q->machine)
        (void)!inside_remove(q->netns_fd, &row, NULL);
    if (r < 0) {
        (void)!port_take_down(s, &row, has_card(q) ? LINK_FREED : LINK_GOES, &ignored);
        (void)!learner_settle(s, q->instance_id, NULL);
    }
    store_port_done(&row);
    return r;
}

int network_attach(struct store *s, const struct network_request *q, struct network_port *ret,
                   struct error *err)
{
    _cleanup_network_ struct network *n = NULL;
    struct network_port port;
    network_port_init(&port);
    int r = network_find(s, q->network ? q->network : NETWORK_DEFAULT, &n, err);
    if (r == 0)
        r = request_check(q, n, err);
    if (r == 0)
        r = attach(s, q, n, &port, err);
    if (r < 0) {
        network_port_done(&port);
        return r;
    }
    *ret = port;
    return 0;
}

/* --- detach --- */

int port_take_down(struct store *s, const struct store_port *row, enum link_end end,
                   struct error *err)
{
    _cleanup_network_ struct network *n = NULL;
    _cleanup_netlink_ struct netlink *nl = NULL;
    _cleanup_close_ int lock = -EBADF;
    _cleanup_free_ struct network_publish *publish = NULL;
    size_t n_publish = 0;
    if (!process_is_host_root()) {
        pasta_down(s, row->instance_id);
        return store_port_detached(s, row->instance_id, row->network, err);
    }
    learner_down(s, row->instance_id);
    int r = network_lock(s, LOCK_RULES, LOCK_SH, &lock, err);
    if (r == 0)
        r = published_on(s, row->instance_id, row->network, &publish, &n_publish, err);
    if (r < 0)
        return r;
    bool known = store_network_find(s, row->network, &n, NULL) == 0;
    lan_leave(s, row); /* while it may still say so */
    rules_remove_port(s, known ? n : NULL, row, publish, n_publish);
    rate_remove(s, row);
    port_leave_policies(s, row);
    forget_flows(publish, n_publish, row);
    if (known) {
        names_remove(n, row->instance_id);
        lease_remove(n, row);
        if (wall_stands_at(n, row)) { /* it goes with nobody's descriptor */
            wall_remove(s, row);
            end = LINK_GOES;
        }
    }
    if (end != LINK_STAYS)
        r = netlink_open(&nl, err);
    if (r == 0 && end == LINK_FREED)
        r = card_give_back(nl, row, err);
    if (r == 0 && end == LINK_GOES)
        r = netlink_link_remove(nl, row->link, err);
    rules_remove_link(s, row);
    bool several = resolver_exists(s, row->instance_id);
    if (r == 0 && several)
        rules_remove_resolver(s, row->address);
    if (r == 0)
        r = store_port_detached(s, row->instance_id, row->network, err);
    if (r == 0)
        learner_left(s, row);
    return r == 0 && several ? resolver_settle(s, row->instance_id, err) : r;
}

/* Each port of the instance; goes on after a failure, whose error is the first. */
static int each_port(struct store *s, const char *instance_id,
                     int (*f)(struct store *s, const struct store_port *row, const void *context,
                              struct error *err),
                     const void *context, struct error *err)
{
    struct store_port *ports;
    int r = store_port_of(s, instance_id, &ports, err);
    if (r < 0)
        return r;
    for (struct store_port *p = ports; p->instance_id; p++) {
        int bad = f(s, p, context, r == 0 ? err : NULL);
        r = r == 0 ? bad : r;
    }
    store_port_list_free(ports);
    return r;
}

/* The link goes with the namespace or the descriptor that the instance had. Removing it here would
 * wait for the kernel, which is taking that apart at this moment: 30 ms for nothing. And there is
 * nobody left who would send. */
static int detach(struct store *s, const struct store_port *row, _unused_ const void *context,
                  struct error *err)
{
    return row->attached ? port_take_down(s, row, LINK_STAYS, err) : 0;
}

static int release(struct store *s, const struct store_port *row, const void *context,
                   struct error *err)
{
    int r = detach(s, row, context, err);
    return r < 0 ? r : store_port_remove(s, row->instance_id, row->network, err);
}

static int end_ports(struct store *s, const char *instance_id,
                     int (*f)(struct store *s, const struct store_port *row, const void *context,
                              struct error *err),
                     struct error *err)
{
    learner_down(s, instance_id);
    if (resolver_exists(s, instance_id))
        resolver_down(s, instance_id);
    return each_port(s, instance_id, f, NULL, err);
}

int network_detach(struct store *s, const char *instance_id, struct error *err)
{
    return end_ports(s, instance_id, detach, err);
}

int network_release(struct store *s, const char *instance_id, struct error *err)
{
    return end_ports(s, instance_id, release, err);
}

int network_leave(struct store *s, const char *instance_id, const char *network, int namespace_fd,
                  bool keeps_card, struct error *err)
{
    struct error why = ERROR_INIT;
    struct store_port row;
    int r = store_port_get(s, instance_id, network, &row, &why);
    if (r == -ENOENT)
        return 0;
    if (r < 0) {
        *err = why;
        return r;
    }
    if (row.attached)
        lan_leave(s, &row); /* before its link goes */
    r = row.attached && namespace_fd >= 0 ? inside_remove(namespace_fd, &row, err) : 0;
    if (r == 0 && row.attached)
        r = port_take_down(s, &row, keeps_card ? LINK_FREED : LINK_GOES, err);
    if (r == 0)
        r = store_port_remove(s, instance_id, network, err);
    store_port_done(&row);
    return r < 0 ? r : learner_settle(s, instance_id, err);
}

static int rename_port(struct store *s, const struct store_port *row, const void *new_name,
                       struct error *err)
{
    _cleanup_network_ struct network *n = NULL;
    struct store_port renamed = *row;
    if (!row->attached)
        return 0;
    renamed.name = (char *)new_name;
    int r = store_network_find(s, row->network, &n, err);
    if (r == 0)
        r = n->parent ? 0 : names_add(n, &renamed, err);
    return r < 0 ? r : port_join_policies(s, row, new_name, err);
}

int network_rename(struct store *s, const char *instance_id, const char *new_name,
                   struct error *err)
{
    if (!names_valid(new_name))
        return error_invalid(err, "\"%.64s\" cannot be resolved: use letters, digits, _ . -",
                             new_name);
    int r = store_port_rename(s, instance_id, new_name, err);
    if (r == 0)
        r = each_port(s, instance_id, rename_port, new_name, err);
    return r < 0 ? r : learner_settle(s, instance_id, err);
}
