/* The connections of proa-serve, and the end of those that keep it waiting (peers.c). */
#pragma once

#include "base/macro.h"

struct peer;
/* Room for that many; a request's head must be there after twice timeout_s. */
int peers_begin(unsigned int connections, unsigned int timeout_s) _must_check_;
struct peer *peer_add(int fd); /* NULL when there is no room */
void peer_remove(struct peer *p);

enum peer_phase {
    PEER_HEAD, /* nothing, or a part of a request's head, is there */
    PEER_BODY, /* the client sends, or takes what we send */
    PEER_OURS, /* it waits for us */
};
void peer_set(struct peer *p, enum peer_phase phase); /* takes NULL */
