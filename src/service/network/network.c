/*
 * Networks as nouns: made, found, listed, removed. Making one writes a row; nothing of it exists in
 * the kernel until its first port is attached (bridge.c).
 */
#include "service/network/network.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <string.h>
#include <sys/file.h>

#include "base/alloc.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/network/network-internal.h"
#include "service/network/span-internal.h"
#include "service/network/tunnel.h"

#define NETWORK_NAME_MAX 64
#define VXLAN_PORT       4789
#define VXLAN_MTU        1450 /* of 1500, what is left beside the outer headers */
#define WIREGUARD_MTU    1370 /* the same of the 1420 that are left in WireGuard */

const char *network_driver_name(enum network_driver driver)
{
    return driver == NETWORK_MACVLAN ? "macvlan" : "bridge";
}

int network_driver_from_name(const char *name, enum network_driver *ret)
{
    for (int driver = NETWORK_BRIDGE; driver <= NETWORK_MACVLAN; driver++)
        if (strcmp(name, network_driver_name((enum network_driver)driver)) == 0) {
            *ret = (enum network_driver)driver;
            return 0;
        }
    return -EINVAL;
}

void network_free(struct network *n)
{
    if (!n)
        return;
    free(n->name);
    free(n->id);
    free(n->bridge);
    free(n->parent);
    strv_free(n->peers);
    strv_free(n->peer_publics);
    free(n->peer_key);
    strv_free(n->labels);
    free(n);
}

void network_list_free(struct network **list)
{
    for (size_t i = 0; list && list[i]; i++)
        network_free(list[i]);
    free(list);
}

static int check_name(const char *name, struct error *err)
{
    static const char *const reserved[] = {"none", "host", "bridge", "default", "container"};
    for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
        if (strcmp(name, reserved[i]) == 0)
            return error_invalid(err, "%s is not a name for a network: it is reserved", name);
    if (!names_valid(name) || strlen(name) > NETWORK_NAME_MAX)
        return error_invalid(err,
                             "\"%.80s\" is not a name for a network: use letters, digits, _ . -, "
                             "at most %d",
                             name, NETWORK_NAME_MAX);
    return 0;
}

/* --- a subnet that nobody on this host uses --- */

struct wanted {
    struct in_addr subnet;
    uint8_t prefix;
};

static int see_subnet(void *context, const struct netlink_subnet *subnet)
{
    const struct wanted *w = context;
    bool overlaps =
        !subnet->ipv6 && subnet_overlaps(w->subnet, w->prefix, subnet->address, subnet->prefix);
    return overlaps ? -EADDRINUSE : 0;
}

/* -EADDRINUSE when a route or an address of the host is in it. */
static int host_uses(struct netlink *nl, struct in_addr subnet, uint8_t prefix, struct error *err)
{
    struct wanted w = {subnet, prefix};
    return netlink_subnets(nl, see_subnet, &w, err);
}

static bool store_uses(struct network **list, struct in_addr subnet, uint8_t prefix)
{
    for (size_t i = 0; list[i]; i++)
        if (list[i]->prefix && subnet_overlaps(list[i]->subnet, list[i]->prefix, subnet, prefix))
            return true;
    return false;
}

static int choose_subnet(struct netlink *nl, struct network **list, struct network *n,
                         struct error *err)
{
    bool is_default = strcmp(n->name, NETWORK_DEFAULT) == 0;
    for (size_t i = 0; subnet_candidate(is_default, i, &n->subnet, &n->prefix); i++) {
        if (store_uses(list, n->subnet, n->prefix))
            continue;
        int r = host_uses(nl, n->subnet, n->prefix, err);
        if (r != -EADDRINUSE)
            return r;
    }
    return error_set(err, ERROR_LIMIT, EADDRNOTAVAIL,
                     "this host uses every subnet that could be proposed; name one with --subnet");
}

static int given_subnet(struct netlink *nl, const char *text, struct network *n, struct error *err)
{
    int r = subnet_parse(text, &n->subnet, &n->prefix, err);
    if (r < 0 || n->parent) /* the host may well have an address on the LAN */
        return r;
    r = host_uses(nl, n->subnet, n->prefix, err);
    if (r == -EADDRINUSE)
        return error_set(err, ERROR_CONFLICT, EADDRINUSE,
                         "subnet %s overlaps an address or a route of this host", text);
    return r;
}

/* Of the addresses that are given out here, among those of the subnet: the gateway's, in both
 * families. */
static uint32_t first_number(const struct network *n)
{
    bool by_range = n->range_prefix && !n->parent;
    return 1 + (by_range ? ntohl(n->range.s_addr) - ntohl(n->subnet.s_addr) : 0);
}

static int set_gateway(struct network *n, const char *text, struct error *err)
{
    n->gateway.s_addr = htonl(ntohl(n->subnet.s_addr) + first_number(n));
    if (!text)
        return 0;
    int r = address_parse(text, &n->gateway, err);
    if (r < 0)
        return r;
    if (!subnet_has(n->subnet, n->prefix, n->gateway))
        return error_invalid(err, "gateway %s is not in subnet %s/%u", text,
                             address_text(n->subnet).s, n->prefix);
    return 0;
}

/* --- the same for IPv6 --- */

struct overlap6 {
    struct in6_addr subnet;
    uint8_t prefix;
};

static int see_subnet6(void *context, const struct netlink_subnet *subnet)
{
    const struct overlap6 *o = context;
    uint8_t prefix = MIN(subnet->prefix, o->prefix);
    if (!subnet->ipv6 || IN6_IS_ADDR_LINKLOCAL(&subnet->address6) ||
        IN6_IS_ADDR_MULTICAST(&subnet->address6))
        return 0;
    return subnet6_same(&subnet->address6, &o->subnet, prefix) ? -EADDRINUSE : 0;
}

static int check_overlap6(struct netlink *nl, struct network **list, const struct network *n,
                          struct error *err)
{
    struct overlap6 o = {n->subnet6, n->prefix6};
    for (size_t i = 0; list[i]; i++)
        if (list[i]->prefix6 &&
            subnet6_same(&list[i]->subnet6, &n->subnet6, MIN(list[i]->prefix6, n->prefix6)))
            return error_set(err, ERROR_CONFLICT, EEXIST,
                             "subnet %s/%u overlaps that of network %s",
                             address6_text(&n->subnet6).s, n->prefix6, list[i]->name);
    if (n->parent)
        return 0;
    int r = netlink_subnets(nl, see_subnet6, &o, err);
    if (r == -EADDRINUSE)
        return error_set(err, ERROR_CONFLICT, EADDRINUSE,
                         "subnet %s/%u overlaps an address or a route of this host",
                         address6_text(&n->subnet6).s, n->prefix6);
    return r;
}

static int set_gateway6(struct network *n, const char *text, struct error *err)
{
    n->gateway6 = subnet6_address(&n->subnet6, first_number(n));
    if (!text)
        return 0;
    int r = address6_parse(text, &n->gateway6, err);
    if (r < 0)
        return r;
    if (!subnet6_has(&n->subnet6, n->prefix6, &n->gateway6))
        return error_invalid(err, "gateway %s is not in subnet %s/%u", text,
                             address6_text(&n->subnet6).s, n->prefix6);
    return 0;
}

/* The one of a family in a list of texts; *ret is NULL when there is none. */
static int pick(char *const *list, bool ipv6, const char *what, const char **ret, struct error *err)
{
    *ret = NULL;
    for (size_t i = 0; list && list[i]; i++) {
        if ((strchr(list[i], ':') != NULL) != ipv6)
            continue;
        if (*ret)
            return error_invalid(err, "two IPv%d %ss: a network has one", ipv6 ? 6 : 4, what);
        *ret = list[i];
    }
    return 0;
}

static int set_subnet6(struct netlink *nl, struct network **list, const struct network_options *o,
                       struct network *n, struct error *err)
{
    const char *subnet, *gateway;
    int r = pick(o->subnets, true, "subnet", &subnet, err);
    if (r == 0)
        r = pick(o->gateways, true, "gateway", &gateway, err);
    if (r < 0)
        return r;
    if (!subnet && gateway)
        return error_invalid(err, "gateway %s needs a subnet", gateway);
    if (!subnet && (!o->ipv6 || n->parent))
        return 0;
    if (!subnet && n->vxlan_id)
        return error_invalid(err, "--ipv6 on a VXLAN needs one more --subnet, the same on all "
                                  "hosts: --subnet fd00:1::/64, say");
    if (subnet) {
        r = subnet6_parse(subnet, &n->subnet6, &n->prefix6, err);
    } else {
        n->subnet6 = subnet6_random();
        n->prefix6 = 64;
    }
    if (r == 0)
        r = check_overlap6(nl, list, n, err);
    return r < 0 ? r : set_gateway6(n, gateway, err);
}

/* The part of the subnet that addresses come from; the gateway is its first, then. */
static int set_range(const struct network_options *o, struct network *n, struct error *err)
{
    if (!o->range)
        return 0;
    int r = subnet_parse(o->range, &n->range, &n->range_prefix, err);
    if (r < 0)
        return r;
    uint32_t mask = ~(0xffffffffu >> n->prefix);
    if (n->range_prefix < n->prefix || (ntohl(n->range.s_addr) & mask) != ntohl(n->subnet.s_addr))
        return error_invalid(err, "range %s is not in subnet %s/%u", o->range,
                             address_text(n->subnet).s, n->prefix);
    return 0;
}

static int set_subnet(struct netlink *nl, struct network **list, const struct network_options *o,
                      struct network *n, struct error *err)
{
    const char *subnet, *gateway;
    int r = pick(o->subnets, false, "subnet", &subnet, err);
    if (r == 0)
        r = pick(o->gateways, false, "gateway", &gateway, err);
    if (r < 0)
        return r;
    if (!subnet && gateway)
        return error_invalid(err, "gateway %s needs a subnet", gateway);
    if (!subnet && n->parent) /* the LAN's DHCP gives addresses */
        return o->range ? error_invalid(err, "range %s needs a subnet", o->range) : 0;
    if (!subnet && n->vxlan_id)
        return error_invalid(err, "a VXLAN needs an IPv4 --subnet, of which --ip-range is a part");
    r = subnet ? given_subnet(nl, subnet, n, err) : choose_subnet(nl, list, n, err);
    if (r == 0)
        r = set_range(o, n, err);
    return r < 0 ? r : set_gateway(n, gateway, err);
}

/* The default network's bridge has a name to remember, unless something has that name already. That
 * of another root has not, so that the default root finds it free. */
static char *choose_bridge(const struct store *s, struct netlink *nl, const struct network *n)
{
    uint32_t index;
    if (s->tag == 0 && strcmp(n->name, NETWORK_DEFAULT) == 0 &&
        netlink_link_index(nl, DEFAULT_BRIDGE, &index, NULL) == -ENODEV)
        return xstrdup(DEFAULT_BRIDGE);
    return bridge_own_name(n);
}

static int fill(struct store *s, struct netlink *nl, const struct network_options *o,
                struct network *n, struct error *err)
{
    struct network **list;
    char id[65];
    random_hex(id, 32);
    n->name = xstrdup(o->name);
    n->id = xstrdup(id);
    n->driver = o->driver;
    n->parent = xstrdup(o->parent);
    n->vxlan_id = o->vxlan_id;
    n->vxlan_port = o->vxlan_port ? o->vxlan_port : VXLAN_PORT;
    n->internal = o->internal;
    n->isolated = o->isolated;
    n->created_ns = time_now_ns();
    n->labels = strv_copy(o->labels);
    n->bridge = choose_bridge(s, nl, n);
    int r = tunnel_set_peers(o, n, err);
    if (r < 0)
        return r;
    n->mtu = o->mtu ? o->mtu : tunnel_is_sealed(n) ? WIREGUARD_MTU : o->vxlan_id ? VXLAN_MTU : 1500;
    r = store_network_list(s, &list, err);
    if (r < 0)
        return r;
    r = span_check(n, list, err);
    if (r == 0)
        r = tunnel_check_port(n, list, err);
    if (r == 0)
        r = set_subnet(nl, list, o, n, err);
    if (r == 0)
        r = set_subnet6(nl, list, o, n, err);
    if (r == 0)
        r = tunnel_check_gateways(n, err);
    network_list_free(list);
    return r;
}

static int create(struct store *s, const struct network_options *o, struct network **ret,
                  struct error *err)
{
    _cleanup_network_ struct network *n = xnew(struct network);
    _cleanup_netlink_ struct netlink *nl = NULL;
    int r = netlink_open(&nl, err);
    if (r == 0)
        r = store_begin(s, err);
    if (r < 0)
        return r;
    uint32_t parent;
    r = o->parent ? netlink_link_index(nl, o->parent, &parent, err) : 0;
    if (r == 0)
        r = span_read_key(o->peer_key, &n->peer_key, err);
    if (r == 0)
        r = fill(s, nl, o, n, err);
    if (r == 0)
        r = tunnel_check_keys(s, n, err);
    if (r == 0)
        r = store_network_add(s, n, err);
    int end = store_end(s, r == 0, r == 0 ? err : NULL);
    if (r < 0 || end < 0)
        return r < 0 ? r : end;
    *ret = TAKE_PTR(n);
    return 0;
}

/* What Proa does where it is the router itself. */
static int check_parent(const struct network_options *o, struct error *err)
{
    const struct {
        bool given;
        const char *flag;
    } own[] = {
        {o->internal, "--internal"}, {o->isolated, "--isolate"}, {o->vxlan_id, "--vxlan-id"}};
    if (o->driver == NETWORK_MACVLAN && !o->parent)
        return error_invalid(err, "a macvlan needs a link of this host to stand on: --parent eth0");
    if (!o->parent)
        return 0;
    if (strlen(o->parent) == 0 || strlen(o->parent) >= IFNAMSIZ ||
        strncmp(o->parent, "proa", 4) == 0)
        return error_invalid(err, "\"%.32s\" is no link to the LAN", o->parent);
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        if (own[i].given)
            return error_invalid(err, "%s: the router of a LAN is not Proa", own[i].flag);
    if (o->ipv6 && strv_len(o->subnets) == 0)
        return error_invalid(err, "--ipv6: say the LAN's with --subnet");
    return 0;
}

int network_create(struct store *s, const struct network_options *o, struct network **ret,
                   struct error *err)
{
    int r = check_name(o->name, err);
    if (r < 0)
        return r;
    if (!process_is_host_root())
        return error_set(err, ERROR_DENIED, EPERM,
                         "create network %s: needs root; an ordinary user has the default network, "
                         "none, host and container:NAME",
                         o->name);
    if (o->mtu && o->mtu < 576)
        return error_invalid(err, "mtu %u is too small: at least 576", o->mtu);
    if (o->mtu && o->mtu < 1280 && o->ipv6)
        return error_invalid(err, "mtu %u is too small for IPv6: at least 1280", o->mtu);
    r = tunnel_check(o, err);
    if (r == 0)
        r = check_parent(o, err);
    if (r == 0)
        r = create(s, o, ret, err);
    if (r < 0)
        return error_prefix(err, "create network %s", o->name);
    return 0;
}

int network_find(struct store *s, const char *name_or_id, struct network **ret, struct error *err)
{
    int r = store_network_find(s, name_or_id, ret, err);
    if (r != -ENOENT || strcmp(name_or_id, NETWORK_DEFAULT) != 0)
        return r;
    struct network_options o = {.name = NETWORK_DEFAULT};
    struct error why = ERROR_INIT;
    r = create(s, &o, ret, &why);
    if (r == -EEXIST) /* another command created it at the same moment */
        return store_network_find(s, name_or_id, ret, err);
    if (r < 0)
        return error_set(err, why.kind, why.code, "create the default network: %s", why.msg);
    return 0;
}

int network_list(struct store *s, struct network ***ret, struct error *err)
{
    _cleanup_network_ struct network *first = NULL;
    int r = network_find(s, NETWORK_DEFAULT, &first, err); /* it is always there to be seen */
    return r < 0 ? r : store_network_list(s, ret, err);
}

int network_remove(struct store *s, const char *name_or_id, struct error *err)
{
    _cleanup_network_ struct network *n = NULL;
    _cleanup_netlink_ struct netlink *nl = NULL;
    _cleanup_close_ int lock = -EBADF;
    int r = store_network_find(s, name_or_id, &n, err);
    if (r < 0)
        return r;
    if (strcmp(n->name, NETWORK_DEFAULT) == 0)
        return error_set(err, ERROR_CONFLICT, EBUSY, "the default network cannot be removed");
    r = network_lock(s, LOCK_PLACES, LOCK_EX, &lock, err);
    if (r == 0)
        r = netlink_open(&nl, err);
    /* The row first: from then on nobody can join. What a kill leaves of the rest is found by what
     * RUN has of it (strays.c). */
    if (r == 0)
        r = store_network_remove(s, n->name, err);
    if (r == 0)
        r = bridge_down(s, nl, n, err);
    return r;
}
