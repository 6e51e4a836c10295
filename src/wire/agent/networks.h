/*
 * The interfaces of a machine, in AGENT_CONFIGURE, in AGENT_RESUME, and in the messages about
 * networks of a machine that runs:
 *
 *   AGENT_NETWORKS  all interfaces of a light machine, but with other addresses, or on no network;
 *                   those that are left out at the end are on none. AGENT_OK
 *   AGENT_NAMES     struct agent_names, to a light machine; AGENT_OK
 *   AGENT_CARD      answered by proa-vm itself, of a machine that boots a disk: string, JSON of the
 *                   position of a network card and, with a tap as descriptor, the hardware address
 *                   of a new one; without it the card goes. AGENT_OK
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"

struct agent_frame;

/* A light machine has more cards than networks, for networks that it joins while it runs. The nth
 * card that is on none has this hardware address, and is down. */
#define AGENT_FREE_CARD        "02:51:00:00:00:"
#define AGENT_FREE_CARD_FORMAT AGENT_FREE_CARD "%02x"

/* One interface: the nth is ethN. Addresses are text, "" for none. */
struct agent_network {
    const char *mac; /* tells which of the machine's cards it is */
    const char *address, *gateway, *address6, *gateway6;
    uint32_t prefix, prefix6, mtu;
};

static inline bool agent_network_is_free(const struct agent_network *n)
{
    return strncmp(n->mac, AGENT_FREE_CARD, strlen(AGENT_FREE_CARD)) == 0;
}

/* AGENT_NETWORKS. */
int agent_networks_add(struct buf *out, uint32_t stream, const struct agent_network *list,
                       size_t n) _must_check_;
/* *ret_list is owned. */
int agent_networks_get(const struct agent_frame *f, struct agent_network **ret_list, size_t *ret_n,
                       struct error *err) _must_check_;

/* What a machine that joins or leaves networks knows of names. */
struct agent_names {
    char **gone;             /* lines of /etc/hosts that begin with one of these addresses go */
    const char *more;        /* lines that come */
    const char *resolv_conf; /* all of it; "": as it is */
};
int agent_names_add(struct buf *out, uint32_t stream, const struct agent_names *n) _must_check_;
/* ret->gone is an owned array of borrowed strings. */
int agent_names_get(const struct agent_frame *f, struct agent_names *ret,
                    struct error *err) _must_check_;
