/*
 * Network namespaces that exist only as a descriptor: no name, no mount, gone with the last process
 * or descriptor that holds them.
 */
#pragma once

#include "base/error.h"
#include "kernel/netlink.h"

/*
 * A new network namespace with its loopback up, and a netlink socket that works inside it. New
 * links in it get no IPv6 address and accept no router advertisement. Only the calling thread
 * visits the namespace, and it is back when the function returns. *ret_fd is owned; ret_netlink may
 * be NULL.
 */
int netns_create(int *ret_fd, struct netlink **ret_netlink, struct error *err) _must_check_;

/* Opens /dev/net/tun for a tap with virtio headers that vanishes with its descriptor. name is the
 * link's; -EBUSY when it is taken. *ret_fd is owned. */
int tap_create(const char *name, int *ret_fd, struct error *err) _must_check_;
