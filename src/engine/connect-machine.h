/* The part of connect.c that is a running machine's: its network cards. */
#pragma once

#include "engine/engine-internal.h"
#include "engine/place.h"
#include "service/network/network.h"

/* Gives it a port and a card there. What fails is for machine_leave to take back. */
int machine_join(struct engine *e, struct subject *s, const struct place *place,
                 struct error *err) _must_check_;
/* The card goes, then the port. From any state in between, also of a machine that has ended. */
int machine_leave(struct engine *e, struct subject *s, const struct network_member *port,
                  struct error *err) _must_check_;
