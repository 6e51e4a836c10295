/*
 * The table `inet proa-policy`.
 *
 *   bridges     of this root's networks: what neither comes nor goes by one of them is not judged
 *   egress4, host4, ingress4 (and 6)   address of an instance to the chain of its profile: for what
 *               it begins, what it begins towards the host, what is begun towards it
 *   spanned     bridges of networks over several hosts: an address there that is no instance's of
 *               this host is one of another host's, which its own host has asked and will ask
 *   apart       what such an address begins, where neither a rule nor the stack has let it in
 *   instances4  addresses of instances, also of other hosts' that were heard of (heard.c)
 *   sN_4, sN_6  the instances that selector N fits
 *   sN_4, sN_6  of a list of names N: instance and address that it was told for such a name, for as
 *               long as that is good; proa-names adds them (service/names)
 *   named4, named6  the same, of all lists, for a day: for `proa flows` only
 *   eN, hN, iN  a profile's chains: administrators' rules (jumped to: aNe, aNh, aNi), then its
 *               NetworkPolicies (pN_e, pN_h, pN_i), then its default
 *   egress, ingress, host     where packets come in; each goes on to NAME_all
 *   egress_ok, ingress_ok     what may pass goes there, and is remembered (ways.c)
 *   errors      who may send an ICMP error about a connection: one of its ends, and routers outside
 *   ends4, ends6              an instance's address with itself: an end compared with a sender
 *   allowed4, denied4, stray4 and the like     what was seen (seen.c)
 *
 * A packet is looked up by address, passes the few chains of that one profile, and never the rules
 * of others: their number costs nothing. Egress and ingress are two base chains one after the
 * other, so `accept` in one leaves the other to be asked, and the kernel, which checks every way
 * through the chains when they change, has a sum of them to check and not a product.
 *
 * The text here is what never changes, put up once per boot by the nft program; members, chains and
 * selectors' sets come and go by netlink, with one transaction for each change.
 *
 * What comes through a port and is in no map is refused: an instance that the store has not put
 * under the policies, or has forgotten, reaches nobody. Refused TCP is told so with a reset, which
 * ends a connection that a new rule forbids; anything else gets an ICMP error.
 *
 * The base chains drop what comes to their end, and only that: a packet that is on its way while a
 * change takes effect may find the new element and, of the new chain, the rules of the time before,
 * which are none. Everything that may pass is accepted by a rule.
 *
 * Each engine root has a table of its own, which knows its bridges and its instances only. A packet
 * between instances of two roots passes both, and to either one the other end is a host outside.
 */
#include <net/if.h>

#include "service/policy/policy-internal.h"
#include "service/store/network.h"

static const char sets[] = "set instances4 { type ipv4_addr; }\n"
                           "set instances6 { type ipv6_addr; }\n"
                           "set ends4 { type ipv4_addr . ipv4_addr; }\n"
                           "set ends6 { type ipv6_addr . ipv6_addr; }\n"
                           "map egress4 { type ipv4_addr : verdict; }\n"
                           "map egress6 { type ipv6_addr : verdict; }\n"
                           "map host4 { type ipv4_addr : verdict; }\n"
                           "map host6 { type ipv6_addr : verdict; }\n"
                           "map ingress4 { type ipv4_addr : verdict; }\n"
                           "map ingress6 { type ipv6_addr : verdict; }\n";

static const char names[] =
    "set " LEARNED_NAMES4 " { type ipv4_addr . ipv4_addr; size 16384; flags timeout;"
    " timeout 1d; }\n"
    "set " LEARNED_NAMES6 " { type ipv6_addr . ipv6_addr; size 16384; flags timeout;"
    " timeout 1d; }\n";

/* Errors about a connection that was let through are part of it, from its ends and from outside: an
 * instance that makes up one about others' connections would slow them down or end them. */
static const char errors[] = "chain errors {\n"
                             " meta l4proto != { icmp, icmpv6 } return\n"
                             " iifname != @" POLICY_BRIDGES " accept\n"
                             " ip saddr . ct original ip saddr @ends4 accept\n"
                             " ip saddr . ct reply ip saddr @ends4 accept\n"
                             " ip6 saddr . ct original ip6 saddr @ends6 accept\n"
                             " ip6 saddr . ct reply ip6 saddr @ends6 accept\n"
                             " goto stray\n"
                             "}\n";

/* Neighbours' questions are not tracked, and the bridge table knows who may ask them. */
#define KNOWN(end, map)                                                                            \
    " icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n"                            \
    " ct state invalid,untracked goto stray\n"                                                     \
    " ct " end " ip saddr vmap @" map "4\n"                                                        \
    " ct " end " ip6 saddr vmap @" map "6\n"

/* A short way for what comes by here most, and comes to the same in the end: packets of connections
 * whose end on this side is no instance. */
#define OTHERS(link, ok)                                                                           \
    " ct state established " link " != @" POLICY_BRIDGES " goto " ok "\n"                          \
    " ct state established ct direction reply accept\n"

/* ways.c adds the rest when all else is there. What is not of Proa's links is never kept waiting.
 */
#define WAY(name, hook, priority, others)                                                          \
    "chain " name " {\n type filter hook " hook " priority " priority                              \
    "; policy drop;\n iifname != @" POLICY_BRIDGES " " others "accept\n}\n"

#define OUT_TOO "oifname != @" POLICY_BRIDGES " "

static const char ways[] =
    WAY("egress", "forward", "-10", OUT_TOO) WAY("ingress", "forward", "-9", OUT_TOO)
        WAY("host", "input", "-10", "") "chain " POLICY_EGRESS_OK " {\n accept\n}\n"
                                        "chain " POLICY_INGRESS_OK " {\n accept\n}\n";

/* link: at this way's end; end: of the connection. */
#define ALL(name, link, end, ok)                                                                   \
    "chain " name "_all {\n" OTHERS(link, ok)                                                      \
        KNOWN(end, name) " " link " != @" POLICY_BRIDGES " goto " ok "\n"                          \
                         " " link " @spanned goto " ok "\n"                                        \
                         " ct direction original goto denied\n"                                    \
                         " accept\n"                                                               \
                         "}\n"

static const char egress[] = ALL("egress", "iifname", "original", POLICY_EGRESS_OK);
static const char ingress[] = ALL("ingress", "oifname", "reply", POLICY_INGRESS_OK);

/* Of an instance of another host's, heard of or not, in a stack of its own; what a routed or a
 * published connection's answer is comes in by the same bridge. */
static const char apart[] = "chain apart {\n"
                            " ct direction original iifname @spanned goto denied\n"
                            "}\n";

/* Names, DHCP and a ping of the gateway (the address of the link that it came in by) are part of a
 * network; the rest of the host is not. */
static const char host[] =
    "chain host_all {\n"
    " icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept\n"
    " icmp type echo-request fib daddr . iif type local accept\n"
    " icmpv6 type echo-request fib daddr . iif type local accept\n"
    " ct state related jump errors\n"
    " ct direction reply accept\n"
    " meta l4proto { tcp, udp } th dport { 53, 10053-11053 } ct status dnat accept\n"
    " udp dport { 67, 547 } accept\n"
    " ct original ip saddr vmap @host4\n"
    " ct original ip6 saddr vmap @host6\n"
    " goto denied\n"
    "}\n";

static const char refusals[] = "chain stray {\n"
                               " jump seen_stray\n"
                               " drop\n"
                               "}\n"
                               "chain denied {\n"
                               " jump seen_denied\n"
                               " meta l4proto tcp reject with tcp reset\n"
                               " ct direction original reject with icmpx type admin-prohibited\n"
                               " drop\n"
                               "}\n";

static int declare_metadata(struct buf *out, bool v6)
{
    const char *digit = v6 ? "6" : "4";
    int r = buf_addf(out, "set metadata%s { type ipv%s_addr; elements = { ", digit, digit);
    for (size_t i = 0; r == 0 && i < policy_n_metadata; i++) {
        struct policy_address a = {policy_metadata[i].v6, policy_metadata[i].first};
        if (a.v6 == v6)
            r = buf_addf(out, "%s,", policy_address_text(a).s);
    }
    return r < 0 ? r : buf_add_str(out, " } }\n");
}

/* Those that are up: a bridge that comes later is added then (policy_bridge). In the text, so that
 * there is no moment in which their packets are not judged. */
static int declare_bridges(struct buf *out, const char *set, struct network *const *networks,
                           bool spanned)
{
    const char *before = " elements = { ";
    int r = buf_addf(out, "set %s { type ifname;", set);
    for (size_t i = 0; r == 0 && networks[i]; i++) {
        const struct network *n = networks[i];
        if (n->parent || (spanned && !n->vxlan_id) || if_nametoindex(n->bridge) == 0)
            continue;
        r = buf_addf(out, "%s\"%s\"", before, n->bridge);
        before = ", ";
    }
    return r < 0 ? r : buf_add_str(out, *before == ',' ? " }; }\n" : " }\n");
}

static int declare_links(struct store *s, struct buf *out, struct error *err)
{
    struct network **networks;
    int r = store_network_list(s, &networks, err);
    if (r < 0)
        return r;
    r = declare_bridges(out, POLICY_BRIDGES, networks, false);
    if (r == 0)
        r = declare_bridges(out, "spanned", networks, true);
    network_list_free(networks);
    return r;
}

int compile_base(struct store *s, struct buf *out, struct error *err)
{
    int r = buf_addf(out,
                     "table inet %s {\n"
                     "set " POLICY_TABLE_VERSION " { type mark; elements = { 1 } }\n%s%s",
                     store_table(s, POLICY_TABLE).name, sets, names);
    if (r == 0)
        r = declare_links(s, out, err);
    for (int v6 = 0; r == 0 && v6 < 2; v6++)
        r = declare_metadata(out, v6);
    if (r == 0)
        r = seen_declare(out);
    if (r == 0)
        r = buf_addf(out, "%s%s%s%s%s%s%s", refusals, errors, apart, ways, egress, ingress, host);
    return r < 0 ? r : buf_addf(out, "%s}\n", seen_chains);
}
