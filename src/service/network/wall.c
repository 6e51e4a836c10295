/*
 * What a machine on a macvlan network may send. Its macvtap is a link of the host's, and all that
 * QEMU writes leaves by it: a chain at its egress says there what the bridge table says of ports of
 * bridges. Each port has a chain of its own, with the port's addresses in its rules, because a
 * chain of this family belongs to its links. A container's macvlan is in the container's namespace
 * and sends past all this.
 *
 *   table netdev proa     refused (for `proa flows`), and two chains for each macvtap
 *
 * Chains are made by text, anew at each change of address, in one transaction.
 */
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "kernel/nft.h"
#include "service/network/network-internal.h"
#include "service/network/rules.h"

#define REFUSE "refuse-" /* and the link: the chain beside its own */

static int put_base(struct buf *text, const char *table, const char *link)
{
    _cleanup_free_ char *netdev = xasprintf("netdev %s", table),
                        *refuse = xasprintf(REFUSE "%s", link);
    int r = refused_put(text, netdev, refuse, "oifname");
    return r < 0 ? r
                 : buf_addf(text,
                            "add chain %1$s %2$s { type filter hook egress device \"%2$s\""
                            " priority 0; policy accept; }\n"
                            "flush chain %1$s %2$s\n"
                            "table %1$s {\nchain %2$s {\n",
                            netdev, link);
}

/* What is nobody's to say, whatever its address is. */
static int put_manners(struct buf *text, const struct store_port *p)
{
    static const char *const refused[] = {
        "ip option lsrr exists",
        "ip option ssrr exists",
        "meta l4proto udp udp sport { 67, 547 }",
        "ether type ip6 icmpv6 type { nd-router-advert, nd-redirect }",
        "ether type ip6 ip6 saddr fe80::/10 exthdr frag exists",
    };
    static const char *const allowed[] = {
        "ether type ip ip saddr 0.0.0.0 udp sport 68 udp dport 67",
        "ether type arp arp operation request arp saddr ip 0.0.0.0",
    };
    int r = buf_addf(text, " ether saddr != %s goto " REFUSE "%s\n", p->mac, p->link);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(refused); i++)
        r = buf_addf(text, " %s goto " REFUSE "%s\n", refused[i], p->link);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(allowed); i++)
        r = buf_addf(text, " %s accept\n", allowed[i]);
    return r;
}

static int put_priority(struct buf *text, const struct store_port *p)
{
    uint32_t number = priority_number(p->priority);
    return number == 0 ? 0 : buf_addf(text, " meta priority set 0:%x\n", number);
}

static int put_address(struct buf *text, const struct store_port *p)
{
    struct address_text address = address_text(p->address);
    if (p->address.s_addr == 0)
        return 0;
    return buf_addf(text,
                    " ether type ip ip saddr %1$s accept\n"
                    " ether type arp arp saddr ether %2$s arp saddr ip %1$s accept\n",
                    address.s, p->mac);
}

/* As nft 1.0.6 writes the target of neighbour discovery: it has no word for it. */
struct target_text {
    char s[2 + 32 + 1];
};
static struct target_text target_text(const struct in6_addr *a)
{
    struct target_text t = {"0x"};
    for (size_t i = 0; i < 16; i++)
        snprintf(t.s + 2 + i * 2, 3, "%02x", a->s6_addr[i]);
    return t;
}

static int put_address6(struct buf *text, const struct store_port *p)
{
    struct link_mac mac;
    if (IN6_IS_ADDR_UNSPECIFIED(&p->address6) || link_mac_parse(p->mac, &mac) < 0)
        return 0;
    struct in6_addr link_local = link_local_address(&mac);
    struct address6_text own = address6_text(&p->address6), local = address6_text(&link_local);
    struct target_text own_target = target_text(&p->address6),
                       local_target = target_text(&link_local);
    return buf_addf(text,
                    " icmpv6 type nd-neighbor-advert @th,64,128 != { %4$s, %5$s } goto " REFUSE
                    "%1$s\n"
                    " ip6 saddr { %2$s, %3$s } accept\n"
                    " ip6 saddr :: icmpv6 type nd-neighbor-solicit @th,64,128 { %4$s, %5$s }"
                    " accept\n",
                    p->link, own.s, local.s, own_target.s, local_target.s);
}

/* Of a system that asks the LAN itself nobody knows the addresses: it may use any. */
static int put_end(struct buf *text, const struct store_port *p)
{
    bool free = p->address.s_addr == 0 && !p->lease;
    int r = free ? buf_add_str(text, " ether type { ip, arp, ip6 } accept\n") : 0;
    return r < 0 ? r : buf_addf(text, " goto " REFUSE "%s\n}\n}\n", p->link);
}

int wall_add(struct store *s, const struct store_port *p, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(16384);
    int r = put_base(&text, store_table(s, RULES_TABLE).name, p->link);
    if (r == 0)
        r = put_priority(&text, p);
    if (r == 0)
        r = put_manners(&text, p);
    if (r == 0)
        r = put_address(&text, p);
    if (r == 0)
        r = put_address6(&text, p);
    if (r == 0)
        r = put_end(&text, p);
    if (r < 0)
        return error_errno(err, r, "compose what %s may send", p->link);
    return nft_load(text.data, text.len, err);
}

void wall_remove(struct store *s, const struct store_port *p)
{
    _cleanup_buf_ struct buf text = BUF_INIT(512);
    if (buf_addf(&text,
                 "delete chain netdev %1$s %2$s\n"
                 "delete chain netdev %1$s " REFUSE "%2$s\n",
                 store_table(s, RULES_TABLE).name, p->link) == 0)
        (void)!nft_load(text.data, text.len, NULL);
}

bool wall_stands_at(const struct network *n, const struct store_port *p)
{
    return n->driver == NETWORK_MACVLAN && if_nametoindex(p->link) != 0;
}
