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
#include "service/store/store.h"

#define NETWORK_DEFAULT "proa" /* created on first use, cannot be removed */

struct network {
    char *name, *id;       /* id: 64 hex digits */
    char *bridge;          /* link name, at most 15 bytes; "proa0" for the default */
    struct in_addr subnet; /* network byte order */
    uint8_t prefix;
    struct in_addr gateway;
    uint16_t mtu;
    bool internal; /* no NAT, no way out */
    int64_t created_ns;
    char **labels;
};

void network_free(struct network *n); /* takes NULL */
DEFINE_CLEANUP(struct network *, network_free)
#define _cleanup_network_ _cleanup_(network_free_cleanup)

struct network_options {
    const char *name;
    const char *subnet;  /* "10.1.0.0/24"; NULL: the next free one */
    const char *gateway; /* NULL: the first address */
    bool internal;
    uint16_t mtu; /* 0: 1500 */
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
    struct in_addr host_address; /* 0.0.0.0: all */
    uint16_t host_port;          /* 0: a free one is chosen */
    uint16_t port;
    uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
};
/* "[[address:]host-port:]port[/proto]", ranges "8000-8003:80-83"; appends to *list. */
int network_publish_parse(const char *text, struct network_publish **list, size_t *n,
                          struct error *err) _must_check_;

struct network_request {
    const char *instance_id, *instance_name; /* the name is resolvable on the network */
    const char *hostname;                    /* also resolvable, may be NULL */
    char *const *aliases;                    /* may be NULL */
    const char *network;
    const char *address; /* fixed IPv4 address or NULL */
    const char *mac;     /* or NULL */
    bool machine;        /* a tap instead of a network namespace */
    const struct network_publish *publish;
    size_t n_publish;
};

struct network_port {
    int fd; /* network namespace, or tap; owned */
    struct in_addr address, gateway;
    uint8_t prefix;
    uint16_t mtu;
    char mac[18];
    char link[16];                   /* the host's end */
    struct network_publish *publish; /* with the chosen host ports; owned */
    size_t n_publish;
    int *hold_fds; /* sockets that reserve the host ports: keep open while running; owned */
    size_t n_hold_fds;
};
void network_port_done(struct network_port *p);

/* Gives the instance its place: address (kept across restarts until network_release), link, name,
 * published ports. Undoes itself on failure. */
int network_attach(struct store *s, const struct network_request *q, struct network_port *ret,
                   struct error *err) _must_check_;

/* Waits until the network's resolver answers for the instance, at most timeout_ms. False when it
 * did not: no failure, the name is on its way. */
bool network_name_settle(const struct network_port *port, const char *instance_id, int timeout_ms);

/* The instance stopped: name, rules and published ports go; the address stays reserved. The link
 * goes by itself with the last descriptor of its namespace or tap, and may not send any more. */
int network_detach(struct store *s, const char *instance_id, struct error *err);
/* The instance is removed: the address is free again. */
int network_release(struct store *s, const char *instance_id, struct error *err);

/* Renames what the network knows the instance by. */
int network_rename(struct store *s, const char *instance_id, const char *new_name,
                   struct error *err) _must_check_;

/* Who is on a network: for inspect. Owned vector, ended by an entry with a NULL instance_id. */
struct network_member {
    char *instance_id, *network;
    struct in_addr address;
    char mac[18];
};
int network_members(struct store *s, const char *network, struct network_member **ret,
                    struct error *err) _must_check_;
int network_member_of(struct store *s, const char *instance_id, struct network_member *ret,
                      struct error *err) _must_check_; /* -ENOENT when it has none */
/* The ports that an instance publishes now; owned, NULL when there is none. */
int network_published(struct store *s, const char *instance_id, struct network_publish **ret,
                      size_t *ret_n, struct error *err) _must_check_;
void network_member_done(struct network_member *m);
void network_members_free(struct network_member *list);

/* Removes ports, names and rules of instances for which alive() is false. */
int network_repair(struct store *s, bool (*alive)(void *context, const char *instance_id),
                   void *context, struct error *err);
/* Takes networks without running instances down (bridge, dnsmasq, rules); they stay defined. */
int network_down_idle(struct store *s, bool (*alive)(void *context, const char *instance_id),
                      void *context, struct error *err);

/* What the files in an instance say: resolv.conf's and hosts' text for a port. Owned. */
char *network_resolv_conf(const struct network_port *p);
char *network_hosts(const struct network_port *p, const char *hostname, const char *name);
