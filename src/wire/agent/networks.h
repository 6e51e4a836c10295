/* The interfaces of a machine, in AGENT_CONFIGURE, AGENT_RESUME and AGENT_NETWORKS. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct agent_frame;

/* One interface: the nth is ethN. Addresses are text, "" for none. */
struct agent_network {
    const char *mac; /* tells which of the machine's cards it is */
    const char *address, *gateway, *address6, *gateway6;
    uint32_t prefix, prefix6, mtu;
};

/* AGENT_NETWORKS. */
int agent_networks_add(struct buf *out, uint32_t stream, const struct agent_network *list,
                       size_t n) _must_check_;
/* *ret_list is owned. */
int agent_networks_get(const struct agent_frame *f, struct agent_network **ret_list, size_t *ret_n,
                       struct error *err) _must_check_;
