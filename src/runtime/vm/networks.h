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

/* The hardware address of a card that is on no network. */
static inline void vm_free_card(size_t card, char out[static 18])
{
    snprintf(out, 18, AGENT_FREE_CARD_FORMAT, (unsigned int)card & 255);
}

/* Its cards' interfaces, also of those that are on no network. */
struct vm_networks {
    struct agent_network list[BUNDLE_NETWORKS_MAX]; /* borrows from the bundle and from here */
    char free_cards[BUNDLE_NETWORKS_MAX][18];
    size_t n;
};
static inline void vm_describe_networks(const struct bundle *b, size_t n_cards,
                                        struct vm_networks *ret)
{
    ret->n = n_cards;
    for (size_t i = 0; i < n_cards; i++) {
        const struct bundle_network *n = &b->networks[i];
        vm_free_card(i, ret->free_cards[i]);
        ret->list[i] = (struct agent_network){.mac = *n->mac ? n->mac : ret->free_cards[i],
                                              .address = n->address,
                                              .gateway = n->gateway,
                                              .address6 = n->address6,
                                              .gateway6 = n->gateway6,
                                              .prefix = n->prefix,
                                              .prefix6 = n->prefix6,
                                              .mtu = n->mtu};
    }
}
