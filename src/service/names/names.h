/*
 * proa-names: names of outside hosts, for one instance.
 *
 * Two processes of one program. The *relay* (relay.c, relay-tcp.c) parses: it passes what the
 * instance asks on to the network's dnsmasq, and holds each answer back until the addresses in it
 * may be used. It has no privilege and no way to anything but the descriptors that it began with.
 * The *keeper* (keeper.c) may change nftables, and nothing else: it is told "this name, these
 * addresses, for so long" in a struct of fixed size, checks all of it against the lists that the
 * policies have for this instance, and adds to the sets of those lists that the name fits.
 *
 * So the worst that a relay can do that has been taken over is to open addresses outside to this
 * one instance under names that it may reach anyway. If either dies the other ends, and names are
 * not answered until the next command of Proa's starts both again (service/network/learner.c).
 */
#pragma once

#include "service/policy/learned.h"
#include "wire/dns/dns.h"

/* What one instance may know at a time; an answer for which there is no room is not given. */
#define NAMES_LEARNED_MAX 4096u
/* An address is good for as long as its answer says, but not less and not more. */
#define NAMES_LEAST_S 60u
#define NAMES_MOST_S  604800u
/* A card of IPv4 and one of IPv6 on each of its networks. */
#define NAMES_ADDRESSES_MAX 16u

/* Above every range that distributions, user namespaces and systemd hand out. */
#define NAMES_KEEPER_UID 2000000055u
#define NAMES_RELAY_UID  2000000056u

/* Descriptors: the sockets that the instance's questions come to, bound; and of the keeper only
 * what it is to do, and where it says "r" when all is ready. */
enum {
    NAMES_UDP = 3,
    NAMES_TCP = 4,
    NAMES_CONFIG = 5,
    NAMES_READY = 6,
};

/* --- config.c --- */

struct names_config {
    char table[sizeof(((struct store_table *)NULL)->name)]; /* of this root's policies */
    struct policy_address addresses[NAMES_ADDRESSES_MAX];   /* the instance's */
    size_t n_addresses;
    struct policy_domains *lists;
    size_t n_lists;
};
#define NAMES_CONFIG_MAX ((size_t)32 << 20)
void names_config_done(struct names_config *c);
/* Lines such as "table proa-policy", "address 10.1.0.2" and "list 17 example.com *.example.org";
 * owned, NULL where it is too long. */
char *names_config_text(const struct names_config *c);
/* 0 or -EINVAL. */
int names_config_parse(const char *text, struct names_config *ret);
