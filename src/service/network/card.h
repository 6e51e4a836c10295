/* Cards of light machines, and what becomes of their links. */
#pragma once

#include "kernel/netlink.h"
#include "service/store/network.h"

/* The tap of one more card that a light machine starts with, at that position, on no network. An
 * attach of such a machine that runs takes it. *ret_fd is owned. */
int network_card_make(const char *instance_id, uint8_t position, int *ret_fd,
                      struct error *err) _must_check_;

/* What becomes of a port's link. */
enum link_end {
    LINK_STAYS, /* it goes with its descriptor or namespace */
    LINK_GOES,
    LINK_FREED, /* a card's, which stays without a network (card.c) */
};

/* The tap of the card at the row's position becomes the row's link, which is still down.
 * ERROR_LIMIT: there is no such card that is free. */
int card_take(struct netlink *nl, const struct store_port *row, struct error *err) _must_check_;
/* The other way; one that is free already, or has gone, is success. */
int card_give_back(struct netlink *nl, const struct store_port *row,
                   struct error *err) _must_check_;
