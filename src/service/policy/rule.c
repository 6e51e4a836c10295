/*
 * One rule as rules of nftables: one for each peer and each range of ports.
 *
 * Connections are matched by what conntrack knows of them: who began it (ct original saddr) and who
 * answers (ct reply saddr, behind any published port). Both are the same for packets of both
 * directions, so every packet of a connection is judged as its first one was, and none has to be
 * let through because it belongs to something older than the rules.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "service/policy/policy-internal.h"

struct rule_context {
    const struct policy *policy;
    const struct policy_rule *rule;
    const char *chain;
    const char *ok; /* where what it allows goes; NULL: nowhere else, it is accepted */
    struct nft_batch *out;
};

/* A peer: an end with a set, or ranges; neither: anybody. */
struct rule_peer {
    const struct nft_end *end;
    const struct policy_range *ranges;
    size_t n_ranges;
    int64_t domains; /* a list of names, not 0, ... */
    bool v6;         /* ... and which of its sets */
};

static bool is_reply(enum compile_side side)
{
    return side != COMPILE_INGRESS;
}

static void put_ranges(const struct rule_context *c, const struct rule_peer *peer)
{
    bool v6 = peer->end->v6;
    policy_number greatest = v6 ? ~(policy_number)0 : UINT32_MAX;
    uint8_t first[16], end[16];
    nft_begin_ranges(c->out, NFT_INET, v6);
    for (size_t i = 0; i < peer->n_ranges; i++) {
        bool open = peer->ranges[i].last == greatest;
        policy_address_bytes((struct policy_address){v6, peer->ranges[i].first}, first);
        policy_address_bytes((struct policy_address){v6, peer->ranges[i].last + 1}, end);
        nft_add_range(c->out, NFT_INET, v6, first, open ? NULL : end);
    }
}

static void put_line(const struct rule_context *c, const struct rule_peer *peer,
                     const struct nft_match *match, enum nft_verdict verdict, const char *target)
{
    if (peer->ranges)
        put_ranges(c, peer);
    nft_add_rule(c->out, NFT_INET, c->chain, match, verdict, target);
}

static void put_allowed(const struct rule_context *c, const struct rule_peer *peer,
                        const struct nft_match *match)
{
    put_line(c, peer, match, c->ok ? NFT_VERDICT_GOTO : NFT_VERDICT_ACCEPT, c->ok);
}

/*
 * What an instance has learned. A packet that goes there gives its connection the list's number as
 * a label, by which the connection goes on when what was learned is not good any more. Only what
 * leaves Proa's networks: whatever a name is said to mean, it opens no instance. The other
 * families' set brings the same label.
 */
static void domain_lines(const struct rule_context *c, const struct rule_peer *peer,
                         const struct nft_match *how)
{
    char set[NFT_NAME_MAX];
    struct nft_pair there = {.v6 = peer->v6, .set = set, .not_there = POLICY_BRIDGES}, back = there;
    struct nft_match match = *how;
    compile_set_name(peer->domains, peer->v6, set);
    back.back = true;
    if (!how->log && !peer->v6) {
        match.labelled = (uint32_t)peer->domains;
        put_allowed(c, peer, &match);
        match.labelled = 0;
    }
    match.pair = &there;
    if (how->log) {
        put_line(c, peer, &match, NFT_VERDICT_NONE, NULL);
        return;
    }
    match.give_label = (uint32_t)peer->domains;
    put_allowed(c, peer, &match);
    match.pair = &back;
    match.give_label = 0;
    put_allowed(c, peer, &match);
}

static void line(const struct rule_context *c, const struct rule_peer *peer,
                 const struct policy_ports *ports)
{
    static const char *const words[] = {
        [POLICY_ALLOW] = "allow", [POLICY_DENY] = "deny", [POLICY_PASS] = "pass"};
    const struct policy *p = c->policy;
    enum policy_action action = c->rule->action;
    struct nft_match match = {.end = peer->end};
    if (ports) {
        match.protocol = ports->protocol;
        match.first_port = ports->first;
        match.last_port = ports->last;
    }
    /* The first packet of a connection that is allowed; some of those that are not. */
    if (c->rule->log) {
        struct nft_match logged = match;
        char text[128];
        snprintf(text, sizeof(text), "proa %.40s%s%.40s %.20s %s ", p->stack, *p->stack ? "/" : "",
                 p->name, c->rule->name, words[action]);
        logged.log = text;
        logged.only_new = action != POLICY_DENY;
        logged.per_second = action == POLICY_DENY ? 10 : 0;
        if (peer->domains)
            domain_lines(c, peer, &logged);
        else
            put_line(c, peer, &logged, NFT_VERDICT_NONE, NULL);
    }
    if (peer->domains)
        domain_lines(c, peer, &match);
    else if (action == POLICY_ALLOW)
        put_allowed(c, peer, &match);
    else if (action == POLICY_DENY)
        put_line(c, peer, &match, NFT_VERDICT_GOTO, "denied");
    else
        put_line(c, peer, &match, NFT_VERDICT_RETURN, NULL);
}

static void each_port(const struct rule_context *c, const struct rule_peer *peer)
{
    if (c->rule->n_ports == 0)
        line(c, peer, NULL);
    for (size_t i = 0; i < c->rule->n_ports; i++)
        line(c, peer, &c->rule->ports[i]);
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

static void write_blocks(const struct rule_context *c, enum compile_side side)
{
    for (int v6 = 0; v6 < 2; v6++) {
        const struct nft_end end = {.reply = is_reply(side), .v6 = v6};
        struct policy_range *list = NULL;
        size_t n = 0;
        for (size_t i = 0; i < c->rule->n_peers; i++)
            if (c->rule->peers[i].kind == POLICY_BLOCK && c->rule->peers[i].block.v6 == v6)
                collect_block(&c->rule->peers[i], &list, &n);
        n = merge(list, n);
        if (n > 0)
            each_port(c, &(struct rule_peer){&end, list, n});
        free(list);
    }
}

/* --- the others --- */

static int write_selector(struct store *s, const struct rule_context *c, enum compile_side side,
                          const struct policy_selector *selector, struct error *err)
{
    _cleanup_free_ char *text = policy_selector_text(selector);
    char set[NFT_NAME_MAX];
    int64_t id;
    bool added;
    int r = store_selector_put(s, text, &id, &added, err);
    for (int v6 = 0; r == 0 && v6 < 2; v6++) {
        const struct nft_end end = {.reply = is_reply(side), .v6 = v6, .set = set};
        compile_set_name(id, v6, set);
        each_port(c, &(struct rule_peer){.end = &end});
    }
    return r;
}

static int write_domains(struct store *s, const struct rule_context *c, char *const *domains,
                         struct error *err)
{
    _cleanup_free_ char *text = policy_domains_text(domains);
    int64_t id;
    bool added;
    int r = store_selector_put(s, text, &id, &added, err);
    for (int v6 = 0; r == 0 && v6 < 2; v6++)
        each_port(c, &(struct rule_peer){.domains = id, .v6 = v6});
    return r;
}

/* Anybody, but metadata must be named. */
static void write_anybody(const struct rule_context *c, enum compile_side side)
{
    static const char *const sets[] = {"metadata4", "metadata6"};
    if (side == COMPILE_INGRESS) {
        each_port(c, &(struct rule_peer){NULL});
        return;
    }
    for (int v6 = 0; v6 < 2; v6++) {
        const struct nft_end end = {.reply = true, .v6 = v6, .set = sets[v6], .outside = true};
        each_port(c, &(struct rule_peer){.end = &end});
    }
}

int compile_rule(struct store *s, const struct policy *p, const struct policy_rule *rule,
                 enum compile_side side, const char *chain, struct nft_batch *out,
                 struct error *err)
{
    static const char *const ok[] = {[COMPILE_EGRESS] = POLICY_EGRESS_OK,
                                     [COMPILE_INGRESS] = POLICY_INGRESS_OK,
                                     [COMPILE_HOST] = NULL};
    const struct rule_context c = {p, rule, chain, ok[side], out};
    int r = 0;
    bool host = false;
    if (rule->n_peers == 0 && side != COMPILE_HOST)
        write_anybody(&c, side);
    for (size_t i = 0; r == 0 && i < rule->n_peers; i++) {
        const struct policy_peer *peer = &rule->peers[i];
        host |= peer->kind == POLICY_HOST;
        if (peer->kind == POLICY_INSTANCES && side != COMPILE_HOST)
            r = write_selector(s, &c, side, &peer->selector, err);
        if (r == 0 && peer->kind == POLICY_DOMAINS && side == COMPILE_EGRESS)
            r = write_domains(s, &c, peer->domains, err);
    }
    if (r == 0 && side != COMPILE_HOST)
        write_blocks(&c, side);
    if (r == 0 && host && side == COMPILE_HOST)
        each_port(&c, &(struct rule_peer){NULL});
    return r;
}
