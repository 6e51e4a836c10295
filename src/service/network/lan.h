/* Addresses that the LAN's DHCP gives, while their instances run (lan.c). */
#pragma once

#include "service/network/network.h"

/* What the LAN's DHCP says of an instance that runs. */
struct network_lease {
    bool line;                  /* there was something to do */
    struct in_addr before, now; /* 0.0.0.0: none */
    int report_fd; /* in the place of the one that was given, whose other end has gone; else -EBADF;
                      owned */
};
/* report_fd (a port's lease_fd) is readable: what it says is done, as often as this is called until
 * network_lease_taken. Of a container its namespace, of a machine the tap; else -EBADF. */
int network_take_lease(struct store *s, const char *instance_id, uint8_t position, int namespace_fd,
                       int tap_fd, int report_fd, struct network_lease *ret,
                       struct error *err) _must_check_;
void network_lease_taken(int report_fd);
