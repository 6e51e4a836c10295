/*
 * The VXLAN of a network that spans hosts: a link on the bridge, with static peers.
 *
 * Hosts that share a subnet must not give out the same addresses, nor be each other's gateway: each
 * has a part of it. IPv6 follows from IPv4, number by number.
 *
 * With public keys of the peers the VXLAN is in WireGuard (seal.c), and its peers are addresses
 * that are nowhere else.
 */
#include "service/network/tunnel.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "service/network/network-internal.h"
#include "service/network/seal.h"
#include "service/peers/peers.h"

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
    if (!o->vxlan_id &&
        (strv_len(o->peers) > 0 || o->vxlan_port || o->peer_key || o->wireguard_port))
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
    return 0;
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

/* --- peers --- */

static int add_peer(struct network *n, const char *text, struct error *err)
{
    const char *key = strchr(text, '=');
    _cleanup_free_ char *address = key ? xstrndup(text, (size_t)(key - text)) : xstrdup(text);
    _cleanup_free_ char *public_key = NULL;
    struct in_addr peer;
    int r = address_parse(address, &peer, err);
    if (r == 0 && key)
        r = seal_read_public(key + 1, &public_key, err);
    if (r < 0)
        return r;
    if (strv_has(n->peers, address) || (key && strv_has(n->peer_publics, public_key)))
        return error_invalid(err, "two peers with the same address or key: %s", text);
    strv_add(&n->peers, address);
    if (key)
        strv_add(&n->peer_publics, public_key);
    return 0;
}

int tunnel_set_peers(const struct network_options *o, struct network *n, struct error *err)
{
    int r = 0;
    n->peers = strv_copy(NULL);
    n->peer_publics = strv_copy(NULL);
    for (size_t i = 0; r == 0 && o->peers && o->peers[i]; i++)
        r = add_peer(n, o->peers[i], err);
    if (r < 0)
        return r;
    if (tunnel_is_sealed(n) && strv_len(n->peers) != strv_len(n->peer_publics))
        return error_invalid(err, "either all peers have a public key (--peer ADDRESS=KEY, which "
                                  "`proa network key` says there) or none has");
    if (o->wireguard_port && !tunnel_is_sealed(n))
        return error_invalid(err, "--wireguard-port: WireGuard needs the public keys of the other "
                                  "hosts: --peer ADDRESS=KEY");
    n->wireguard_port = tunnel_is_sealed(n) ? o->wireguard_port ? o->wireguard_port : SEAL_PORT : 0;
    return 0;
}

int tunnel_check_port(const struct network *n, struct network *const *others, struct error *err)
{
    for (size_t i = 0; tunnel_is_sealed(n) && others[i]; i++)
        if (others[i]->wireguard_port == n->wireguard_port)
            return error_set(err, ERROR_CONFLICT, EADDRINUSE,
                             "network %s has port %u/udp for its WireGuard: choose another with "
                             "--wireguard-port, the same on all hosts",
                             others[i]->name, n->wireguard_port);
    return 0;
}

int tunnel_check_keys(struct store *s, const struct network *n, struct error *err)
{
    return tunnel_is_sealed(n) ? seal_check(s, n, err) : 0;
}

struct in_addr tunnel_peer_address(const struct network *n, size_t peer)
{
    struct in_addr a = {0};
    if (tunnel_is_sealed(n))
        return seal_address(n->peer_publics[peer]);
    (void)!address_parse(n->peers[peer], &a, NULL);
    return a;
}

/* --- the links --- */

static void link_name(const struct network *n, char ret[IFNAMSIZ])
{
    snprintf(ret, IFNAMSIZ, "proax%.10s", n->id);
}

static int add_peers(struct netlink *nl, const struct network *n, uint32_t index, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && n->peers[i]; i++)
        r = netlink_vxlan_peer_add(nl, index, tunnel_peer_address(n, i), err);
    return r;
}

int tunnel_up(struct store *s, struct netlink *nl, const struct network *n, uint32_t bridge,
              struct error *err)
{
    char name[IFNAMSIZ];
    uint32_t index;
    if (!n->vxlan_id)
        return 0;
    link_name(n, name);
    struct netlink_vxlan v = {
        .name = name, .id = n->vxlan_id, .port = n->vxlan_port, .master = bridge, .mtu = n->mtu};
    int r = netlink_link_remove(nl, name, err);
    if (r == 0 && tunnel_is_sealed(n))
        r = seal_up(s, nl, n, &v.link, &v.local, err);
    if (r == 0)
        r = netlink_vxlan_create(nl, &v, err);
    if (r == 0)
        r = netlink_link_index(nl, name, &index, err);
    if (r == 0)
        r = netlink_link_no_ipv6_address(nl, index, err);
    return r < 0 ? r : add_peers(nl, n, index, err);
}

/* The VXLAN goes with the WireGuard link that it is in. */
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
    int r = netlink_link_remove(nl, name, err);
    return r < 0 ? r : seal_down(nl, n, err);
}
