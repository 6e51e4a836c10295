/*
 * The table `inet proa-policy`.
 *
 *   egress4, host4, ingress4 (and 6)   address of an instance to the chain of its profile: for what
 *               it begins, what it begins towards the host, what is begun towards it
 *   spanned     bridges of networks over several hosts: an address there that is no instance's of
 * this host is one of another host's, which its own host has asked and will ask sN_4, sN_6  the
 * instances that selector N fits eN, hN, iN  a profile's chains: administrators' rules (jumped to:
 * aNe, aNh, aNi), then its NetworkPolicies (pN_e, pN_h, pN_i), then its default allowed4, denied4
 * and the like     what was seen, kept for a day: `proa flows`
 *
 * A packet is looked up by address, passes the few chains of that one profile, and never the rules
 * of others: their number costs nothing. Egress and ingress are two base chains one after the
 * other, so `accept` in one leaves the other to be asked, and the kernel, which checks every way
 * through the chains when they change, has a sum of them to check and not a product.
 *
 * What comes through a port and is in no map is refused: an instance that the store has not put
 * under the policies, or has forgotten, reaches nobody. Refused TCP is told so with a reset, which
 * ends a connection that a new rule forbids; anything else gets an ICMP error.
 *
 * Links are known by their names: every bridge of Proa's begins with "proa".
 */
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "service/policy/policy-internal.h"

/* Replaced as a whole when this program's text is another one: see table.c. */
static const char base_sets[] = "set spanned { type ifname; }\n"
                                "set instances4 { type ipv4_addr; }\n"
                                "set instances6 { type ipv6_addr; }\n"
                                "map egress4 { type ipv4_addr : verdict; }\n"
                                "map egress6 { type ipv6_addr : verdict; }\n"
                                "map host4 { type ipv4_addr : verdict; }\n"
                                "map host6 { type ipv6_addr : verdict; }\n"
                                "map ingress4 { type ipv4_addr : verdict; }\n"
                                "map ingress6 { type ipv6_addr : verdict; }\n";

#define SEEN_SET(name, type)                                                                       \
    "set " name " { type " type "; size 16384; flags dynamic,timeout; timeout 1d; }\n"
#define SEEN_SETS(word)                                                                            \
    SEEN_SET(word "4", "ipv4_addr . ipv4_addr . inet_proto . inet_service")                        \
    SEEN_SET(word "6", "ipv6_addr . ipv6_addr . inet_proto . inet_service")                        \
    SEEN_SET(word "4other", "ipv4_addr . ipv4_addr . inet_proto")                                  \
    SEEN_SET(word "6other", "ipv6_addr . ipv6_addr . inet_proto")

#define PORTED "meta l4proto { tcp, udp, sctp }"
#define NOTE_PORTED(set, ip)                                                                       \
    " ct direction original " PORTED " update @" set " { " ip " saddr . " ip                       \
    " daddr . meta l4proto . th dport counter }\n"
#define NOTE_OTHER(set, ip)                                                                        \
    " ct direction original meta l4proto != { tcp, udp, sctp } update @" set " { " ip              \
    " saddr . " ip " daddr . meta l4proto counter }\n"
#define NOTE(word)                                                                                 \
    NOTE_PORTED(word "4", "ip")                                                                    \
    NOTE_PORTED(word "6", "ip6")                                                                   \
    NOTE_OTHER(word "4other", "ip")                                                                \
    NOTE_OTHER(word "6other", "ip6")

/* Errors about a connection that was let through are part of it; neighbours' questions are not
 * tracked, and the bridge table knows who may ask them. */
#define PRELUDE                                                                                    \
    " icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n"                            \
    " ct state related meta l4proto { icmp, icmpv6 } accept\n"                                     \
    " ct state invalid,untracked drop\n"

static const char base_chains[] = "chain denied {\n" NOTE(
    "denied") " meta l4proto tcp reject with tcp reset\n"
              " ct direction original reject with icmpx type admin-prohibited\n"
              " drop\n"
              "}\n"
              "chain egress {\n"
              " type filter hook forward priority 5; policy accept;\n"
              " iifname != \"proa*\" oifname != \"proa*\" accept\n" PRELUDE
              " ct original ip saddr vmap @egress4\n"
              " ct original ip6 saddr vmap @egress6\n"
              " iifname @spanned ct original ip saddr != @instances4 accept\n"
              " iifname @spanned ct original ip6 saddr != @instances6 accept\n"
              " iifname \"proa*\" ct direction original goto denied\n"
              "}\n"
              "chain ingress {\n"
              " type filter hook forward priority 6; policy accept;\n"
              " iifname != \"proa*\" oifname != \"proa*\" accept\n" PRELUDE
              " ct reply ip saddr vmap @ingress4\n"
              " ct reply ip6 saddr vmap @ingress6\n"
              " oifname @spanned ct reply ip saddr != @instances4 accept\n"
              " oifname @spanned ct reply ip6 saddr != @instances6 accept\n"
              " oifname \"proa*\" ct direction original goto denied\n"
              "}\n"
              "chain seen {\n"
              " type filter hook forward priority 7; policy accept;\n"
              " ct state != new accept\n"
              " iifname != \"proa*\" oifname != \"proa*\" accept\n" NOTE(
                  "allowed") "}\n"
                             /* Names, DHCP and a ping of the gateway are part of a network; the
                                rest of the host is not. */
                             "chain host {\n"
                             " type filter hook input priority 5; policy accept;\n"
                             " iifname != \"proa*\" accept\n"
                             " meta l4proto icmpv6 icmpv6 type { nd-neighbor-solicit, "
                             "nd-neighbor-advert,"
                             " nd-router-solicit, echo-request } accept\n"
                             " icmp type echo-request accept\n"
                             " ct state related meta l4proto { icmp, icmpv6 } accept\n"
                             " ct direction reply accept\n"
                             " meta l4proto { tcp, udp } th dport { 53, 10053-11053 } ct status "
                             "dnat "
                             "accept\n"
                             " udp dport { 67, 547 } accept\n"
                             " ct original ip saddr vmap @host4\n"
                             " ct original ip6 saddr vmap @host6\n"
                             " goto denied\n"
                             "}\n";

static int write_metadata(struct buf *out, bool v6)
{
    int r = buf_addf(out, "set metadata%s { type ipv%s_addr; elements = { ", v6 ? "6" : "4",
                     v6 ? "6" : "4");
    for (size_t i = 0; r == 0 && i < policy_n_metadata; i++) {
        struct policy_address a = {policy_metadata[i].v6, policy_metadata[i].first};
        if (a.v6 == v6)
            r = buf_addf(out, "%s,", policy_address_text(a).s);
    }
    return r < 0 ? r : buf_add_str(out, " } }\n");
}

int compile_base(struct buf *out)
{
    int r = buf_addf(out,
                     "table inet " POLICY_TABLE " {\n"
                     "set " POLICY_TABLE_VERSION " { type mark; elements = { 1 } }\n%s%s",
                     base_sets, SEEN_SETS("allowed") SEEN_SETS("denied"));
    for (int v6 = 0; r == 0 && v6 < 2; v6++)
        r = write_metadata(out, v6);
    return r < 0 ? r : buf_addf(out, "%s}\n", base_chains);
}

static bool is_v6(const char *address)
{
    return strchr(address, ':') != NULL;
}

/* "{ a, b }" of one family; nothing when there are none. */
static int write_elements(struct buf *out, const char *verb, const char *set, bool v6,
                          char *const *addresses, const char *target)
{
    bool any = false;
    int r = 0;
    for (size_t i = 0; r == 0 && addresses[i]; i++) {
        if (is_v6(addresses[i]) != v6)
            continue;
        if (!any)
            r = buf_addf(out, "%s element inet " POLICY_TABLE " %s%s {", verb, set, v6 ? "6" : "4");
        if (r == 0)
            r = buf_addf(out, "%s %s%s", any ? "," : "", addresses[i], target);
        any = true;
    }
    return r == 0 && any ? buf_add_str(out, " }\n") : r;
}

int compile_matches(const char *verb, char *const *addresses, int64_t selector, struct buf *out)
{
    char name[32];
    int r = 0;
    snprintf(name, sizeof(name), "s%lld_", (long long)selector);
    for (int v6 = 0; r == 0 && v6 < 2; v6++)
        r = write_elements(out, verb, name, v6, addresses, "");
    return r;
}

int compile_selector(struct store *s, int64_t id, struct buf *out, struct error *err)
{
    _cleanup_strv_ char **addresses = NULL;
    int r = store_policy_match_list(s, id, &addresses, err);
    if (r == 0)
        r = buf_addf(out,
                     "add set inet " POLICY_TABLE " s%lld_4 { type ipv4_addr; }\n"
                     "add set inet " POLICY_TABLE " s%lld_6 { type ipv6_addr; }\n",
                     (long long)id, (long long)id);
    return r < 0 ? r : compile_matches("add", addresses, id, out);
}

int compile_members(const char *verb, char *const *addresses, int64_t profile, struct buf *out)
{
    static const char *const maps[] = {"egress", "host", "ingress"};
    char target[48];
    int r = 0;
    for (int v6 = 0; r == 0 && v6 < 2; v6++) {
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(maps); i++) {
            *target = '\0';
            if (profile)
                snprintf(target, sizeof(target), " : goto %c%lld", maps[i][0], (long long)profile);
            r = write_elements(out, verb, maps[i], v6, addresses, target);
        }
        if (r == 0)
            r = write_elements(out, verb, "instances", v6, addresses, "");
    }
    return r;
}

/* --- chains --- */

static const struct {
    enum compile_side side;
    enum policy_direction direction;
    char letter;
} sides[] = {
    {COMPILE_EGRESS, POLICY_EGRESS, 'e'},
    {COMPILE_HOST, POLICY_EGRESS, 'h'},
    {COMPILE_INGRESS, POLICY_INGRESS, 'i'},
};

static int write_rules(struct store *s, const struct policy *p, size_t side, struct buf *out,
                       struct error *err)
{
    const struct policy_rules *rules = &p->rules[sides[side].direction];
    int r = 0;
    for (size_t i = 0; r == 0 && i < rules->n; i++)
        r = compile_rule(s, p, &rules->list[i], sides[side].side, out, err);
    return r;
}

#define CHAIN_BEGIN "table inet " POLICY_TABLE " {\nchain "

int compile_policy(struct store *s, int64_t id, const struct policy *p, struct buf *out,
                   struct error *err)
{
    int r = 0;
    if (p->kind == POLICY_ADMIN)
        return 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(sides); i++) {
        if (!p->rules_for[sides[i].direction])
            continue;
        r = buf_addf(out, CHAIN_BEGIN "p%lld_%c {\n", (long long)id, sides[i].letter);
        if (r == 0)
            r = write_rules(s, p, i, out, err);
        if (r == 0)
            r = buf_add_str(out, "}\n}\n");
    }
    return r;
}

/* What stands in a profile's key: "S4 D0 a12 n13i n14ie". */
struct profile_part {
    char kind; /* a or n */
    int64_t id;
    bool rules_for[2];
};

static bool parse_part(const char *word, struct profile_part *ret)
{
    char *end;
    *ret = (struct profile_part){.kind = *word};
    if (*word != 'a' && *word != 'n')
        return false;
    ret->id = strtoll(word + 1, &end, 10);
    ret->rules_for[POLICY_INGRESS] = strchr(end, 'i') != NULL;
    ret->rules_for[POLICY_EGRESS] = strchr(end, 'e') != NULL;
    return true;
}

static int write_admin(struct store *s, const struct store_profile *profile, char *const *words,
                       size_t side, bool *ret_any, struct buf *out, struct error *err)
{
    struct profile_part part;
    bool any = false;
    int r = 0;
    for (size_t i = 0; r == 0 && words[i]; i++) {
        struct store_policy row;
        struct policy policy;
        if (!parse_part(words[i], &part) || part.kind != 'a')
            continue;
        if (!any)
            r = buf_addf(out, CHAIN_BEGIN "a%lld%c {\n", (long long)profile->id,
                         sides[side].letter);
        any = true;
        if (r == 0)
            r = store_policy_get(s, part.id, &row, err);
        if (r < 0)
            break;
        r = policy_parse_stored(row.json, &policy, err);
        store_policy_done(&row);
        if (r < 0)
            break;
        r = write_rules(s, &policy, side, out, err);
        policy_done(&policy);
    }
    if (r == 0 && any)
        r = buf_add_str(out, "}\n}\n");
    *ret_any = any;
    return r;
}

static const char egress_default[] = " ct reply ip saddr @metadata4 goto denied\n"
                                     " ct reply ip6 saddr @metadata6 goto denied\n";

static int write_default(const struct store_profile *p, bool deny, size_t side, struct buf *out)
{
    long long stack = (long long)p->stack_selector;
    if (deny || sides[side].side == COMPILE_HOST)
        return buf_add_str(out, " goto denied\n");
    if (sides[side].side == COMPILE_EGRESS)
        return buf_addf(out, "%s accept\n", egress_default);
    return buf_addf(out,
                    " ct original ip saddr @s%lld_4 accept\n"
                    " ct original ip6 saddr @s%lld_6 accept\n"
                    " ct original ip saddr @instances4 goto denied\n"
                    " ct original ip6 saddr @instances6 goto denied\n"
                    " accept\n",
                    stack, stack);
}

static int write_side(struct store *s, const struct store_profile *p, char *const *words,
                      size_t side, struct buf *out, struct error *err)
{
    bool admin = false, isolated = false, deny = strv_has(words, "D1");
    long long id = (long long)p->id;
    char letter = sides[side].letter;
    struct profile_part part;
    int r = write_admin(s, p, words, side, &admin, out, err);
    if (r == 0)
        r = buf_addf(out, CHAIN_BEGIN "%c%lld {\n", letter, id);
    if (r == 0 && admin)
        r = buf_addf(out, " jump a%lld%c\n", id, letter);
    for (size_t i = 0; r == 0 && words[i]; i++) {
        if (!parse_part(words[i], &part) || part.kind != 'n' ||
            !part.rules_for[sides[side].direction])
            continue;
        isolated = true;
        r = buf_addf(out, " jump p%lld_%c\n", (long long)part.id, letter);
    }
    if (r == 0)
        r = write_default(p, deny || isolated, side, out);
    return r < 0 ? r : buf_add_str(out, "}\n}\n");
}

int compile_profile(struct store *s, const struct store_profile *p, struct buf *out,
                    struct error *err)
{
    _cleanup_strv_ char **words = strv_split(p->key, ' ');
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(sides); i++)
        r = write_side(s, p, words, i, out, err);
    return r;
}

/* --- going --- */

/* `add` before `delete` makes a deletion work whether the chain was there or not. */
static int drop_chain(struct buf *out, const char *name)
{
    return buf_addf(out,
                    "add chain inet " POLICY_TABLE " %s\nflush chain inet " POLICY_TABLE " %s\n",
                    name, name);
}

static int each_chain_of_profile(int64_t id, struct buf *out, const char *verb)
{
    char name[32];
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(sides); i++)
        for (size_t admin = 0; r == 0 && admin < 2; admin++) {
            if (admin)
                snprintf(name, sizeof(name), "a%lld%c", (long long)id, sides[i].letter);
            else
                snprintf(name, sizeof(name), "%c%lld", sides[i].letter, (long long)id);
            r = verb ? buf_addf(out, "%s chain inet " POLICY_TABLE " %s\n", verb, name)
                     : drop_chain(out, name);
        }
    return r;
}

int compile_drop_profile(int64_t id, struct buf *out)
{
    int r = each_chain_of_profile(id, out, NULL);
    return r < 0 ? r : each_chain_of_profile(id, out, "delete");
}

int compile_drop_policy(int64_t id, const struct store_policy *p, struct buf *out)
{
    char name[32];
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(sides); i++) {
        if (p->kind == POLICY_ADMIN || !p->rules_for[sides[i].direction])
            continue;
        snprintf(name, sizeof(name), "p%lld_%c", (long long)id, sides[i].letter);
        r = drop_chain(out, name);
        if (r == 0)
            r = buf_addf(out, "delete chain inet " POLICY_TABLE " %s\n", name);
    }
    return r;
}

int compile_drop_selector(int64_t id, struct buf *out)
{
    return buf_addf(out,
                    "delete set inet " POLICY_TABLE " s%lld_4\n"
                    "delete set inet " POLICY_TABLE " s%lld_6\n",
                    (long long)id, (long long)id);
}
