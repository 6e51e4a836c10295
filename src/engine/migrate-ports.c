/*
 * The addresses of a machine that moves. A system that goes on from its memory goes on with them,
 * so they are kept for it on the other side, where a network of the same name has the same subnet
 * and nobody else has them; otherwise it gets others when it starts, as a new instance does.
 */
#include <arpa/inet.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/migrate-internal.h"
#include "service/network/network.h"
#include "service/network/rules.h"
#include "service/store/network.h"

void arrival_ports_free(struct arrival_port *list)
{
    for (struct arrival_port *p = list; p && p->network; p++) {
        free(p->network);
        free(p->subnet);
        free(p->address);
        free(p->address6);
        free(p->mac);
    }
    free(list);
}

static char *subnet_of(const struct network *n)
{
    char v4[INET_ADDRSTRLEN], v6[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET, &n->subnet, v4, sizeof(v4));
    inet_ntop(AF_INET6, &n->subnet6, v6, sizeof(v6));
    return xasprintf("%s/%u,%s/%u", v4, n->prefix, v6, n->prefix6);
}

static int describe(struct engine *e, const struct network_member *m, struct arrival_port *ret,
                    struct error *err)
{
    _cleanup_network_ struct network *n = NULL;
    char v4[INET_ADDRSTRLEN], v6[INET6_ADDRSTRLEN];
    int r = network_find(e->store, m->network, &n, err);
    if (r < 0)
        return r;
    inet_ntop(AF_INET, &m->address, v4, sizeof(v4));
    inet_ntop(AF_INET6, &m->address6, v6, sizeof(v6));
    *ret = (struct arrival_port){xstrdup(m->network), subnet_of(n), xstrdup(v4), xstrdup(v6),
                                 xstrdup(m->mac)};
    return 0;
}

int arrival_ports_of(struct engine *e, const char *id, struct arrival_port **ret, struct error *err)
{
    struct network_member *members;
    size_t n = 0, i = 0;
    int r = network_ports_of(e->store, id, &members, err);
    if (r < 0)
        return r;
    while (members[n].instance_id)
        n++;
    struct arrival_port *list = xcalloc(n + 1, sizeof(*list));
    for (; r == 0 && i < n; i++)
        r = describe(e, &members[i], &list[i], err);
    network_members_free(members);
    if (r < 0)
        arrival_ports_free(list);
    else
        *ret = list;
    return r;
}

/* Whether the network here is as the one there, and nobody has the addresses. */
static bool is_free(struct engine *e, const struct arrival_port *p, struct in_addr a,
                    const struct in6_addr *a6)
{
    _cleanup_network_ struct network *n = NULL;
    _cleanup_free_ char *holder = NULL, *holder6 = NULL;
    struct error ignored = ERROR_INIT;
    if (network_find(e->store, p->network, &n, &ignored) < 0)
        return false;
    _cleanup_free_ char *subnet = subnet_of(n);
    if (n->prefix == 0 || strcmp(subnet, p->subnet) != 0 || a.s_addr == n->gateway.s_addr ||
        store_port_holder(e->store, p->network, a, &holder, &ignored) < 0 ||
        store_port_holder6(e->store, p->network, a6, &holder6, &ignored) < 0)
        return false;
    uint32_t mask = n->prefix >= 32 ? UINT32_MAX : ~(UINT32_MAX >> n->prefix);
    return !holder && (!holder6 || IN6_IS_ADDR_UNSPECIFIED(a6)) &&
           ((a.s_addr ^ n->subnet.s_addr) & htonl(mask)) == 0;
}

int arrival_ports_keep(struct engine *e, const struct instance_record *i,
                       const struct arrival_port *list, struct error *err)
{
    int r = 0;
    uint8_t position = 0;
    for (const struct arrival_port *p = list; r == 0 && p && p->network; p++) {
        char *no_aliases[] = {NULL};
        _cleanup_free_ char *link = xasprintf(PORT_LINK_PREFIX "%.9s%x", i->id, position & 15u);
        struct store_port row = {.instance_id = i->id,
                                 .network = p->network,
                                 .position = position++,
                                 .mac = p->mac,
                                 .link = link,
                                 .name = i->name,
                                 .aliases = no_aliases};
        if (inet_pton(AF_INET, p->address, &row.address) == 1 &&
            inet_pton(AF_INET6, p->address6, &row.address6) == 1 &&
            is_free(e, p, row.address, &row.address6))
            r = store_port_put(e->store, &row, err);
    }
    return r;
}
