/* How many connections a port may have open: between the files of service/network only. */
#pragma once

#include "base/buf.h"
#include "service/network/network.h"
#include "service/store/network.h"

/* Whether the network's ports are counted at all. */
int connections_check(const struct network *n, uint32_t connections,
                      struct error *err) _must_check_;
/* In how many lists a port's connections are, so that none is long, and which it is in. */
#define CONNECTIONS_LISTS 128
#define CONNECTIONS_LIST  "numgen random mod 128"
/* How a port is counted: a chain, and the elements of the set of that name that are the port's. */
struct connections_count {
    const char *chain;
    uint32_t lists; /* elements: none, one, or CONNECTIONS_LISTS, told apart by their numbers */
    uint32_t most;  /* connections in each */
};
/* False: it is not. */
bool connections_count(const struct store_port *port, struct connections_count *ret);
/* What the table has for ports without a number of their own, and for `proa flows`. */
int connections_put(struct buf *out) _must_check_;
/* The bridge by which the inet table sees what the network's ports send. */
const char *connections_bridge(const struct network *n);

/* rules.c: what was counted of the port goes, and its number; rules_add brings it back. */
void rules_remove_connections(struct store *s, const struct network *n,
                              const struct store_port *port);
