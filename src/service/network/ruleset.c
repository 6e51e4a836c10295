/*
 * Proa's rules. They are written once per boot and never change: what comes and goes is elements of
 * the sets and maps they look at. Two chains are empty until somebody has a limit or a priority.
 *
 *   bridges      every network's bridge
 *   internal     those without a way out
 *   isolated     those whose instances do not reach each other
 *   without6     those without IPv6
 *   same         each bridge paired with itself
 *   places       bridge and its own gateway address: who may ask which dnsmasq
 *   gateways     those addresses alone
 *   resolvers    address of an instance on several networks and the port of its own dnsmasq
 *   priorities, priorities6   address of an instance whose packets go first, or last (priority.c)
 *   tunnels, tunnel_peers   VXLANs (UDP port and number) and who may speak in them
 *   sealed       those of them that are in WireGuard (seal.c): in clear text nothing comes or goes
 *   teller_ports, tellers   ports (TCP) where such a network's peers say who is on it, and who they
 *                are (span.c)
 *   members, members6    every attached instance's address
 *   closed, closed6      links between which this host did not forward before Proa switched
 *                forwarding on
 *   published, published_any, published6, published6_any   host port to instance, for one host
 *                address or for all
 *   counted      bridge and hardware address of each port whose connections are counted, and how
 *   usual, few, many         the counts (connections.c)
 *   limited4, limited6       who wanted more, for `proa flows`
 *
 * of the bridge table:
 *   links        of all ports: what comes in by another is not looked at
 *   preferred    the same by link
 *   rates        link of a port that may not send as fast as it can, and its limit
 *   macs         link and hardware address of each port
 *   free         those whose addresses are the LAN's to give
 *   ports, ports6        link, hardware address and address of each port
 *   targets6     link and address that it may say is its own (neighbour discovery)
 *   begun, begun6        datagrams in pieces whose first piece a port has just sent
 *   piecers      how many of them a port may still begin
 *   refused...   what a port sent otherwise, for `proa flows` (refused.c); goes to chain `refuse`
 *
 * Several tables may hook the same place, and a packet must pass all of them: `accept` here never
 * overrides the host's own firewall, and the policies are accept so that what is none of Proa's
 * business stays untouched.
 *
 * Each engine root has tables of its own, which know its bridges, ports and instances only. What
 * passes between two roots passes the tables of both, and is to each what comes from outside, or
 * goes there.
 *
 * The bridges hand what they switch to the chains for routed packets (br_netfilter, where the
 * kernel has it), so what passes between two ports of one network is seen by `forward`, with its
 * connection, like anything else.
 *
 * A packet of a connection passes some twenty rules, and looking into a set costs several times
 * what a comparison does: in each rule what fails most often and is cheapest stands first.
 */
#include "service/network/connections.h"
#include "service/network/rules.h"
#include "service/network/seal.h"

const char rules_inet_chains[] =
    "chain publish {\n"
    " dnat ip to ip daddr . meta l4proto . th dport map @published\n"
    " dnat ip to meta l4proto . th dport map @published_any\n"
    " dnat ip6 to ip6 daddr . meta l4proto . th dport map @published6\n"
    " dnat ip6 to meta l4proto . th dport map @published6_any\n"
    "}\n"
    "chain limited {\n"
    " update @limited4 { ip saddr counter } drop\n"
    " update @limited6 { ip6 saddr counter } drop\n"
    " drop\n"
    "}\n"
    "chain few {\n"
    " iifname . ether saddr @few goto limited\n"
    "}\n"
    "chain many {\n"
    " iifname . ether saddr . " CONNECTIONS_LIST " @many goto limited\n"
    "}\n"
    /* Connections are counted by their first packets, which nat chains alone see. Before the host's
     * own: where that has said where a connection leads, no chain after it is asked. */
    "chain count {\n"
    " type nat hook prerouting priority -110; policy accept;\n"
    " iifname . ether saddr vmap @counted\n"
    "}\n"
    /* Only the first packet of a connection comes by here. route_localnet is on for the bridges
     * (127.0.0.1:PORT on the host needs it): so what comes from an instance must neither go to nor
     * come from the host's loopback. A packet from a wire that is addressed to 127/8 is an attack
     * on ports published there. What belongs to no connection ends in the policies' chain. */
    "chain prerouting {\n"
    " type nat hook prerouting priority -100; policy accept;\n"
    " ip daddr 127.0.0.0/8 iifname @bridges drop\n"
    " ip saddr 127.0.0.0/8 iifname @bridges drop\n"
    " ip6 daddr ::1 iifname @bridges drop\n"
    " ip6 saddr ::1 iifname @bridges drop\n"
    " meta l4proto { tcp, udp } th dport 53 iifname . ip daddr @places"
    " redirect to :ip saddr map @resolvers\n"
    " meta l4proto { tcp, udp } th dport 53 iifname . ip daddr @places redirect to :10053\n"
    " iifname @internal return\n"
    " ip daddr 127.0.0.0/8 return\n"
    " ip6 daddr ::1 return\n"
    " fib daddr type local goto publish\n"
    "}\n"
    /* An answer to ::1 would not come back: the kernel routes that to lo only. */
    "chain output {\n"
    " type nat hook output priority -100; policy accept;\n"
    " ip6 daddr ::1 return\n"
    " fib daddr type local goto publish\n"
    "}\n"
    /* From the host's loopback; from an instance back to its own network (by address: a bridge that
     * calls iptables and nft does not say here where a frame came in); out. */
    "chain postrouting {\n"
    " type nat hook postrouting priority 100; policy accept;\n"
    " ip saddr 127.0.0.0/8 oifname @bridges masquerade\n"
    " ip saddr @members oifname @bridges ct status dnat masquerade\n"
    " ip6 saddr @members6 oifname @bridges ct status dnat masquerade\n"
    " iifname @bridges iifname != @internal oifname != @bridges masquerade\n"
    "}\n"
    "chain leave {\n"
    " type filter hook output priority 0; policy accept;\n"
    " udp dport . @th,96,24 @sealed oifname != \"" SEAL_LINK_PREFIX "*\" drop\n"
    "}\n"
    "chain input {\n"
    " type filter hook input priority 0; policy accept;\n"
    " meta nfproto ipv6 iifname @without6 drop\n"
    " udp dport . @th,96,24 @tunnels meta nfproto ipv6 drop\n"
    " udp dport . @th,96,24 @tunnels ip saddr . udp dport . @th,96,24 != @tunnel_peers drop\n"
    " udp dport . @th,96,24 @sealed iifname != \"" SEAL_LINK_PREFIX "*\" drop\n"
    " tcp dport @teller_ports ip saddr . tcp dport != @tellers drop\n"
    " meta l4proto { tcp, udp } th dport 10053 ip daddr @gateways"
    " iifname . ip daddr != @places iifname != \"lo\" drop\n"
    " meta l4proto { tcp, udp } th dport 10054-11053 ip daddr @gateways iifname != \"lo\""
    " ct status & dnat == 0 drop\n"
    " iifname @bridges udp dport { 67, 547 } drop\n" /* proa-lease has seen it */
    " iifname != @internal accept\n"
    " ct state established,related accept\n"
    " icmp type echo-request accept\n"
    " icmpv6 type { echo-request, nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit }"
    " accept\n"
    " meta l4proto { tcp, udp } th dport 10053-11053 ip daddr @gateways accept\n"
    " drop\n"
    "}\n"
    /* An assured connection is past what is said of segments' sizes, and of who may begin. */
    "chain forward {\n"
    " type filter hook forward priority 0; policy accept;\n"
    " ct status assured accept\n"
    " meta nfproto ipv6 iifname @without6 drop\n"
    " ct state established meta l4proto != tcp accept\n"
    " ct state new meta nfproto ipv4 iifname @closed oifname @closed drop\n"
    " ct state new meta nfproto ipv6 iifname @closed6 oifname @closed6 drop\n"
    /* Behind this host's address they would be a peer's words. */
    " ct state new ip daddr . udp dport . @th,96,24 @tunnel_peers drop\n"
    " ct state new ip daddr . tcp dport @tellers drop\n"
    " ct state new oifname \"" SEAL_LINK_PREFIX "*\" drop\n"
    " iifname != @bridges oifname != @bridges accept\n"
    " ct state new iifname . oifname @same iifname @isolated ct status & dnat == 0 drop\n"
    " iifname . oifname @same accept\n"
    " iifname @internal drop\n"
    " oifname @internal drop\n"
    " tcp flags syn / syn,rst tcp option maxseg size set rt mtu\n"
    " ct state established,related accept\n"
    " ct status dnat accept\n"
    " oifname @bridges drop\n"
    "}\n";

/* A port sends with its own addresses or not at all; nothing but IP and ARP crosses. It does not
 * give out addresses, is no router, and answers for itself only; it may ask whether an address is
 * free (ARP from 0.0.0.0, a solicitation from ::), and for one by DHCP. Priority: before a bridge
 * hands frames to the chains above. */
const char rules_bridge_chains[] =
    "set piecers { type ifname; size 16384; flags dynamic,timeout; timeout 1h; }\n"
    "set begun { typeof iifname . ip id; size 131072; flags dynamic,timeout; timeout 2s; }\n"
    "set begun6 { typeof iifname . frag id; size 131072; flags dynamic,timeout; timeout 2s; }\n"
    /* Fragments (RFC 1858): every piece but the last is as long as the narrowest network allows, so
     * none lies over another one's headers; and what goes on was begun by the same port before. */
    /* The sets have room for eight that do this all the time, and everybody else. */
    "chain begin {\n"
    " update @piecers { iifname limit rate over 8000/second burst 8000 packets } goto refuse\n"
    "}\n"
    "chain pieces {\n"
    " ip frag-off & 0x2000 != 0 ip length < 256 goto refuse\n"
    " ip frag-off & 0x1fff > 0 ip frag-off & 0x1fff < 24 goto refuse\n"
    " ip frag-off & 0x1fff == 0 jump begin\n"
    " ip frag-off & 0x1fff == 0 update @begun { iifname . ip id } return\n"
    " iifname . ip id != @begun goto refuse\n"
    "}\n"
    "chain pieces6 {\n"
    " frag more-fragments 1 ip6 length < 216 goto refuse\n"
    " frag frag-off > 0 frag frag-off < 24 goto refuse\n"
    " frag frag-off 0 jump begin\n"
    " frag frag-off 0 update @begun6 { iifname . frag id } return\n"
    " iifname . frag id != @begun6 goto refuse\n"
    "}\n"
    "chain solicit {\n"
    " exthdr frag exists jump pieces6\n"
    " exthdr rt exists goto refuse\n"
    " icmpv6 type { nd-router-advert, nd-redirect } goto refuse\n"
    /* In pieces it would not be seen for what it is; a router speaks from such an address only. */
    " ip6 saddr fe80::/10 exthdr frag exists goto refuse\n"
    " iifname . ether saddr @free accept\n"
    " icmpv6 type nd-neighbor-advert iifname . @th,64,128 != @targets6 goto refuse\n"
    " iifname . ether saddr . ip6 saddr @ports6 accept\n"
    " ip6 saddr :: icmpv6 type nd-neighbor-solicit iifname . @th,64,128 @targets6 accept\n"
    " goto refuse\n"
    "}\n"
    "chain prerouting {\n"
    " type filter hook prerouting priority -310; policy accept;\n"
    " iifname != \"" PORT_LINK_PREFIX "*\" accept\n"
    " ether type ip ip hdrlength 5 ip frag-off & 0x3fff == 0 meta l4proto tcp"
    " iifname . ether saddr . ip saddr @ports accept\n"
    " iifname != @links accept\n" /* another root's */
    " ether type ip ip frag-off & 0x3fff != 0 jump pieces\n"
    " ip option lsrr exists goto refuse\n"
    " ip option ssrr exists goto refuse\n"
    " iifname . ether saddr != @macs goto refuse\n"
    " meta l4proto udp udp sport { 67, 547 } goto refuse\n"
    " ether type ip iifname . ether saddr . ip saddr @ports accept\n"
    " ether type arp iifname . arp saddr ether . arp saddr ip @ports accept\n"
    " ether type ip6 goto solicit\n"
    " ether type ip ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept\n"
    " ether type arp arp operation request arp saddr ip 0.0.0.0"
    " iifname . arp saddr ether @macs accept\n"
    " ether type ip iifname . ether saddr @free accept\n"
    " ether type arp iifname . arp saddr ether @free accept\n"
    " goto refuse\n"
    "}\n";

/* Each lookup is one for every packet: nobody pays for it before the first instance that wants it.
 * In one transaction, and whether they are there or not. */
int rules_put_special(struct buf *out, const char *table)
{
    return buf_addf(out,
                    "add chain inet %1$s prefer"
                    " { type filter hook postrouting priority -150; policy accept; }\n"
                    "flush chain inet %1$s prefer\n"
                    "add rule inet %1$s prefer meta priority set ip saddr map @priorities\n"
                    "add rule inet %1$s prefer meta priority set ip6 saddr map @priorities6\n"
                    "add chain bridge %1$s special"
                    " { type filter hook prerouting priority -311; policy accept; }\n"
                    "flush chain bridge %1$s special\n"
                    "add rule bridge %1$s special limit name iifname map @rates drop\n"
                    "add rule bridge %1$s special meta priority set iifname map @preferred\n",
                    table);
}
