/*
 * One rule as lines of nftables: a line for each peer and each range of ports.
 *
 * Connections are matched by what conntrack knows of them: who began it (ct original saddr) and who
 * answers (ct reply saddr, behind any published port). Both are the same for packets of both
 * directions, so every packet of a connection is judged as its first one was, and none has to be
 * let through because it belongs to something older than the rules.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "service/policy/policy-internal.h"

static const char *const families[] = {"ip", "ip6"};
static const char *const family_suffix[] = {"4", "6"};

static const char *field(enum compile_side side)
{
    return side == COMPILE_INGRESS ? "original" : "reply";
}

static const char *verdict(const struct policy_rule *rule)
{
    static const char *const words[] = {
        [POLICY_ALLOW] = "accept", [POLICY_DENY] = "goto denied", [POLICY_PASS] = "return"};
    return words[rule->action];
}

static const char *protocol_word(uint8_t protocol)
{
    return protocol == IPPROTO_TCP ? "tcp" : protocol == IPPROTO_UDP ? "udp" : "sctp";
}

struct rule_context {
    const struct policy *policy;
    const struct policy_rule *rule;
    struct buf *out;
};

static int line(const struct rule_context *c, const char *peer, const char *ports)
{
    const struct policy *p = c->policy;
    const char *slash = *p->stack ? "/" : "";
    static const char *const words[] = {
        [POLICY_ALLOW] = "allow", [POLICY_DENY] = "deny", [POLICY_PASS] = "pass"};
    int r = 0;
    /* The first packet of a connection that is allowed; some of those that are not. */
    if (c->rule->log)
        r = buf_addf(c->out, " %s %s %s log prefix \"proa %.40s%s%.40s %.20s %s \"\n", peer, ports,
                     c->rule->action == POLICY_DENY ? "limit rate 10/second" : "ct state new",
                     p->stack, slash, p->name, c->rule->name, words[c->rule->action]);
    return r < 0 ? r : buf_addf(c->out, " %s %s %s\n", peer, ports, verdict(c->rule));
}

static int each_port(const struct rule_context *c, const char *peer)
{
    int r = c->rule->n_ports ? 0 : line(c, peer, "");
    for (size_t i = 0; r == 0 && i < c->rule->n_ports; i++) {
        const struct policy_ports *p = &c->rule->ports[i];
        char text[96];
        if (p->first == 0 && p->last == 65535)
            snprintf(text, sizeof(text), "meta l4proto %s", protocol_word(p->protocol));
        else if (p->first == p->last)
            snprintf(text, sizeof(text), "meta l4proto %s ct reply proto-src %u",
                     protocol_word(p->protocol), p->first);
        else
            snprintf(text, sizeof(text), "meta l4proto %s ct reply proto-src %u-%u",
                     protocol_word(p->protocol), p->first, p->last);
        r = line(c, peer, text);
    }
    return r;
}

/* --- blocks of addresses: all of a rule's as one set of ranges --- */

static int compare(const void *a, const void *b)
{
    const struct policy_range *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* Sorted, and what overlaps or touches put together. */
static size_t merge(struct policy_range *list, size_t n)
{
    size_t kept = 0;
    if (n > 1)
        qsort(list, n, sizeof(*list), compare);
    for (size_t i = 0; i < n; i++) {
        struct policy_range *last = kept ? &list[kept - 1] : NULL;
        if (last && (list[i].first <= last->last || list[i].first == last->last + 1))
            last->last = MAX(last->last, list[i].last);
        else
            list[kept++] = list[i];
    }
    return kept;
}

static void collect_block(const struct policy_peer *peer, struct policy_range **list, size_t *n)
{
    struct policy_range *part = xcalloc(1, sizeof(*part));
    size_t n_part = 1;
    part[0] = peer->block;
    policy_ranges_subtract(&part, &n_part, peer->except, peer->n_except);
    if (!policy_block_names_metadata(&peer->block))
        policy_ranges_subtract(&part, &n_part, policy_metadata, policy_n_metadata);
    if (n_part > 0) {
        *list = xreallocarray(*list, *n + n_part, sizeof(**list));
        memcpy(*list + *n, part, n_part * sizeof(*part));
        *n += n_part;
    }
    free(part);
}

static int write_ranges(const struct rule_context *c, enum compile_side side, bool v6,
                        const struct policy_range *list, size_t n)
{
    _cleanup_buf_ struct buf peer = BUF_INIT(POLICY_TEXT_MAX);
    int r = buf_addf(&peer, "ct %s %s saddr { ", field(side), families[v6]);
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct policy_address first = {v6, list[i].first}, last = {v6, list[i].last};
        r = first.n == last.n ? buf_addf(&peer, "%s,", policy_address_text(first).s)
                              : buf_addf(&peer, "%s-%s,", policy_address_text(first).s,
                                         policy_address_text(last).s);
    }
    if (r == 0)
        r = buf_add_str(&peer, " }");
    return r < 0 ? r : each_port(c, peer.data);
}

static int write_blocks(const struct rule_context *c, enum compile_side side)
{
    int r = 0;
    for (int v6 = 0; r == 0 && v6 < 2; v6++) {
        struct policy_range *list = NULL;
        size_t n = 0;
        for (size_t i = 0; i < c->rule->n_peers; i++)
            if (c->rule->peers[i].kind == POLICY_BLOCK && c->rule->peers[i].block.v6 == v6)
                collect_block(&c->rule->peers[i], &list, &n);
        n = merge(list, n);
        if (n > 0)
            r = write_ranges(c, side, v6, list, n);
        free(list);
    }
    return r;
}

/* --- the others --- */

static int write_selector(struct store *s, const struct rule_context *c, enum compile_side side,
                          const struct policy_selector *selector, struct error *err)
{
    _cleanup_free_ char *text = policy_selector_text(selector);
    char peer[96];
    int64_t id;
    bool added;
    int r = store_selector_put(s, text, &id, &added, err);
    for (size_t f = 0; r == 0 && f < 2; f++) {
        snprintf(peer, sizeof(peer), "ct %s %s saddr @s%lld_%s", field(side), families[f],
                 (long long)id, family_suffix[f]);
        r = each_port(c, peer);
    }
    return r;
}

/* Anybody, but metadata must be named. */
static int write_anybody(const struct rule_context *c, enum compile_side side)
{
    if (side == COMPILE_INGRESS)
        return each_port(c, "");
    int r = each_port(c, "ct reply ip saddr != @metadata4");
    return r < 0 ? r : each_port(c, "ct reply ip6 saddr != @metadata6");
}

int compile_rule(struct store *s, const struct policy *p, const struct policy_rule *rule,
                 enum compile_side side, struct buf *out, struct error *err)
{
    const struct rule_context c = {p, rule, out};
    int r = 0;
    bool host = false;
    if (rule->n_peers == 0 && side != COMPILE_HOST)
        r = write_anybody(&c, side);
    for (size_t i = 0; r == 0 && i < rule->n_peers; i++) {
        const struct policy_peer *peer = &rule->peers[i];
        host |= peer->kind == POLICY_HOST;
        if (peer->kind == POLICY_INSTANCES && side != COMPILE_HOST)
            r = write_selector(s, &c, side, &peer->selector, err);
    }
    if (r == 0 && side != COMPILE_HOST)
        r = write_blocks(&c, side);
    if (r == 0 && host && side == COMPILE_HOST)
        r = each_port(&c, "");
    return r == -EFBIG ? error_set(err, ERROR_LIMIT, EFBIG, "the policies are too large") : r;
}
