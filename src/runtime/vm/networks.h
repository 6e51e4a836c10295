/* What a bundle says of a machine, in the agent's words. */
#pragma once

#include <stdio.h>

#include "runtime/bundle.h"
#include "wire/agent/agent.h"

/* The instance's id is as long as two of these. */
#define VM_MACHINE_ID_BYTES 33
static inline void vm_machine_id(const struct bundle *b, char out[static VM_MACHINE_ID_BYTES])
{
    snprintf(out, VM_MACHINE_ID_BYTES, "%.32s", b->id ? b->id : "");
}

/* Its interfaces: borrowed texts. out has room for BUNDLE_NETWORKS_MAX. */
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
