/*
 * What may come out of a tap that another program serves (pasta), whatever that program takes.
 *
 * Whoever serves a user's tap makes connections on the host as that user for what the frames ask
 * for: a frame that is addressed to 127.0.0.1 would reach the host's own loopback. An instance is
 * root in its network namespace, may have every capability there, and puts any frame it likes on
 * its link. So the kernel looks at each frame before the program is given it. The filter is on the
 * program's descriptor of the tap: who has no such descriptor cannot take it off, and when the link
 * is removed the descriptor leads nowhere.
 *
 * A filter on a tap that is made first and opened by the program later would not do: the kernel
 * keeps the address of its instructions only, and reads them out of whichever process opens the
 * tap.
 */
#pragma once

#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/types.h>

#include "base/error.h"

#define TAP_HOSTS_MAX 64

struct tap_filter {
    struct in_addr address;              /* the only source */
    struct in_addr gateway;              /* answers questions for names, and nothing else */
    struct in_addr hosts[TAP_HOSTS_MAX]; /* addresses of this host */
    size_t n_hosts;
};

#define TAP_FILTER_MAX 256
/* Lets ARP pass, and IPv4 from that address to others, but to no loopback, link-local, multicast or
 * unspecified one, and to the host's only answers of TCP. Gives the number of instructions. */
size_t tap_filter_make(const struct tap_filter *f, struct sock_filter code[static TAP_FILTER_MAX]);

/* On every tap that the process has open; at least one. */
int tap_filter_attach(pid_t pid, const struct tap_filter *f, struct error *err) _must_check_;

/* The host's own IPv4 addresses, as many as there is room for. */
int tap_filter_hosts(struct tap_filter *f, struct error *err) _must_check_;
