/*
 * What the policies say of one connection: no packet, no kernel, no store. service/policy compiles
 * the same rules for nftables; the two must agree, and test_policy.py compares them.
 *
 * A connection is asked for twice: at the instance that begins it (egress) and at the one that it
 * goes to (ingress); both must allow. At each, in this order:
 *   1. administrators' policies by priority: the first rule that fits decides; Pass goes to 2
 *   2. the NetworkPolicies that select the instance: allowed when a rule fits, else denied
 *   3. when there are none: egress is allowed, but not to the host nor to metadata addresses;
 *      ingress is allowed from the same stack and from outside (published ports), not from other
 *      stacks. On a network made with --default-deny both are denied.
 * The host itself always reaches its instances.
 */
#pragma once

#include "wire/policy/policy.h"

enum policy_side {
    POLICY_SIDE_INSTANCE,
    POLICY_SIDE_HOST,
    POLICY_SIDE_WORLD,
};
struct policy_endpoint {
    enum policy_side side;
    const char *stack;   /* of an instance */
    char *const *labels; /* of an instance; never NULL there */
    bool default_deny;   /* of an instance: its network's */
    bool has_address;    /* a world without one is "anywhere": only whole blocks mean it */
    struct policy_address address;
    bool apart; /* of a world: an unknown instance of another host's on a network that is shared */
    char *const *domains; /* names by which the other side knows it, of a world; NULL: none */
};

struct policy_decision {
    bool allow;
    const struct policy *policy;    /* who decided; NULL: the defaults */
    const struct policy_rule *rule; /* NULL: none fitted */
    enum policy_direction direction;
    const char *why; /* of a default; a constant */
};

/* list is sorted by policy_compare. protocol and port (host order) as in IP. */
void policy_evaluate(const struct policy *const *list, size_t n, const struct policy_endpoint *from,
                     const struct policy_endpoint *to, uint8_t protocol, uint16_t port,
                     struct policy_decision *ret);
/* One side of it. */
void policy_evaluate_at(const struct policy *const *list, size_t n, enum policy_direction d,
                        const struct policy_endpoint *subject, const struct policy_endpoint *peer,
                        uint8_t protocol, uint16_t port, struct policy_decision *ret);
/* Administrators' first, by priority, then by stack and name. */
int policy_compare(const struct policy *a, const struct policy *b);
/* "NetworkPolicy shop/web, rule ingress[0]", or why; owned. */
char *policy_decision_text(const struct policy_decision *d);
