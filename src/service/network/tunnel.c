/*
 * The VXLAN of a network that spans hosts: a link on the bridge, with static peers.
 *
 * Hosts that share a subnet must not give out the same addresses, nor be each other's gateway: each
 * has a part of it. IPv6 follows from IPv4, number by number.
 */
#include "service/network/tunnel.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/strv.h"
#include "service/network/network-internal.h"
#include "service/peers/peers.h"
#include "service/policy/policy.h"

#define VXLAN_ID_MAX 0xffffffu

/* --- a host's part --- */

bool part_has(const struct network *n, struct in_addr address)
{
    uint32_t mask = n->range_prefix ? ~(uint32_t)(0xffffffffull >> n->range_prefix) : 0;
    return (ntohl(address.s_addr) & mask) == (ntohl(n->range.s_addr) & mask);
}

/* The digit in front is choose_address6()'s. */
bool part6_has(const struct network *n, const struct in6_addr *address)
{
    uint32_t number;
    memcpy(&number, address->s6_addr + 12, 4);
    number = ntohl(number) & 0x0fffffff;
    return part_has(n, (struct in_addr){htonl(ntohl(n->subnet.s_addr) + number)});
}

/* --- what can be asked for --- */

int tunnel_check(const struct network_options *o, struct error *err)
{
    struct in_addr peer;
    int r = 0;
    if (!o->vxlan_id && (strv_len(o->peers) > 0 || o->vxlan_port || o->peer_key))
        return error_invalid(err, "peers belong to a VXLAN: say its number with --vxlan-id");
    if (!o->vxlan_id)
        return 0;
    if (o->vxlan_id > VXLAN_ID_MAX)
        return error_invalid(err, "VXLAN number %u: at most %u", o->vxlan_id, VXLAN_ID_MAX);
    if (strv_len(o->peers) == 0 || strv_len(o->peers) > PEERS_MAX)
        return error_invalid(
            err, "a VXLAN needs the addresses of the other hosts (--peer), 1 to %u", PEERS_MAX);
    if (strv_len(o->subnets) == 0 || !o->range)
        return error_invalid(err, "a VXLAN needs --subnet, the same on all hosts, and --ip-range, "
                                  "the part of it that is this host's");
    for (size_t i = 0; r == 0 && o->peers[i]; i++)
        r = address_parse(o->peers[i], &peer, err);
    return r;
}

int tunnel_check_gateways(const struct network *n, struct error *err)
{
    bool good = part_has(n, n->gateway), good6 = !n->prefix6 || part6_has(n, &n->gateway6);
    if (!n->vxlan_id || (good && good6))
        return 0;
    return error_invalid(err,
                         "gateway %s is not of this host's part %s/%u, and may be another host's: "
                         "leave --gateway out, and it is the first of that part",
                         good ? address6_text(&n->gateway6).s : address_text(n->gateway).s,
                         address_text(n->range).s, n->range_prefix);
}

/* --- the links --- */

static void link_name(const struct network *n, char ret[IFNAMSIZ])
{
    snprintf(ret, IFNAMSIZ, "proax%.10s", n->id);
}

static int add_peers(struct netlink *nl, const struct network *n, uint32_t index, struct error *err)
{
    struct in_addr peer;
    int r = 0;
    for (size_t i = 0; r == 0 && n->peers[i]; i++) {
        r = address_parse(n->peers[i], &peer, err);
        if (r == 0)
            r = netlink_vxlan_peer_add(nl, index, peer, err);
    }
    return r;
}

int tunnel_up(struct netlink *nl, const struct network *n, uint32_t bridge, struct error *err)
{
    char name[IFNAMSIZ];
    uint32_t index;
    if (!n->vxlan_id)
        return 0;
    link_name(n, name);
    struct netlink_vxlan v = {
        .name = name, .id = n->vxlan_id, .port = n->vxlan_port, .master = bridge, .mtu = n->mtu};
    int r = netlink_link_remove(nl, name, err);
    if (r == 0)
        r = netlink_vxlan_create(nl, &v, err);
    if (r == 0)
        r = netlink_link_index(nl, name, &index, err);
    if (r == 0)
        r = netlink_link_no_ipv6_address(nl, index, err);
    policy_span(n->bridge, true);
    return r < 0 ? r : add_peers(nl, n, index, err);
}

bool tunnel_is_up(struct netlink *nl, const struct network *n)
{
    char name[IFNAMSIZ];
    uint32_t index;
    link_name(n, name);
    return !n->vxlan_id || netlink_link_index(nl, name, &index, NULL) == 0;
}

int tunnel_down(struct netlink *nl, const struct network *n, struct error *err)
{
    char name[IFNAMSIZ];
    if (!n->vxlan_id)
        return 0;
    link_name(n, name);
    policy_span(n->bridge, false);
    return netlink_link_remove(nl, name, err);
}
