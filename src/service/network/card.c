/*
 * Cards of light machines that are on no network. A machine's taps are made at its start, one for
 * each of its cards, and its QEMU has them until the end. The tap of a card that is on no network
 * is a link that is down, in no bridge, and has a name of its own; joining a network renames it to
 * the port's, leaving renames it back. So QEMU is never touched, and the link's name is all there
 * is to know: a kill at any moment leaves one or the other.
 *
 * The card's number is the port's position: a port can only be where a card is.
 */
#include "service/network/network-internal.h"

#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "kernel/netns.h"

#define FREE_LINK_PREFIX "proaf"

static char *free_name(const char *instance_id, uint8_t position)
{
    return xasprintf(FREE_LINK_PREFIX "%.9s%x", instance_id, position & 15u);
}

int network_card_make(const char *instance_id, uint8_t position, int *ret_fd, struct error *err)
{
    _cleanup_netlink_ struct netlink *nl = NULL;
    _cleanup_free_ char *name = free_name(instance_id, position);
    int r = tap_create(name, ret_fd, err);
    if (r != -EBUSY && r != -EEXIST)
        return r;
    r = netlink_open(&nl, err);
    if (r == 0)
        r = netlink_link_remove(nl, name, err);
    return r < 0 ? r : tap_create(name, ret_fd, err);
}

int card_take(struct netlink *nl, const struct store_port *row, struct error *err)
{
    _cleanup_free_ char *name = free_name(row->instance_id, row->position);
    int r = netlink_link_rename(nl, name, row->link, err);
    if (r == -ENODEV)
        return error_set(err, ERROR_LIMIT, ENOSPC,
                         "the machine has no network card left: stop it first, its next start has "
                         "the change; /etc/proa/machines.json says how many cards a machine gets "
                         "for networks that it joins while it runs (\"cards\")");
    return r;
}

int card_give_back(struct netlink *nl, const struct store_port *row, struct error *err)
{
    _cleanup_free_ char *name = free_name(row->instance_id, row->position);
    int r = netlink_link_down(nl, row->link, err);
    if (r == 0)
        r = netlink_link_rename(nl, row->link, name, err);
    return r == -ENODEV ? 0 : r;
}
