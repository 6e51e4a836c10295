/* The bundle's interfaces in the agent's words: borrowed texts. out has room for
 * BUNDLE_NETWORKS_MAX. */
#pragma once

#include "runtime/bundle.h"
#include "wire/agent/agent.h"

static inline void vm_describe_networks(const struct bundle *b, struct agent_network *out)
{
    for (size_t i = 0; i < b->n_networks; i++) {
        const struct bundle_network *n = &b->networks[i];
        out[i] = (struct agent_network){.mac = n->mac,
                                        .address = n->address,
                                        .gateway = n->gateway,
                                        .address6 = n->address6,
                                        .gateway6 = n->gateway6,
                                        .prefix = n->prefix,
                                        .prefix6 = n->prefix6,
                                        .mtu = n->mtu};
    }
}
