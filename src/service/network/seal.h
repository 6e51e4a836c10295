/*
 * WireGuard below the VXLAN of a network that spans hosts.
 *
 * A host has one key pair, made when it is first needed, whose private half is in
 * ROOT/wireguard.key and goes nowhere but to the kernel. A network has a link of its own, and in it
 * each host an address that follows from its public key: so nobody has to agree on addresses, and a
 * packet with such an address was encrypted with that key. They are out of 240.0.0.0/4, which
 * nobody else has.
 */
#pragma once

#include "kernel/wireguard.h"
#include "service/network/network.h"

#define SEAL_PORT 51820 /* UDP; the same on all hosts of a network */
/* Not "proa": links that begin so are of instances, and not noted as others of the host are. */
#define SEAL_LINK_PREFIX "wproa"

/* A public key as `wg` writes it; owned. */
int seal_read_public(const char *text, char **ret, struct error *err) _must_check_;
struct in_addr seal_address(const char *public_key);
/* The peers' keys are not this host's, and no two of all give one address. */
int seal_check(struct store *s, const struct network *n, struct error *err) _must_check_;

/* What the VXLAN stands on, and the address that it sends from. */
int seal_up(struct store *s, struct netlink *nl, const struct network *n, uint32_t *ret_index,
            struct in_addr *ret_local, struct error *err) _must_check_;
int seal_down(struct netlink *nl, const struct network *n, struct error *err) _must_check_;

/* WireGuard below a VXLAN. This host's public key, as `wg` writes it, which is made when there is
 * none; owned. ERROR_UNSUPPORTED where the kernel has no WireGuard. */
int network_public_key(struct store *s, char **ret, struct error *err) _must_check_;
struct network_sealed_peer {
    int64_t agreed_s; /* when both last agreed on keys, since 1970; 0: never */
    uint64_t received, sent;
};
/* list has room for as many as the network has peers, in their order, and is zero. */
int network_sealed_peers(struct store *s, const struct network *n, char **ret_public,
                         struct network_sealed_peer *list, struct error *err) _must_check_;
