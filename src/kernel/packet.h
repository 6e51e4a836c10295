/* A packet socket of one link, for a program that has no right to open one. */
#pragma once

#include "base/error.h"

/* Through it come only questions for an address that arrive on the link: DHCP, DHCPv6 and router
 * solicitations. The filter cannot be taken off again. What is written to it leaves by the link.
 * *ret_fd is owned. */
int packet_open_questions(const char *link, int *ret_fd, struct error *err) _must_check_;
