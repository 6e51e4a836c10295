/*
 * WireGuard links, thin and typed: made by rtnetlink, told their keys and peers by generic netlink.
 * No program of WireGuard's is needed. What has to be the caller's network namespace is that of the
 * calling thread.
 */
#pragma once

#include "kernel/netlink.h"

#define WIREGUARD_KEY_SIZE 32

struct wireguard_key {
    uint8_t bytes[WIREGUARD_KEY_SIZE];
};

/* What it has of a peer. */
struct wireguard_peer {
    struct wireguard_key public_key;
    struct in_addr endpoint; /* where it is asked for, and the port there (UDP, host order) */
    uint16_t port;
    struct in_addr inside; /* the one address that is behind it */
    /* Of one that is asked about: when both last agreed on keys (0: never), and how much came and
     * went. */
    int64_t agreed_s;
    uint64_t received, sent;
};
#define WIREGUARD_PEERS_MAX 64u

/* A link, down, without a key. ERROR_UNSUPPORTED where the kernel has no WireGuard. */
int wireguard_create(struct netlink *nl, const char *name, uint16_t mtu,
                     struct error *err) _must_check_;
int wireguard_configure(const char *name, const struct wireguard_key *private_key, uint16_t port,
                        const struct wireguard_peer *peers, size_t n,
                        struct error *err) _must_check_;
/* What it has now: its public key, and at most `max` peers. */
int wireguard_show(const char *name, struct wireguard_key *ret_public, struct wireguard_peer *peers,
                   size_t max, size_t *ret_n, struct error *err) _must_check_;

/* Any 32 random bytes are a private key; the kernel knows the public one that belongs to it. */
int wireguard_public(const struct wireguard_key *private_key, struct wireguard_key *ret,
                     struct error *err) _must_check_;
