/* Shared by the files of service/network only. */
#pragma once

#include <arpa/inet.h>

#include "base/buf.h"
#include "service/network/card.h"
#include "service/network/network.h"
#include "service/store/network.h"
#include "wire/lease/client.h"

/* --- subnet.c: text and choice of addresses --- */

/* "10.1.0.0/24" with no host bits set; prefix 8 to 29. */
int subnet_parse(const char *text, struct in_addr *ret_subnet, uint8_t *ret_prefix,
                 struct error *err) _must_check_;
int address_parse(const char *text, struct in_addr *ret, struct error *err) _must_check_;
/* In the subnet, and neither its first nor its last address. */
bool subnet_has(struct in_addr subnet, uint8_t prefix, struct in_addr address);
/* Prefixes from 1 to 32. */
bool subnet_overlaps(struct in_addr a, uint8_t a_prefix, struct in_addr b, uint8_t b_prefix);
struct address_text {
    char s[INET_ADDRSTRLEN];
};
struct address_text address_text(struct in_addr a);
/* The same for IPv6: prefix 16 to 96, unicast. */
int subnet6_parse(const char *text, struct in6_addr *ret_subnet, uint8_t *ret_prefix,
                  struct error *err) _must_check_;
int address6_parse(const char *text, struct in6_addr *ret, struct error *err) _must_check_;
bool subnet6_has(const struct in6_addr *subnet, uint8_t prefix, const struct in6_addr *address);
/* Whether two addresses begin alike. */
bool subnet6_same(const struct in6_addr *a, const struct in6_addr *b, uint8_t prefix);
/* Address number n of a subnet. */
struct in6_addr subnet6_address(const struct in6_addr *subnet, uint32_t n);
struct address6_text {
    char s[INET6_ADDRSTRLEN];
};
struct address6_text address6_text(const struct in6_addr *a);
/* fd..:: with random bits, /64 (RFC 4193). */
struct in6_addr subnet6_random(void);
/* The address that the kernel gives a link with this hardware address: fe80:: and EUI-64. */
struct in6_addr link_local_address(const struct link_mac *mac);
/* The nth subnet that may be proposed: for the default network, or for the others. False past the
 * last. */
bool subnet_candidate(bool is_default, size_t n, struct in_addr *ret_subnet, uint8_t *ret_prefix);

/* --- wall.c: machines on a macvlan --- */

/* From now on the port's macvtap sends with the port's addresses only. */
int wall_add(struct store *s, const struct store_port *port, struct error *err) _must_check_;
void wall_remove(struct store *s, const struct store_port *port);
/* Whether the port is a macvtap of this host's. */
bool wall_stands_at(const struct network *n, const struct store_port *port);

/* --- names.c: dnsmasq and its host files --- */

/* Starts the network's dnsmasq unless it runs; names_wait later makes sure that it answers, so that
 * it gets ready while other things are done. *ret_pid is 0 when it ran already. */
int names_up(struct store *s, const struct network *n, pid_t *ret_pid,
             struct error *err) _must_check_;
int names_wait(const struct network *n, pid_t pid, struct error *err) _must_check_;
bool names_running(struct store *s, const struct network *n);
void names_down(struct store *s, const struct network *n);
int names_add(const struct network *n, const struct store_port *port,
              struct error *err) _must_check_;
void names_remove(const struct network *n, const char *instance_id);
/* Where a network's host files are: NAME/hosts; owned. */
char *names_dir(const struct network *n);
/* The host file's text for a port; owned. */
char *names_text(const struct store_port *port);
/* A name, hostname or alias that may be written into a host file. */
bool names_valid(const char *name);

/* --- dnsmasq.c --- */

/* Above every range that distributions, user namespaces and systemd hand out. */
#define DNSMASQ_UID      2000000053u
#define DNSMASQ_READY_MS 5000
#define LEASE_UID        2000000054u
#define ADDRESS_UID      2000000055u

/* argv[0] and what all have in common; owned. */
char **dnsmasq_arguments(const char *name, struct in_addr address, uint16_t port);
int dnsmasq_start(char *const *argv, const char *pid_path, pid_t *ret_pid,
                  struct error *err) _must_check_;
int dnsmasq_wait(pid_t pid, struct in_addr address, uint16_t port, struct error *err) _must_check_;
bool dnsmasq_listening(struct in_addr address, uint16_t port);
void dnsmasq_stop(pid_t pid, const char *mark);
/* The process that the file names, if it has the mark among its arguments; else 0. This and the end
 * are for any program that is known by such a file. */
pid_t dnsmasq_recorded(const char *pid_path, const char *mark);
/* For a command that was killed between starting one and recording it. */
pid_t dnsmasq_searched(const char *mark);
/* Of proa-names and proa-peers, which begin as root. All with the mark end but one; a command that
 * was killed may have left several. */
void keepers_stop(const char *mark, pid_t except);
/* One that has begun says a byte; COMPLAINT is the error of one that does not. */
int keeper_await(int ready, const char *complaint, struct error *err) _must_check_;

/* --- pasta.c: the default network of an ordinary user --- */

/* What needs root. */
int pasta_check(const struct network_request *q, struct error *err) _must_check_;
/* Fills in port->fd: a namespace, or for a machine a socket that frames go through, each with its
 * length in four bytes before it. Takes the reservation of the host's ports over. */
int pasta_up(struct store *s, const struct network_request *q, const struct network *n,
             const struct store_port *row, struct network_port *port,
             struct error *err) _must_check_;
void pasta_down(struct store *s, const char *instance_id);

/* --- lease.c: addresses for machines that ask --- */

/* The machine's place is there to be asked for before this returns. */
int lease_add(struct store *s, const struct network *n, const struct store_port *port,
              uint32_t bridge, struct error *err) _must_check_;
/* Where a machine has been on this bridge, and what answers it is no more. */
bool lease_was_killed(struct store *s, const struct network *n, uint32_t bridge);
/* Under the network's lock: what was killed answers again. */
int lease_up(struct store *s, const struct network *n, uint32_t bridge,
             struct error *err) _must_check_;
void lease_remove(const struct network *n, const struct store_port *port);
void lease_down(struct store *s, const struct network *n);

/* --- attached.c --- */

#define NETWORK_PORTS_MAX 8 /* of one instance */

struct attached {
    struct store_port *rows;
    const struct store_port *ports[NETWORK_PORTS_MAX];
    struct network *networks[NETWORK_PORTS_MAX];
    size_t n;
};
int attached_read(struct store *s, const char *instance_id, struct attached *ret,
                  struct error *err) _must_check_;
void attached_done(struct attached *a);

/* --- learner.c: names of outside hosts, for an instance whose policies name some --- */

/* Starts, replaces or ends its proa-names, as ports and policies are now. */
int learner_settle(struct store *s, const char *instance_id, struct error *err) _must_check_;
void learner_down(struct store *s, const char *instance_id);
void learner_left(struct store *s, const struct store_port *row); /* the store says that it has */
bool learner_exists(struct store *s, const char *instance_id);
uint16_t learner_port(struct store *s, const char *instance_id); /* 0: it has none */

/* --- lan.c: addresses that the LAN's DHCP gives --- */

/* Whether Proa asks for the address of such an instance. */
bool lan_gives(const struct network *n, const struct network_request *q);
/* What the port has of the LAN now; false: nothing, or its address is not the LAN's to give. */
bool lan_grant(const struct store_port *port, struct lease_grant *ret);
/* Begins to ask and waits until the port has an address: rules and, of a container, its link have
 * it, too, and so has row. *ret_report: keep open while the instance runs. */
int lan_join(struct store *s, const struct network *n, struct store_port *row, int namespace_fd,
             int tap_fd, int *ret_report, struct error *err) _must_check_;
/* The address is given back, and nobody asks any more. */
void lan_leave(struct store *s, const struct store_port *row);

/* --- resolver.c: names for an instance on several networks --- */

/* Starts, replaces or stops the instance's resolver, as its ports are now. */
int resolver_settle(struct store *s, const char *instance_id, struct error *err) _must_check_;
void resolver_down(struct store *s, const char *instance_id);
bool resolver_exists(struct store *s, const char *instance_id);   /* or what is left of one */
uint16_t resolver_port(struct store *s, const char *instance_id); /* 0: it has none */
uint16_t resolver_read_port(const char *path);                    /* 0: there is none */
/* A port that nobody has at this moment, from the range that the rules guard; 0: none. */
uint16_t resolver_free_port(struct in_addr address);

/* --- bridge.c: bringing a network up and down --- */

/* RUN/networks/NAME, made when absent; owned. */
int bridge_run_dir(struct store *s, const struct network *n, char **ret,
                   struct error *err) _must_check_;
struct link_mac bridge_mac(const struct network *n);
/* Bridge, sysctls and dnsmasq, whichever is missing. Gives the bridge's index. */
int bridge_up(struct store *s, struct netlink *nl, const struct network *n, uint32_t *ret_index,
              struct error *err) _must_check_;
/* Of the default network of the default root; the others' are named by their network; owned. */
#define DEFAULT_BRIDGE "proa0"
char *bridge_own_name(const struct network *n);
/* This root's tables go, when no bridge and no port of its is left. */
int bridge_tables_down(struct store *s, struct netlink *nl, struct error *err) _must_check_;
/* Bridge, dnsmasq and rules go, and with the last bridge the tables. The caller holds LOCK_PLACES
 * exclusively. */
int bridge_down(struct store *s, struct netlink *nl, const struct network *n,
                struct error *err) _must_check_;

/* --- strays.c --- */

/* Networks that are up and have no row go. The caller holds LOCK_PLACES exclusively. */
int strays_down(struct store *s, struct netlink *nl, struct error *err) _must_check_;

/*
 * Locks, files below RUN/networks; operation as for flock(2). Order: PLACES before RULES.
 * PLACES is shared by whoever attaches, exclusive for what takes networks down: no bridge goes
 * between the moment an attach has seen it and the moment its link joins.
 * RULES is shared by whoever removes rules and then says so in the store, exclusive for loading the
 * table from the store.
 */
#define LOCK_PLACES "lock"
#define LOCK_RULES  "rules.lock"
int network_lock(struct store *s, const char *name, int operation, int *ret_fd,
                 struct error *err) _must_check_;

/* --- rate.c --- */

/* As the port's row says; the tables are there. A container's namespace, or -EBADF. */
int rate_add(struct store *s, struct netlink *nl, const struct store_port *port, int namespace_fd,
             struct error *err) _must_check_;
/* What the rules have of it; the rest goes with the link. */
void rate_remove(struct store *s, const struct store_port *port);
/* How many bytes may come at once, beyond a second's worth. */
uint64_t rate_burst_out(uint64_t bytes_per_s);

/* --- priority.c --- */

/* What a packet of such an instance carries; 0 where it carries what it did. */
uint32_t priority_number(enum network_priority priority);

/* --- publish.c --- */

static inline bool publish_is_any(const struct network_publish *p)
{
    return p->ipv6 ? IN6_IS_ADDR_UNSPECIFIED(&p->host_address6)
                   : p->host_address.s_addr == htonl(INADDR_ANY);
}

/* Binds a socket for each entry and fills in host ports that were 0; with `ipv6` entries without an
 * address are doubled first. A descriptor is -EBADF where nothing had to be reserved. */
int publish_reserve(struct network_publish **list, size_t *n, bool ipv6, int **ret_fds,
                    struct error *err) _must_check_;

/* --- address.c --- */

/* Words of a request that no network could follow. */
int request_check(const struct network_request *q, const struct network *n,
                  struct error *err) _must_check_;
/* Chooses addresses and writes the row and what is published; within a transaction. */
int port_record(struct store *s, const struct network_request *q, const struct network *n,
                const struct network_port *port, struct store_port *ret,
                struct error *err) _must_check_;

/* --- inside.c --- */

/* Brings a port's link up inside its container's namespace, with its addresses and routes. */
int inside_configure(int namespace_fd, const struct network *n, const struct store_port *row,
                     struct error *err) _must_check_;
/* In the place of what the LAN gave before it has what is given now. */
int inside_grant(int namespace_fd, const struct store_port *row, const struct lease_grant *old,
                 const struct lease_grant *now, struct error *err) _must_check_;
/* Its link goes; one that is absent is success. */
int inside_remove(int namespace_fd, const struct store_port *row, struct error *err) _must_check_;

/* --- members.c --- */

/* What the instance publishes from one network; owned. */
int published_on(struct store *s, const char *instance_id, const char *network,
                 struct network_publish **ret, size_t *ret_n, struct error *err) _must_check_;

/* --- policies.c --- */

/* The port's addresses are under the policies before this returns, by that name. */
int port_join_policies(struct store *s, const struct store_port *row, const char *name,
                       struct error *err) _must_check_;
void port_leave_policies(struct store *s, const struct store_port *row);

void port_take_dns(struct network_port *port, const struct lease_grant *grant);

/* --- attach.c --- */

/* Undoes everything of a port but its address; every part may be gone already. */
int port_take_down(struct store *s, const struct store_port *port, enum link_end end,
                   struct error *err);
