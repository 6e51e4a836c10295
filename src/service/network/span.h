/*
 * A network that spans hosts: what this host tells the others about it, and what it makes of what
 * they say. For proa-peers (service/peers), which speaks with them, and whoever starts it.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "service/network/network.h"
#include "service/store/heard.h"

/* The port (TCP) that proa-peers listens on; 0: it is this host's alone. */
uint16_t span_port(const struct network *n);

/* Who has a port on it now, as the body of a roster (wire/peers). An instance whose labels do not
 * fit into one is left out: told by half of them it would be another. */
int network_tell(struct store *s, const struct network *n, struct buf *ret,
                 struct error *err) _must_check_;

/*
 * From now on these are whom the peer has; rules and names say so before this returns. Left out is
 * whoever claims an address that is not of the network, is in this host's own part of it, belongs
 * to an instance here, or was told by another peer already.
 */
int network_hear(struct store *s, const struct network *n, const char *peer,
                 const struct store_heard *list, size_t count, struct error *err) _must_check_;
/* What the store says was heard is in rules and names, too: after a kill, and for names whenever
 * those of instances here have changed. */
int network_heard_settle(struct store *s, const struct network *n, struct error *err) _must_check_;
int network_heard_names(struct store *s, const struct network *n, struct error *err) _must_check_;

/* After a kill or a reboot: proa-peers runs for each network that is up and spans hosts, and
 * nothing is left of what was heard on others. */
int network_settle_peers(struct store *s, struct error *err) _must_check_;
