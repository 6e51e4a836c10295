/*
 * Proa's rules. They are written once per boot and never change: what comes and goes is elements of
 * the sets and maps they look at.
 *
 *   bridges      every network's bridge
 *   internal     those without a way out
 *   same         each bridge paired with itself, for hosts whose bridges call iptables and nft
 *   places       bridge and its own gateway address: who may ask which dnsmasq
 *   gateways     those addresses alone
 *   members      every attached instance's address
 *   closed       links between which this host did not forward before Proa switched forwarding on
 *   published, published_any   host port to instance, for one host address or for all
 *   ports (bridge table)       link, hardware address and address of each port
 *
 * Several tables may hook the same place, and a packet must pass all of them: `accept` here never
 * overrides the host's own firewall, and the policies are accept so that what is none of Proa's
 * business stays untouched.
 */
#include "service/network/rules.h"

const char rules_inet_chains[] =
    /* route_localnet is on for the bridges (127.0.0.1:PORT on the host needs it): so what comes
     * from an instance must neither go to nor come from 127/8. IPv6 has no networks yet. */
    "chain raw {\n"
    " type filter hook prerouting priority -300; policy accept;\n"
    " iifname @bridges ip daddr 127.0.0.0/8 drop\n"
    " iifname @bridges ip saddr 127.0.0.0/8 drop\n"
    " iifname @bridges meta nfproto ipv6 drop\n"
    "}\n"
    "chain publish {\n"
    " dnat ip to ip daddr . meta l4proto . th dport map @published\n"
    " dnat ip to meta l4proto . th dport map @published_any\n"
    "}\n"
    /* A packet from a wire that is addressed to 127/8 is an attack on ports published there. */
    "chain prerouting {\n"
    " type nat hook prerouting priority -100; policy accept;\n"
    " meta l4proto { tcp, udp } th dport 53 iifname . ip daddr @places redirect to :10053\n"
    " iifname @internal return\n"
    " ip daddr 127.0.0.0/8 return\n"
    " fib daddr type local goto publish\n"
    "}\n"
    "chain output {\n"
    " type nat hook output priority -100; policy accept;\n"
    " fib daddr type local goto publish\n"
    "}\n"
    /* From the host's loopback; from an instance back to its own network (by address: a bridge that
     * calls iptables and nft does not say here where a frame came in); out. */
    "chain postrouting {\n"
    " type nat hook postrouting priority 100; policy accept;\n"
    " ip saddr 127.0.0.0/8 oifname @bridges masquerade\n"
    " ip saddr @members oifname @bridges ct status dnat masquerade\n"
    " iifname @bridges iifname != @internal oifname != @bridges masquerade\n"
    "}\n"
    "chain input {\n"
    " type filter hook input priority 0; policy accept;\n"
    " meta l4proto { tcp, udp } th dport 10053 ip daddr @gateways"
    " iifname . ip daddr != @places iifname != \"lo\" drop\n"
    " iifname != @internal accept\n"
    " ct state established,related accept\n"
    " icmp type echo-request accept\n"
    " meta l4proto { tcp, udp } th dport 10053 accept\n"
    " drop\n"
    "}\n"
    "chain forward {\n"
    " type filter hook forward priority 0; policy accept;\n"
    " iifname @closed oifname @closed ct state new drop\n"
    " iifname != @bridges oifname != @bridges accept\n"
    " iifname . oifname @same accept\n"
    " iifname @internal drop\n"
    " oifname @internal drop\n"
    " tcp flags syn / syn,rst tcp option maxseg size set rt mtu\n"
    " ct state established,related accept\n"
    " ct status dnat accept\n"
    " oifname @bridges drop\n"
    "}\n";

/* A port sends with its own addresses or not at all; nothing but IPv4 and ARP crosses. */
const char rules_bridge_chains[] =
    "chain prerouting {\n"
    " type filter hook prerouting priority 0; policy accept;\n"
    " iifname != \"" PORT_LINK_PREFIX "*\" accept\n"
    " ether type ip iifname . ether saddr . ip saddr @ports accept\n"
    " ether type arp iifname . arp saddr ether . arp saddr ip @ports accept\n"
    " drop\n"
    "}\n";
