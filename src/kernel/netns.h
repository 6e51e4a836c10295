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

/* Calls f in a network namespace; the calling thread is back when the function returns. Of who is
 * not the host's root a child does it: descriptors it opens are the caller's, what it changes in
 * memory is not. */
int netns_visit(int fd, int (*f)(void *context, struct error *err), void *context,
                struct error *err) _must_check_;

/* Writes net.FAMILY.conf.LINK.NAME of the namespace that the caller is in. A kernel without that
 * family has nothing to write. */
int netns_link_sysctl(const char *family, const char *link, const char *name, const char *value,
                      struct error *err) _must_check_;

/* Opens /dev/net/tun for a tap with virtio headers that vanishes with its descriptor. name is the
 * link's; -EBUSY when it is taken. *ret_fd is owned. */
int tap_create(const char *name, int *ret_fd, struct error *err) _must_check_;
/* The same for a macvtap that there is, which stays when its descriptor goes (macvtap.c). */
int macvtap_open(const char *link, int *ret_fd, struct error *err) _must_check_;
