/* An instance joins and leaves networks, running or not. */
#pragma once

#include "engine/engine.h"
#include "engine/place.h"

/* ERROR_CONFLICT: it is on it already, or uses another's network. ERROR_LIMIT: a machine that runs
 * has no place for one more card. For an instance that does not run the next start does it. */
int engine_network_connect(struct engine *e, const char *instance, const struct place *place,
                           struct error *err) _must_check_;
/* force: not being on it is success. */
int engine_network_disconnect(struct engine *e, const char *instance, const char *network,
                              bool force, struct error *err) _must_check_;

/* Who has which address: for `network addresses`. */
struct address_view {
    char *network, *address, *address6, *mac; /* texts; NULL: none */
    char *instance_id, *name;                 /* NULL: the gateway */
    bool in_use;                              /* otherwise only reserved */
};
void address_views_free(struct address_view *list); /* ended by a NULL network; takes NULL */
/* network NULL: of all. *ret is owned. */
int engine_addresses(struct engine *e, const char *network, struct address_view **ret,
                     struct error *err) _must_check_;
