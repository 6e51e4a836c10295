/* The VXLAN of a network that spans hosts, and the WireGuard link that it may be in (sealed).
 * Nothing of it on a network that does not. */
#pragma once

#include "kernel/netlink.h"
#include "service/network/network.h"

/* Options that no host could follow, or not beside the others. */
int tunnel_check(const struct network_options *o, struct error *err) _must_check_;
int tunnel_set_peers(const struct network_options *o, struct network *n,
                     struct error *err) _must_check_;
/* ERROR_CONFLICT where another network has the port of its WireGuard. */
int tunnel_check_port(const struct network *n, struct network *const *others,
                      struct error *err) _must_check_;
/* This host has a key, and none of the peers has the same. */
int tunnel_check_keys(struct store *s, const struct network *n, struct error *err) _must_check_;
int tunnel_check_gateways(const struct network *n, struct error *err) _must_check_;

/* Of --ip-range, which is this host's part of a network that spans hosts. An IPv6 address is of the
 * part that the IPv4 address of its number is of. */
bool part_has(const struct network *n, struct in_addr address);
bool part6_has(const struct network *n, const struct in6_addr *address);

/* On the bridge of that index, in the place of what a bring-up that was killed has left. The rules
 * that let only the peers in are there. */
int tunnel_up(struct store *s, struct netlink *nl, const struct network *n, uint32_t bridge,
              struct error *err) _must_check_;
bool tunnel_is_up(struct netlink *nl, const struct network *n);
int tunnel_down(struct netlink *nl, const struct network *n, struct error *err) _must_check_;

static inline bool tunnel_is_sealed(const struct network *n)
{
    return n->peer_publics && n->peer_publics[0];
}

/* Where a peer's end of the VXLAN is: its own address, or one that is only in WireGuard. */
struct in_addr tunnel_peer_address(const struct network *n, size_t peer);
