/*
 * proa-peers: what the hosts of one network tell each other, for one network on one host.
 *
 * Two processes of one program. The *relay* (relay.c, teller.c, listener.c) speaks with the other
 * hosts: it tells them the roster that it was given, and takes theirs apart. It has no privilege,
 * no path, and no sockets but those that it is handed. The *keeper* (keeper.c) has the store: it
 * makes the roster of what is on the network here, and is told by the relay "this peer has this
 * member" in a struct of fixed size. It believes that for as long as service/network/heard.c finds
 * nothing wrong with it.
 *
 * So the worst that a relay can do that has been taken over is to say what a peer could have said,
 * for all of them.
 *
 * Everything is soft: a host says every ten seconds that nothing has changed, and at once what has;
 * one that is not heard of for thirty seconds has nobody. Each of the two processes ends with the
 * other, and the next command of Proa's starts them again (service/network/span.c); until then,
 * what was heard last stays.
 */
#pragma once

#include <stdint.h>

/* Above every range that distributions, user namespaces and systemd hand out. */
#define PEERS_RELAY_UID 2000000057u

/* Each network's own port (TCP), so that two networks of the same hosts do not meet. */
#define PEERS_PORT_FIRST 20000u
#define PEERS_PORTS      10000u

#define PEERS_SAY_MS    10000
#define PEERS_FORGET_MS 30000
#define PEERS_MAX       64u

/* Descriptors of the keeper: the socket that peers connect to, and where it says "r" when all is
 * ready. */
enum {
    PEERS_LISTEN = 3,
    PEERS_READY = 4,
};
