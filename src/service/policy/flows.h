/*
 * Who talked to whom. The kernel keeps it: rules of the table write each connection that is allowed
 * and each that is refused into sets with a lifetime of a day, so nothing has to run for it, and
 * nothing is lost while nobody looks. What a port sends under another's addresses never gets that
 * far: the bridge table refuses it and notes link, hardware address and type.
 */
#pragma once

#include "base/error.h"
#include "service/store/store.h"
#include "wire/policy/address.h"

enum flow_verdict {
    FLOW_ALLOWED,
    FLOW_DENIED,
    FLOW_STRAY,   /* no policy was asked: it belongs to no connection, and begins none */
    FLOW_LIMITED, /* `from` had as many connections open as it may have; count of packets */
    FLOW_FORGED,  /* link and mac say whose and as whom; no addresses */
};
struct flow {
    enum flow_verdict verdict;
    struct policy_address from, to;
    uint8_t protocol; /* as in IP */
    uint16_t port;    /* of TCP, UDP and SCTP; else 0 */
    uint64_t count;   /* connections that were let through, or packets that were not */
    int64_t last_ns;
    bool more;     /* of `from` more than is kept: only its address and the count are known */
    char link[16]; /* of FLOW_FORGED, ... */
    uint8_t mac[6];
    uint16_t type; /* ... of Ethernet */
};

/* All that are known of this root's; owned by free(). A table that is not there has none. */
int flows_read(struct store *s, struct flow **ret, size_t *ret_n, struct error *err) _must_check_;
