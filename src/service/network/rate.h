/* How fast instances may be on their networks (rate.c). */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "service/store/store.h"

/* How much an instance may receive and send on each of its networks, in bytes a second; 0: as much
 * as it can. */
struct network_rate {
    uint64_t in, out;
};
/* "10mbit" both ways, or "in=10mbit,out=1mbit"; "none" for no limit. */
int network_rate_parse(const char *text, struct network_rate *ret, struct error *err) _must_check_;

/* What goes first where a link of the host's is full: the band of its queue (pfifo_fast). */
enum network_priority {
    NETWORK_PRIORITY_NORMAL = 0,
    NETWORK_PRIORITY_LOW = 1,
    NETWORK_PRIORITY_HIGH = 2,
};
/* "low", "normal" or "high". */
int network_priority_parse(const char *text, enum network_priority *ret,
                           struct error *err) _must_check_;
/* Of what it sends on all its networks, at once where it runs. */
int network_set_priority(struct store *s, const char *instance_id, enum network_priority priority,
                         struct error *err) _must_check_;

/* How many connections an instance may have open at a time on each of its networks
 * (connections.c). */
#define NETWORK_CONNECTIONS_USUAL 0u /* a share of what the host can have */
#define NETWORK_CONNECTIONS_ANY   UINT32_MAX
/* A number, or "none" for no limit. */
int network_connections_parse(const char *text, uint32_t *ret, struct error *err) _must_check_;
/* On all its networks, at once where it runs; what it has open already is not counted then. */
int network_set_connections(struct store *s, const char *instance_id, uint32_t connections,
                            struct error *err) _must_check_;

/* Of all its ports, at once where it runs. A container's namespace, or -EBADF for a machine. */
int network_set_rate(struct store *s, const char *instance_id, const struct network_rate *rate,
                     int namespace_fd, struct error *err) _must_check_;
