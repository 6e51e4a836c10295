/* How many connections a port may have open: between the files of service/network only. */
#pragma once

#include "service/network/network.h"
#include "service/store/network.h"

/* Whether the network's ports are counted at all. */
int connections_check(const struct network *n, uint32_t connections,
                      struct error *err) _must_check_;
/* How many may be open of it; 0: any number. */
uint32_t connections_of_port(const struct store_port *port);
/* The bridge by which the inet table sees what the network's ports send. */
const char *connections_bridge(const struct network *n);

/* rules.c: what was counted of the port goes, and its number; rules_add brings it back. */
void rules_remove_connections(const struct network *n, const struct store_port *port);
