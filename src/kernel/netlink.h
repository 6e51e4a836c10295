/*
 * rtnetlink, thin and typed: links, addresses and routes of one network namespace.
 *
 * A socket belongs to the namespace it was opened in and stays there whatever the process enters
 * afterwards; it is opened once and used for every request. Each request is one round trip; the
 * kernel has done it when the function returns.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct netlink;

int netlink_open(struct netlink **ret, struct error *err) _must_check_;
void netlink_free(struct netlink *nl); /* takes NULL */
DEFINE_CLEANUP(struct netlink *, netlink_free)
#define _cleanup_netlink_ _cleanup_(netlink_free_cleanup)

struct link_mac {
    uint8_t bytes[6];
};

/* "02:50:0a:58:00:02"; a multicast address is refused. */
int link_mac_parse(const char *text, struct link_mac *ret) _must_check_;
void link_mac_format(const struct link_mac *mac, char ret[18]);

/* A link's index by its name; -ENODEV when there is none. */
int netlink_link_index(struct netlink *nl, const char *name, uint32_t *ret,
                       struct error *err) _must_check_;

/* A bridge without spanning tree or multicast snooping, up, that hands what it switches to
 * netfilter's chains for routed packets. -EEXIST when the name is taken. */
int netlink_bridge_create(struct netlink *nl, const char *name, const struct link_mac *mac,
                          uint16_t mtu, struct error *err) _must_check_;

struct netlink_veth {
    const char *name; /* this end, in the socket's namespace */
    uint32_t master;  /* the bridge it joins */
    uint16_t mtu;     /* of both ends */
    const char *peer_name;
    int peer_namespace; /* the peer is created there, down; this end is up */
    const struct link_mac *peer_mac;
};
int netlink_veth_create(struct netlink *nl, const struct netlink_veth *veth,
                        struct error *err) _must_check_;

struct netlink_macvlan {
    const char *name;
    uint32_t parent; /* in the socket's namespace */
    uint16_t mtu;
    const struct link_mac *mac;
    bool tap;         /* a macvtap, for a machine */
    int namespace_fd; /* it is created there, down; -EBADF: in the socket's */
};
/* In bridge mode: those of one parent reach each other. -EEXIST when the name is taken. */
int netlink_macvlan_create(struct netlink *nl, const struct netlink_macvlan *m,
                           struct error *err) _must_check_;

struct netlink_vxlan {
    const char *name;
    uint32_t id;
    uint16_t port; /* UDP, host order */
    uint32_t master;
    uint16_t mtu;
    uint32_t link;        /* what carries it, and takes it away when it goes; 0: any */
    struct in_addr local; /* the address that it sends from; 0.0.0.0: the route's */
};
/* Up, on its bridge. -EEXIST: the name, or the id with that port, is taken. */
int netlink_vxlan_create(struct netlink *nl, const struct netlink_vxlan *v,
                         struct error *err) _must_check_;
int netlink_vxlan_peer_add(struct netlink *nl, uint32_t index, struct in_addr peer,
                           struct error *err) _must_check_;

/* Changes what is named: master 0 and mtu 0 leave it as it is. Always brings the link up. */
int netlink_link_up(struct netlink *nl, uint32_t index, uint32_t master, uint16_t mtu,
                    struct error *err) _must_check_;

/* Lets a bridge's port send frames back to where they came from: what an instance sends to a port
 * that it publishes itself, on hosts whose bridges call iptables and nft. */
int netlink_port_hairpin(struct netlink *nl, const char *name, struct error *err) _must_check_;
/* Isolated ports of a bridge do not reach each other. */
int netlink_port_isolate(struct netlink *nl, const char *name, struct error *err) _must_check_;

/* What leaves by the link waits, so that it is no more than that; 0: as fast as it goes. */
int netlink_link_rate(struct netlink *nl, const char *name, uint64_t bytes_per_s,
                      uint64_t burst_bytes, struct error *err) _must_check_;

/* Keeps the kernel from giving the link an IPv6 address of its own. */
int netlink_link_no_ipv6_address(struct netlink *nl, uint32_t index,
                                 struct error *err) _must_check_;

/* One that is down gets another name; -ENODEV: there is none. */
int netlink_link_rename(struct netlink *nl, const char *from, const char *to,
                        struct error *err) _must_check_;
/* Down, and out of its bridge. */
int netlink_link_down(struct netlink *nl, const char *name, struct error *err) _must_check_;

/* Removes a link by name; one that is absent is success. */
int netlink_link_remove(struct netlink *nl, const char *name, struct error *err) _must_check_;

/* An address that is there already is success. */
int netlink_address_add(struct netlink *nl, uint32_t index, struct in_addr address, uint8_t prefix,
                        struct error *err) _must_check_;
/* One that is absent is success. With the last of a link its routes go, too. */
int netlink_address_remove(struct netlink *nl, uint32_t index, struct in_addr address,
                           uint8_t prefix, struct error *err) _must_check_;
int netlink_address6_add(struct netlink *nl, uint32_t index, const struct in6_addr *address,
                         uint8_t prefix, struct error *err) _must_check_;
/* One that is there already stays, and that is success: the first network is the way out. */
int netlink_default_route_add(struct netlink *nl, uint32_t index, struct in_addr gateway,
                              struct error *err) _must_check_;
/* To one address, which is behind the link itself, from that one. */
int netlink_host_route_add(struct netlink *nl, uint32_t index, struct in_addr to,
                           struct in_addr from, struct error *err) _must_check_;
int netlink_default_route6_add(struct netlink *nl, uint32_t index, const struct in6_addr *gateway,
                               struct error *err) _must_check_;

struct netlink_link {
    uint32_t index;
    uint32_t master; /* 0: none */
    const char *name;
};
struct netlink_subnet {
    struct in_addr address;   /* an address' network or a route's destination */
    struct in6_addr address6; /* the same, as it was given, when ipv6 */
    bool ipv6;
    uint8_t prefix;
    uint32_t index; /* 0: none */
};

/* Calls back for each link; each address and each route (the default route excepted) of any table.
 * A callback that gives anything but 0 ends the walk with that value. */
int netlink_links(struct netlink *nl, int (*each)(void *context, const struct netlink_link *link),
                  void *context, struct error *err) _must_check_;
int netlink_subnets(struct netlink *nl,
                    int (*each)(void *context, const struct netlink_subnet *subnet), void *context,
                    struct error *err) _must_check_;
