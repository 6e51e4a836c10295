/*
 * Networks and ports: an instance's place on a network.
 *
 * A network is a subnet with a bridge, an address table (in the store), a dnsmasq that answers
 * names, and rules in Proa's own nftables table `inet proa`. It is brought up when its first port
 * is attached and stays up until `network rm`, `system prune` or a reboot: bringing it up is
 * idempotent and repairs whatever part is missing.
 *
 * A port is kernel objects that die with the monitor that holds their descriptors: for a container
 * a network namespace with one end of a veth pair, for a machine a tap. So a killed monitor leaks
 * no link; rules and addresses that are left over are removed by network_repair.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "service/network/rate.h"
#include "service/store/store.h"

#define NETWORK_DEFAULT "proa" /* created on first use, cannot be removed */

enum network_driver {
    NETWORK_BRIDGE = 0, /* a bridge of Proa's own, or with a parent a bridge of the LAN's */
    NETWORK_MACVLAN = 1,
};
const char *network_driver_name(enum network_driver driver);
int network_driver_from_name(const char *name, enum network_driver *ret) _must_check_;

struct network {
    char *name, *id;       /* id: 64 hex digits */
    char *bridge;          /* link name, at most 15 bytes; "proa0" for the default */
    struct in_addr subnet; /* network byte order */
    uint8_t prefix;
    struct in_addr gateway;
    struct in6_addr subnet6, gateway6;
    uint8_t prefix6; /* 0: no IPv6 */
    uint16_t mtu;
    bool internal; /* no NAT, no way out */
    bool isolated; /* its instances do not reach each other */
    enum network_driver driver;
    char *parent;      /* a link of the host's that leads to the LAN; NULL: none */
    uint32_t vxlan_id; /* 0: not spread over hosts */
    uint16_t vxlan_port, wireguard_port;
    /* Other hosts' IPv4 addresses, never NULL; their public keys, if they have some (seal.h); 64
     * hex digits, or NULL. */
    char **peers, **peer_publics, *peer_key;
    struct in_addr range; /* the part of the subnet that addresses are given out of */
    uint8_t range_prefix; /* 0: all of it */
    int64_t created_ns;
    char **labels;
};

void network_free(struct network *n); /* takes NULL */
DEFINE_CLEANUP(struct network *, network_free)
#define _cleanup_network_ _cleanup_(network_free_cleanup)

struct network_options {
    const char *name;
    enum network_driver driver;
    const char *parent;    /* a link of the host's on the LAN: subnet and gateway are the LAN's */
    char *const *subnets;  /* at most one of each family; without IPv4: the next free one */
    char *const *gateways; /* of the subnets; absent: the first address */
    bool ipv6;             /* IPv6 without a subnet: a random local one (RFC 4193) */
    bool internal, isolated;
    uint16_t mtu; /* 0: 1500, or what fits into a tunnel */
    /* Of the subnet, as a subnet, NULL: all of it. A file with what the hosts know, or NULL. */
    const char *range, *peer_key;
    uint32_t vxlan_id;                   /* 0: this host only */
    uint16_t vxlan_port, wireguard_port; /* 0: 4789, 51820 */
    char *const *peers; /* IPv4 addresses of the other hosts, each with "=" and a public key */
    char *const *labels;
};

int network_create(struct store *s, const struct network_options *o, struct network **ret,
                   struct error *err) _must_check_;
int network_find(struct store *s, const char *name_or_id, struct network **ret,
                 struct error *err) _must_check_;
int network_list(struct store *s, struct network ***ret, struct error *err) _must_check_;
void network_list_free(struct network **list);
/* ERROR_CONFLICT while an instance has an address on it, or for the default network. */
int network_remove(struct store *s, const char *name_or_id, struct error *err) _must_check_;

/* A published port: host side to instance side. */
struct network_publish {
    struct in_addr host_address;   /* 0.0.0.0: all */
    struct in6_addr host_address6; /* :: all; the one that counts when ipv6 */
    bool ipv6;
    bool both; /* no address was named: all of IPv4, and of IPv6 where the instance has that */
    uint16_t host_port; /* 0: a free one is chosen */
    uint16_t port;
    uint8_t protocol; /* IPPROTO_TCP, IPPROTO_UDP or IPPROTO_SCTP */
};
/* "[[address:]host-port:]port[/proto]", ranges "8000-8003:80-83", IPv6 addresses in brackets;
 * appends to *list. */
int network_publish_parse(const char *text, struct network_publish **list, size_t *n,
                          struct error *err) _must_check_;

struct network_request {
    const char *instance_id, *instance_name; /* the name is resolvable on the network */
    const char *hostname;                    /* also resolvable, may be NULL */
    char *const *aliases;                    /* may be NULL */
    const char *network;
    const char *address, *address6, *mac; /* fixed ones or NULL */
    bool machine;                         /* a tap instead of a network namespace */
    bool asks; /* finds its address itself: a system of its own on a disk */
    bool more; /* one that runs, or has ports by now: a container's joins
                  netns_fd; otherwise a namespace is made */
    int netns_fd;
    const struct network_publish *publish;
    size_t n_publish;
    struct network_rate rate;
    enum network_priority priority;
    uint32_t connections;
};

struct network_port {
    int fd;       /* network namespace that was made, or tap; else -EBADF; owned */
    int lease_fd; /* the address is the LAN's: keep open while running, and when it becomes readable
                     see lan.h; else -EBADF; owned */
    char *network;
    uint8_t position; /* the link inside is ethN */
    struct in_addr address, gateway;
    struct in6_addr address6, gateway6;
    uint8_t prefix, prefix6; /* 0: none of that family */
    bool internal;
    bool lan;              /* the gateway is the LAN's: it has no names of ours */
    struct in_addr dns[3]; /* whom the LAN's DHCP names */
    size_t n_dns;
    uint16_t mtu;
    char mac[18];
    char link[16];                   /* the host's end */
    struct network_publish *publish; /* with the chosen host ports; owned */
    size_t n_publish;
    int *hold_fds; /* sockets that reserve the host ports: keep open while running; owned */
    size_t n_hold_fds;
};
void network_port_init(struct network_port *p); /* nothing, and no descriptors */
void network_port_done(struct network_port *p);

/* Gives the instance a port on one network: addresses (kept across restarts until they are
 * released), link, names, published ports. Undoes itself on failure. */
int network_attach(struct store *s, const struct network_request *q, struct network_port *ret,
                   struct error *err) _must_check_;
/* Whether the attach of such a request could be done: words, addresses that are free. */
int network_check(struct store *s, const struct network_request *q, struct error *err) _must_check_;

/* Waits until the network's resolver answers for the instance, at most timeout_ms. False when it
 * did not: no failure, the name is on its way. */
bool network_name_settle(const struct network_port *port, const char *instance_id, int timeout_ms);

/* The instance stopped: names, rules and published ports go; the addresses stay reserved. Links
 * go by themselves with the last descriptor of their namespace or tap, and may not send any more.
 */
int network_detach(struct store *s, const char *instance_id, struct error *err);
/* The instance is removed: its addresses are free again. */
int network_release(struct store *s, const char *instance_id, struct error *err);
/* It leaves one network, its link at once: out of the namespace of a container that runs, or
 * -EBADF. keeps_card: a light machine that runs. Not on it: success. */
int network_leave(struct store *s, const char *instance_id, const char *network, int namespace_fd,
                  bool keeps_card, struct error *err) _must_check_;

/* The way out of a namespace by the first of the instance's networks that has one, where there is
 * none now. */
int network_find_way(struct store *s, const char *instance_id, int namespace_fd,
                     struct error *err) _must_check_;

/* Renames what the network knows the instance by. */
int network_rename(struct store *s, const char *instance_id, const char *new_name,
                   struct error *err) _must_check_;

/* Whether what a bridge switches between its ports passes netfilter's `forward` (br_netfilter). */
bool network_filters_switched(void);

/* Who is on a network: for inspect. Owned vector, ended by an entry with a NULL instance_id. */
struct network_member {
    char *instance_id, *network;
    uint8_t position;
    struct in_addr address;
    struct in6_addr address6;
    struct in_addr gateway; /* what the LAN's DHCP gave with the address; else as the network's */
    uint8_t prefix;         /* of that; else 0 */
    char mac[18], link[16];
    char **aliases;
    bool attached;
};
int network_members(struct store *s, const char *network, struct network_member **ret,
                    struct error *err) _must_check_;
/* An instance's ports, by position; owned as above. */
int network_ports_of(struct store *s, const char *instance_id, struct network_member **ret,
                     struct error *err) _must_check_;
/* The ports that an instance publishes now; owned, NULL when there is none. */
int network_published(struct store *s, const char *instance_id, struct network_publish **ret,
                      size_t *ret_n, struct error *err) _must_check_;
void network_members_free(struct network_member *list);

/* Removes ports, names and rules of instances for which alive() is false. */
int network_repair(struct store *s, bool (*alive)(void *context, const char *instance_id),
                   void *context, struct error *err);
/* After a change of policies, or a kill: what learns names of outside hosts for instances is there
 * where policies name some, and nowhere else. */
int network_settle_names(struct store *s, struct error *err) _must_check_;
/* Takes networks without running instances down (bridge, dnsmasq, rules); they stay defined. */
int network_down_idle(struct store *s, bool (*alive)(void *context, const char *instance_id),
                      void *context, struct error *err);

/* What the files in an instance say: resolv.conf's and hosts' text for its ports. Owned. */
int network_resolv_conf_of(struct store *s, const char *instance_id, char **ret,
                           struct error *err) _must_check_; /* as its ports are now */
char *network_resolv_conf(const struct network_port *ports, size_t n);
char *network_hosts(const struct network_port *ports, size_t n, const char *hostname,
                    const char *name);
