/* Packet sockets of one link. */
#pragma once

#include "base/error.h"

/* Through it comes all that the link sends and receives. setup is called before the first packet
 * may come: 0, or -1 with errno. *ret_fd is owned. */
int packet_open(const char *link, int (*setup)(int fd), int *ret_fd,
                struct error *err) _must_check_;
/* For a program that has no right to open one: only questions for an address that arrive on the
 * link come through it (DHCP, DHCPv6 and router solicitations). The filter cannot be taken off
 * again. What is written to it leaves by the link. *ret_fd is owned. */
int packet_open_questions(const char *link, int *ret_fd, struct error *err) _must_check_;
/* The same for who asks by DHCP: only what servers send to clients comes through it. */
int packet_open_answers(const char *link, int *ret_fd, struct error *err) _must_check_;
