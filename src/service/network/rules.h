/* The text of Proa's tables; the parts that change are sets and maps, filled by rules.c. */
#pragma once

#include "base/buf.h"
#include "service/store/network.h"

/* The port dnsmasq listens on; instances reach it as port 53 of their gateway. */
#define NAMES_PORT 10053
/* Those of instances on several networks. */
#define RESOLVER_FIRST 10054
#define RESOLVER_LAST  11053

#define RULES_TABLE   "proa" /* what the tables' name begins with: store_table() */
#define RULES_VERSION "v15"  /* a set by that name marks tables with this text */
#define RULES_SHARED  "v13"  /* the last that all roots had in common */
/* What every port's link name begins with: the bridge table knows ports by it. */
#define PORT_LINK_PREFIX "proav"

/* What a limit object says: bytes a second, and how many at once. */
#define RATE_LIMIT "rate over %2$llu bytes/second burst %3$llu bytes;"

/* --- ruleset.c, refused.c --- */

/* Set and map declarations come before, chains after: rules.c puts the elements between. */
extern const char rules_inet_chains[];
extern const char rules_bridge_chains[];
/* What goes into those chains with the first limit or priority; can be loaded again. */
int rules_put_special(struct buf *out, const char *table) _must_check_;

/* The table ("bridge proa"), its sets and the chain for what a port may not send: it is noted
 * there, and dropped. link: by what the port is known, "iifname" or "oifname". */
int refused_put(struct buf *out, const char *table, const char *chain,
                const char *link) _must_check_;

/* --- rules.c: changes, of all tables of a root --- */

/* Makes rules for the network (repeating is free) and for a port with its published ports. Puts the
 * whole table up, from the store, when it is not there. port NULL: the network only. */
int rules_add(struct store *s, const struct network *n, const struct store_port *port,
              const struct network_publish *publish, size_t n_publish,
              struct error *err) _must_check_;
/* Absent rules are success. */
void rules_remove_port(struct store *s, const struct network *n, const struct store_port *port,
                       const struct network_publish *publish, size_t n_publish);
/* Last: from now on what comes in by its link is not looked at. */
void rules_remove_link(struct store *s, const struct store_port *port);
/* Of a port that stays. */
void rules_remove_priority(struct store *s, const struct store_port *port);
void rules_remove_network(struct store *s, const struct network *n);
/* What this address asks is led to that port, wherever it was led before. */
int rules_add_resolver(struct store *s, struct in_addr address, uint16_t port,
                       struct error *err) _must_check_;
void rules_remove_resolver(struct store *s, struct in_addr address);
/* All tables go. */
int rules_remove_all(struct store *s, struct error *err);
/* Replaces the tables by what the store says. */
int rules_reload(struct store *s, struct error *err) _must_check_;
/* compose.c: both tables as nft reads them. */
#define RULESET_MAX ((size_t)64 << 20)
int rules_compose(struct store *s, struct buf *out, struct error *err) _must_check_;
const char *protocol_name(uint8_t protocol);
/* Puts the tables up if they are missing. */
int rules_repair(struct store *s, struct error *err) _must_check_;

/* --- renew.c --- */

/* Tables in the kernel that another version of this program has made are made anew, with all that
 * runs of this root. For every command: where they are this version's it looks at one file. */
int network_renew(struct store *s, bool (*alive)(void *context, const char *instance_id),
                  void *context, struct error *err) _must_check_;
