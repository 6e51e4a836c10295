/* What is done inside a container's network namespace: addresses and ways out. */
#include <net/if.h>
#include <string.h>

#include "base/text.h"
#include "kernel/netns.h"
#include "service/network/network-internal.h"

#define FREE_WAIT_MS 5000

struct inside {
    const struct network *network;
    const struct store_port *row;
};

/* A link gets no IPv6 address by itself; with a subnet it gets Proa's, which is unique. */
static int allow_ipv6(const char *link, struct error *err)
{
    int r = netns_link_sysctl("ipv6", link, "accept_dad", "0", err);
    return r < 0 ? r : netns_link_sysctl("ipv6", link, "disable_ipv6", "0", err);
}

static int configure_ipv6(struct netlink *nl, uint32_t index, const struct network *n,
                          const struct store_port *row, struct error *err)
{
    if (n->prefix6 == 0)
        return 0;
    int r = netlink_address6_add(nl, index, &row->address6, n->prefix6, err);
    if (r == 0 && !n->internal)
        r = netlink_default_route6_add(nl, index, &n->gateway6, err);
    return r;
}

/* A macvlan's hardware address is its alone on the parent, and the last run's link still has it for
 * as long as the kernel takes that run's dead namespace apart. */
static int bring_up(struct netlink *nl, uint32_t index, struct error *err)
{
    static const struct timespec pause = {0, 10000000};
    int64_t deadline = time_monotonic_ms() + FREE_WAIT_MS;
    struct error why = ERROR_INIT;
    int r;
    while ((r = netlink_link_up(nl, index, 0, 0, &why)) == -EADDRINUSE &&
           time_monotonic_ms() < deadline)
        nanosleep(&pause, NULL);
    if (r < 0 && err)
        *err = why;
    return r;
}

static int configure_inside(void *context, struct error *err)
{
    const struct inside *i = context;
    const struct network *n = i->network;
    _cleanup_netlink_ struct netlink *nl = NULL;
    char link[IFNAMSIZ];
    uint32_t index;
    snprintf(link, sizeof(link), "eth%u", i->row->position);
    int r = netlink_open(&nl, err);
    if (r == 0)
        r = netlink_link_index(nl, link, &index, err);
    if (r == 0 && n->prefix6)
        r = allow_ipv6(link, err);
    if (r == 0)
        r = bring_up(nl, index, err);
    if (r == 0 && n->prefix)
        r = netlink_address_add(nl, index, i->row->address, n->prefix, err);
    if (r == 0 && n->prefix && !n->internal)
        r = netlink_default_route_add(nl, index, n->gateway, err);
    return r < 0 ? r : configure_ipv6(nl, index, n, i->row, err);
}

int inside_configure(int namespace_fd, const struct network *n, const struct store_port *row,
                     struct error *err)
{
    struct inside inside = {n, row};
    return netns_visit(namespace_fd, configure_inside, &inside, err);
}

/* --- what the LAN gives --- */

struct grants {
    const struct store_port *row;
    const struct lease_grant *old, *now;
};

static int change_grant(void *context, struct error *err)
{
    const struct grants *g = context;
    _cleanup_netlink_ struct netlink *nl = NULL;
    char link[IFNAMSIZ];
    uint32_t index;
    snprintf(link, sizeof(link), "eth%u", g->row->position);
    int r = netlink_open(&nl, err);
    if (r == 0)
        r = netlink_link_index(nl, link, &index, err);
    if (r == 0 && g->old->address.s_addr)
        r = netlink_address_remove(nl, index, g->old->address, g->old->prefix, err);
    if (r == 0 && g->now->address.s_addr)
        r = netlink_address_add(nl, index, g->now->address, g->now->prefix, err);
    if (r == 0 && g->now->gateway.s_addr)
        r = netlink_default_route_add(nl, index, g->now->gateway, err);
    return r;
}

int inside_grant(int namespace_fd, const struct store_port *row, const struct lease_grant *old,
                 const struct lease_grant *now, struct error *err)
{
    struct grants grants = {row, old, now};
    return netns_visit(namespace_fd, change_grant, &grants, err);
}

static int remove_inside(void *context, struct error *err)
{
    const struct inside *i = context;
    _cleanup_netlink_ struct netlink *nl = NULL;
    char link[IFNAMSIZ];
    snprintf(link, sizeof(link), "eth%u", i->row->position);
    int r = netlink_open(&nl, err);
    return r < 0 ? r : netlink_link_remove(nl, link, err);
}

int inside_remove(int namespace_fd, const struct store_port *row, struct error *err)
{
    struct inside inside = {NULL, row};
    return netns_visit(namespace_fd, remove_inside, &inside, err);
}

/* --- another way out, when the one there was has gone --- */

static int add_ways(void *context, struct error *err)
{
    const struct inside *i = context;
    const struct network *n = i->network;
    _cleanup_netlink_ struct netlink *nl = NULL;
    char link[IFNAMSIZ];
    uint32_t index;
    snprintf(link, sizeof(link), "eth%u", i->row->position);
    int r = netlink_open(&nl, err);
    if (r == 0)
        r = netlink_link_index(nl, link, &index, err);
    struct lease_grant grant;
    if (r == 0 && lan_grant(i->row, &grant) && grant.gateway.s_addr)
        r = netlink_default_route_add(nl, index, grant.gateway, err);
    if (r == 0 && n->prefix)
        r = netlink_default_route_add(nl, index, n->gateway, err);
    if (r == 0 && n->prefix6)
        r = netlink_default_route6_add(nl, index, &n->gateway6, err);
    return r;
}

int network_find_way(struct store *s, const char *instance_id, int namespace_fd, struct error *err)
{
    struct store_port *ports;
    int r = store_port_of(s, instance_id, &ports, err);
    if (r < 0)
        return r;
    for (struct store_port *p = ports; r == 0 && p->instance_id; p++) {
        _cleanup_network_ struct network *n = NULL;
        r = store_network_find(s, p->network, &n, err);
        if (r < 0 || n->internal || !p->attached)
            continue;
        struct inside inside = {n, p};
        r = netns_visit(namespace_fd, add_ways, &inside, err);
    }
    store_port_list_free(ports);
    return r;
}
