/* Shared by the files of service/network only. */
#pragma once

#include <arpa/inet.h>

#include "kernel/netlink.h"
#include "service/network/network.h"
#include "service/store/network.h"

/* --- subnet.c: text and choice of addresses --- */

/* "10.1.0.0/24" with no host bits set; prefix 8 to 29. */
int subnet_parse(const char *text, struct in_addr *ret_subnet, uint8_t *ret_prefix,
                 struct error *err) _must_check_;
int address_parse(const char *text, struct in_addr *ret, struct error *err) _must_check_;
/* In the subnet, and neither its first nor its last address. */
bool subnet_has(struct in_addr subnet, uint8_t prefix, struct in_addr address);
struct address_text {
    char s[INET_ADDRSTRLEN];
};
struct address_text address_text(struct in_addr a);
/* The nth subnet that may be proposed: for the default network, or for the others. False past the
 * last. */
bool subnet_candidate(bool is_default, size_t n, struct in_addr *ret_subnet, uint8_t *ret_prefix);

/* --- rules.c: the one table --- */

/* Makes rules for the network (repeating is free) and for a port with its published ports. Puts the
 * whole table up, from the store, when it is not there. port NULL: the network only. */
int rules_add(struct store *s, const struct network *n, const struct store_port *port,
              const struct network_publish *publish, size_t n_publish,
              struct error *err) _must_check_;
/* Absent rules are success. */
void rules_remove_port(const struct store_port *port, const struct network_publish *publish,
                       size_t n_publish);
void rules_remove_network(const struct network *n);
/* Both tables go. */
int rules_remove_all(struct error *err);
/* Replaces the tables by what the store says. */
int rules_reload(struct store *s, struct error *err) _must_check_;
/* Puts the tables up if they are missing. */
int rules_repair(struct store *s, struct error *err) _must_check_;

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
/* The host file's text for a port; owned. */
char *names_text(const struct store_port *port);
/* A name, hostname or alias that may be written into a host file. */
bool names_valid(const char *name);

/* --- bridge.c: bringing a network up and down --- */

/* RUN/networks/NAME, made when absent; owned. */
int bridge_run_dir(struct store *s, const struct network *n, char **ret,
                   struct error *err) _must_check_;
/* Bridge, sysctls and dnsmasq, whichever is missing. Gives the bridge's index. */
int bridge_up(struct store *s, struct netlink *nl, const struct network *n, uint32_t *ret_index,
              struct error *err) _must_check_;
/* Bridge, dnsmasq and rules go, and with the last bridge the tables. The caller holds LOCK_PLACES
 * exclusively. */
int bridge_down(struct store *s, struct netlink *nl, const struct network *n,
                struct error *err) _must_check_;

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

/* --- publish.c --- */

/* Binds a socket for each entry and fills in host ports that were 0. */
int publish_reserve(struct network_publish *list, size_t n, int **ret_fds,
                    struct error *err) _must_check_;

/* --- attach.c --- */

/* Undoes everything of a port but its address; every part may be gone already. */
int port_take_down(struct store *s, const struct store_port *port, bool remove_link,
                   struct error *err);
