/*
 * Networks, ports and published ports in the store: rows only; links, rules and names are
 * service/network's.
 *
 * A port row is an address that an instance keeps until it is released. `attached` says that links,
 * names and rules for it may exist: it is set before the first of them is made and cleared after
 * the last is gone, so that repair knows where to look after a kill. Published ports have rows only
 * while attached.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "service/network/network.h"
#include "service/store/store.h"

/* ERROR_CONFLICT when the name, the bridge or an overlapping subnet is taken. */
int store_network_add(struct store *s, const struct network *n, struct error *err) _must_check_;
/* By name, full id, or unambiguous id prefix (>= 4 digits). *ret is owned. */
int store_network_find(struct store *s, const char *reference, struct network **ret,
                       struct error *err) _must_check_;
/* By name; NULL-terminated, owned. */
int store_network_list(struct store *s, struct network ***ret, struct error *err) _must_check_;
int store_network_set_bridge(struct store *s, const char *name, const char *bridge,
                             struct error *err) _must_check_;
int store_network_remove(struct store *s, const char *name, struct error *err) _must_check_;

struct store_port {
    char *instance_id, *network;
    uint8_t position;         /* its link inside is ethN */
    struct in_addr address;   /* 0.0.0.0: none of ours */
    struct in6_addr address6; /* ::: none */
    char *mac, *link;
    char *name, *hostname; /* hostname may be NULL */
    char **aliases;        /* never NULL */
    bool attached;
    struct network_rate rate;
    enum network_priority priority;
    uint32_t connections; /* network_connections_parse */
    char *lease; /* what the LAN's DHCP gave, or gave last (lease_grant_format); "" for nothing yet;
                    NULL: the address is not the LAN's to give */
};
void store_port_done(struct store_port *p);
void store_port_list_free(struct store_port *list); /* ended by a NULL instance_id; takes NULL */

/* Inserts or replaces the row of an instance on a network. */
int store_port_put(struct store *s, const struct store_port *p, struct error *err) _must_check_;
/* -ENOENT when the instance is not on it. */
int store_port_get(struct store *s, const char *instance_id, const char *network,
                   struct store_port *ret, struct error *err) _must_check_;
/* All ports of an instance, by position. */
int store_port_of(struct store *s, const char *instance_id, struct store_port **ret,
                  struct error *err) _must_check_;
/* network NULL: of all networks. Ordered by address. */
int store_port_list(struct store *s, const char *network, struct store_port **ret,
                    struct error *err) _must_check_;
int store_port_detached(struct store *s, const char *instance_id, const char *network,
                        struct error *err) _must_check_;
int store_port_set_rate(struct store *s, const char *instance_id, const char *network,
                        const struct network_rate *rate, struct error *err) _must_check_;
int store_port_set_priority(struct store *s, const char *instance_id, const char *network,
                            enum network_priority priority, struct error *err) _must_check_;
int store_port_set_connections(struct store *s, const char *instance_id, const char *network,
                               uint32_t connections, struct error *err) _must_check_;
/* What the LAN gives now: its address is the port's. ERROR_CONFLICT when another has it. */
int store_port_set_lease(struct store *s, const char *instance_id, const char *network,
                         struct in_addr address, const char *lease, struct error *err) _must_check_;
int store_port_remove(struct store *s, const char *instance_id, const char *network,
                      struct error *err) _must_check_;
int store_port_rename(struct store *s, const char *instance_id, const char *name,
                      struct error *err) _must_check_;

/* The next address after the one given last, so that one that has just become free rests longest.
 * ERROR_LIMIT when the subnet is full. Belongs in the transaction that puts the port. */
int store_port_next_address(struct store *s, const struct network *n, struct in_addr *ret,
                            struct error *err) _must_check_;
/* Who holds an address: *ret_holder (an instance id) is owned, NULL when nobody does. */
int store_port_holder(struct store *s, const char *network, struct in_addr address,
                      char **ret_holder, struct error *err) _must_check_;

int store_port_holder6(struct store *s, const char *network, const struct in6_addr *address,
                       char **ret_holder, struct error *err) _must_check_;

struct store_publish {
    char *instance_id, *network;
    struct in_addr target; /* the instance's address there */
    struct in6_addr target6;
    struct network_publish publish;
};
void store_publish_list_free(struct store_publish *list); /* ended by a NULL instance_id */

/* Replaces what the instance publishes from that network. A row of another instance for the same
 * host port is removed: who holds the reserving socket is right. */
int store_publish_put(struct store *s, const char *instance_id, const char *network,
                      const struct network_publish *publish, size_t n,
                      struct error *err) _must_check_;
/* instance_id NULL: of all instances. */
int store_publish_list(struct store *s, const char *instance_id, struct store_publish **ret,
                       struct error *err) _must_check_;
