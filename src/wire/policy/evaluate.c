#include "wire/policy/evaluate.h"

#include <string.h>

#include "base/alloc.h"
#include "wire/dns/dns.h"

int policy_compare(const struct policy *a, const struct policy *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    int r = strcmp(a->stack, b->stack);
    return r ? r : strcmp(a->name, b->name);
}

static bool whole(const struct policy_range *r)
{
    policy_number last = r->v6 ? ~(policy_number)0 : 0xffffffffu;
    return r->first == 0 && r->last == last;
}

static bool block_has(const struct policy_peer *p, const struct policy_endpoint *e)
{
    if (e->side == POLICY_SIDE_HOST)
        return false;
    if (!e->has_address)
        return e->side == POLICY_SIDE_WORLD && whole(&p->block);
    if (!policy_range_has(&p->block, e->address))
        return false;
    for (size_t i = 0; i < p->n_except; i++)
        if (policy_range_has(&p->except[i], e->address))
            return false;
    return !policy_is_metadata(e->address) || policy_block_names_metadata(&p->block);
}

static bool is_metadata(const struct policy_endpoint *e)
{
    return e->has_address && policy_is_metadata(e->address);
}

static bool domains_have(const struct policy_peer *p, const struct policy_endpoint *e)
{
    if (e->side != POLICY_SIDE_WORLD || !e->domains || is_metadata(e))
        return false;
    for (size_t i = 0; p->domains[i]; i++)
        for (size_t k = 0; e->domains[k]; k++)
            if (dns_pattern_fits(p->domains[i], e->domains[k]))
                return true;
    return false;
}

static bool peer_fits(const struct policy_peer *p, const struct policy_endpoint *e)
{
    switch (p->kind) {
    case POLICY_INSTANCES:
        return e->side == POLICY_SIDE_INSTANCE &&
               policy_selector_fits(&p->selector, e->stack, e->labels);
    case POLICY_BLOCK:
        return block_has(p, e);
    case POLICY_HOST:
        return e->side == POLICY_SIDE_HOST;
    case POLICY_DOMAINS:
        return domains_have(p, e);
    }
    return false;
}

static bool rule_fits(const struct policy_rule *r, const struct policy_endpoint *peer,
                      enum policy_direction d, uint8_t protocol, uint16_t port)
{
    bool fits = r->n_ports == 0;
    for (size_t i = 0; !fits && i < r->n_ports; i++)
        fits = r->ports[i].protocol == protocol && port >= r->ports[i].first &&
               port <= r->ports[i].last;
    if (!fits)
        return false;
    if (r->n_peers == 0)
        return peer->side != POLICY_SIDE_HOST && !(d == POLICY_EGRESS && is_metadata(peer));
    for (size_t i = 0; i < r->n_peers; i++)
        if (peer_fits(&r->peers[i], peer))
            return true;
    return false;
}

static bool selects(const struct policy *p, const struct policy_endpoint *subject)
{
    return policy_selector_fits(&p->subject, subject->stack, subject->labels);
}

static const struct policy_rule *find_rule(const struct policy *p, enum policy_direction d,
                                           const struct policy_endpoint *peer, uint8_t protocol,
                                           uint16_t port)
{
    for (size_t i = 0; i < p->rules[d].n; i++)
        if (rule_fits(&p->rules[d].list[i], peer, d, protocol, port))
            return &p->rules[d].list[i];
    return NULL;
}

static void decide_by_default(enum policy_direction d, const struct policy_endpoint *subject,
                              const struct policy_endpoint *peer, struct policy_decision *ret)
{
    bool stranger = peer->side == POLICY_SIDE_INSTANCE && strcmp(peer->stack, subject->stack) != 0;
    bool apart = peer->side == POLICY_SIDE_WORLD && peer->apart;
    ret->allow = false;
    if (d == POLICY_EGRESS && peer->side == POLICY_SIDE_HOST)
        ret->why = "default: the host is not reached";
    else if (d == POLICY_EGRESS && is_metadata(peer))
        ret->why = "default: metadata addresses are not reached";
    else if (subject->default_deny)
        ret->why = "default: the network denies";
    else if (d == POLICY_INGRESS && stranger)
        ret->why = "default: another stack";
    else if (d == POLICY_INGRESS && apart)
        ret->why = "default: an instance of another host that has not said whose it is";
    else {
        ret->allow = true;
        ret->why = d == POLICY_EGRESS                   ? "default: out"
                   : peer->side == POLICY_SIDE_INSTANCE ? "default: the same stack"
                                                        : "default: from outside";
    }
}

void policy_evaluate_at(const struct policy *const *list, size_t n, enum policy_direction d,
                        const struct policy_endpoint *subject, const struct policy_endpoint *peer,
                        uint8_t protocol, uint16_t port, struct policy_decision *ret)
{
    const struct policy *isolating = NULL;
    bool passed = false;
    *ret = (struct policy_decision){.direction = d};
    if (d == POLICY_INGRESS && peer->side == POLICY_SIDE_HOST) {
        ret->allow = true;
        ret->why = "the host reaches its instances";
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const struct policy *p = list[i];
        bool network = p->kind == POLICY_NETWORK;
        if ((!network && passed) || (network && !p->rules_for[d]) || !selects(p, subject))
            continue;
        if (network && !isolating)
            isolating = p;
        const struct policy_rule *rule = find_rule(p, d, peer, protocol, port);
        if (rule && rule->action == POLICY_PASS)
            passed = true;
        if (rule && rule->action != POLICY_PASS) {
            ret->allow = rule->action == POLICY_ALLOW;
            ret->policy = p;
            ret->rule = rule;
            return;
        }
    }
    if (isolating)
        ret->policy = isolating;
    else
        decide_by_default(d, subject, peer, ret);
}

void policy_evaluate(const struct policy *const *list, size_t n, const struct policy_endpoint *from,
                     const struct policy_endpoint *to, uint8_t protocol, uint16_t port,
                     struct policy_decision *ret)
{
    *ret = (struct policy_decision){.allow = true, .why = "no instance takes part"};
    if (from->side == POLICY_SIDE_INSTANCE)
        policy_evaluate_at(list, n, POLICY_EGRESS, from, to, protocol, port, ret);
    if (ret->allow && to->side == POLICY_SIDE_INSTANCE)
        policy_evaluate_at(list, n, POLICY_INGRESS, to, from, protocol, port, ret);
}

char *policy_decision_text(const struct policy_decision *d)
{
    if (!d->policy)
        return xstrdup(d->why);
    const char *kind = d->policy->kind == POLICY_ADMIN ? "AdminNetworkPolicy" : "NetworkPolicy";
    const char *slash = *d->policy->stack ? "/" : "";
    if (!d->rule)
        return xasprintf("%s %s%s%s: no %s rule fits", kind, d->policy->stack, slash,
                         d->policy->name, d->direction == POLICY_INGRESS ? "ingress" : "egress");
    return xasprintf("%s %s%s%s: %s", kind, d->policy->stack, slash, d->policy->name,
                     d->rule->name);
}
