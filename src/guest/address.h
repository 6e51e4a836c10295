/* Addresses of version 4 by rtnetlink (address.c). All give 0 or -errno. */
#pragma once

#include <stdint.h>

int guest_netlink_open(void); /* the socket, or -errno */
/* To the interface with this index; text. The broadcast address follows from it. */
int guest_address_add(int fd, int index, const char *address, uint32_t prefix);
int guest_route_add(int fd, const char *gateway); /* the default route */
