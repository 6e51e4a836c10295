/* What was seen on the networks, by name; and the policy that would allow it. */
#pragma once

#include "engine/policy.h"
#include "service/policy/flows.h"

/* A side of a flow: an instance by name, "host", a host outside by the name that the instance
 * asked for, or an address. Owned strings. */
enum flow_end {
    FLOW_END_WORLD,
    FLOW_END_HOST,
    FLOW_END_INSTANCE,
    FLOW_END_GONE, /* an instance that there is no more */
};
struct flow_view {
    struct flow flow;
    char *from, *to;
    enum flow_end from_is, to_is;
    bool to_domain;
    char *rule; /* who decides so, by the policies as they are now */
};
void flow_views_free(struct flow_view *list, size_t n);

struct flow_filter {
    const char *from, *to; /* a name, an address, "host" or "world"; NULL: any */
    bool denied;           /* only what was not let through */
    int64_t since_ns;
};
/* Oldest first. */
int engine_flows(struct engine *e, const struct flow_filter *filter, struct flow_view **ret,
                 size_t *ret_n, struct error *err) _must_check_;

/* NetworkPolicies (a file for `policy apply`) that allow what was let through since then, and
 * nothing else to the instances that took part. Owned. */
int engine_policy_suggest(struct engine *e, int64_t since_ns, char **ret,
                          struct error *err) _must_check_;

/* Packets of an instance's port in pcap form to fd, until stop_fd can be read or count (0: no end)
 * are written. network NULL: its first. */
int engine_capture(struct engine *e, const char *reference, const char *network, int fd,
                   uint64_t count, int stop_fd, struct error *err) _must_check_;
