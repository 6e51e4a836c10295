/*
 * Whose the addresses are that flows were seen with. An address is an instance's from when that was
 * created; what was seen with it before is of an instance that is gone, as is what was seen with an
 * address of Proa's networks that nobody has. It is told by its address, and no rule is made of it.
 */
#pragma once

#include "engine/engine-internal.h"
#include "engine/flows.h"

struct flow_names {
    struct flow_name *list;
    size_t n;
    struct network **networks;
    struct learned *learned; /* what names outside meant to whom */
    size_t n_learned;
};
int flow_names_read(struct engine *e, struct flow_names *ret, struct error *err) _must_check_;
void flow_names_done(struct flow_names *k);

/* Owned. seen_ns: when the address was seen last. */
char *flow_name_of_address(const struct flow_names *k, struct policy_address a, int64_t seen_ns,
                           enum flow_end *ret);
char *flow_name_of_link(const struct flow_names *k, const char *link);
/* What the flow's beginner asked for last and was told this address, or NULL. */
const char *flow_find_domain(const struct flow_names *k, const struct flow *f);
