/* Shared by the files of netlink only. */
#pragma once

#include <libmnl/libmnl.h>

#include "kernel/netlink.h"

#define NETLINK_REQUEST_BYTES 1024

struct netlink {
    struct mnl_socket *socket;
    uint32_t port, sequence;
    char *answer; /* made with the socket: dumps arrive in pieces of up to ANSWER_BYTES */
};

/* Requests are small and bounded by construction, so one fixed buffer holds any of them. */
struct netlink_request {
    char bytes[NETLINK_REQUEST_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
};

struct nlmsghdr *netlink_request_link(struct netlink_request *q, struct netlink *nl, uint16_t type,
                                      uint16_t flags, uint32_t index, bool up);
int netlink_open_protocol(int protocol, struct netlink **ret, struct error *err) _must_check_;
/* Sends, and calls back for each answer until the last. */
int netlink_ask(struct netlink *nl, struct nlmsghdr *h, mnl_cb_t each, void *context);
/* Sends and waits for the acknowledgement. */
int netlink_act(struct netlink *nl, struct nlmsghdr *h);
