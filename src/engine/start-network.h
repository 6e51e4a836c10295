/* The network phase of a start: the ports of an instance on its networks. */
#pragma once

#include "engine/engine-internal.h"
#include "engine/place.h"
#include "service/network/network.h"

struct start_network {
    struct places places;
    int namespace_fd; /* container: the namespace of its ports, or of another container */
    struct network_port ports[BUNDLE_NETWORKS_MAX];
    size_t n_ports;
    /* machine: of each card; borrowed from the ports, and owned where there are no more of them */
    int tap_fds[BUNDLE_NETWORKS_MAX];
    size_t n_taps;
    char *shared_hosts, *shared_resolv; /* of the container whose namespace it is; else NULL */
};
#define START_NETWORK_INIT                                                                         \
    {                                                                                              \
        .namespace_fd = -EBADF                                                                     \
    }
void start_network_done(struct start_network *n);

/* Attaches the instance to every network that its options name; what fails is taken back. The
 * image's exposed ports are published where the options say so. */
int start_network_attach(struct engine *e, struct subject *s, const struct image *image,
                         struct start_network *ret, struct error *err) _must_check_;
/* What the network is asked for one place; it borrows from the subject and the place.
 * NAMESPACE_FD: of a container that has other ports by now, or -EBADF. */
int start_network_request(const struct subject *s, const struct place *p, int namespace_fd,
                          struct network_request *ret, struct error *err) _must_check_;
/* What the monitor holds for addresses of a LAN's, by position; borrowed. */
void start_network_leases(const struct start_network *n, int ret_fds[static BUNDLE_NETWORKS_MAX]);
/* Texts for the instance's files: owned. */
char *start_network_hosts(const struct start_network *n, const struct subject *s,
                          const char *hostname);
char *start_network_resolv(const struct start_network *n, const struct subject *s);
