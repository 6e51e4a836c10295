/*
 * Addresses that a LAN's DHCP gives to an instance. Who asks for each of them is a process of the
 * engine's making (service/network/lan.c), which lives as long as the monitor holds the other end
 * of its socket. When that has something to say, or has ended, the monitor starts
 * PROGRAM --root ROOT internal lease ID POSITION with the socket, and the container's network
 * namespace or the machine's tap; it reads nothing itself. Where a process was replaced, the new
 * socket comes by ATTACH_LEASE.
 */
#pragma once

#include <poll.h>
#include <stdint.h>

#include "runtime/bundle.h"
#include "runtime/monitor/call.h"

struct leases {
    int fds[BUNDLE_NETWORKS_MAX]; /* by the port's position; -EBADF: none */
    struct call call;             /* for one of them at a time */
    size_t called;                /* for which, */
    int ended_fd;                 /* and that because who asks has ended; else -EBADF */
    int64_t wait_ms, next_ms;     /* after a failure: how long, and until when (monotonic) */
};

void leases_init(struct leases *l);
/* Takes fd, in the place of what was there. */
void leases_put(struct leases *l, size_t position, int fd);
/* What to wait for: as many places as BUNDLE_NETWORKS_MAX, and one. */
void leases_poll(const struct leases *l, int64_t now_ms, struct pollfd *fds);
/* What became of it. tap_fds: by position, where there is one in the place of spec's second
 * descriptor. */
void leases_handle(struct leases *l, const struct pollfd *fds, const struct call_spec *spec,
                   const int tap_fds[static BUNDLE_NETWORKS_MAX], int64_t now_ms);
void leases_done(struct leases *l);
