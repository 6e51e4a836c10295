/*
 * What was seen, for `proa flows`: sets that the kernel fills, with a lifetime of a day from the
 * last packet that fitted. Of each family, for each of three words (allowed, denied, stray):
 *
 *   WORD4        sender, receiver, protocol and port, and how often
 *   WORD4other   the same of protocols without ports
 *   WORDnew4     how many new ones an instance may still bring: NEW_AT_ONCE, and then one a minute
 *   WORDmore4    instances that were over that, and how often
 *
 * So one that asks, or is asked by, ever more others is seen to do that, and cannot fill the sets
 * so that nothing is seen of its neighbours. Whose a packet is says the link where it came in: of
 * Proa's, its sender's; otherwise its receiver's.
 *
 * What was let through is noted behind the host's own rules. What a network consists of, names and
 * DHCP, is no talk with the host.
 */
#include <stdio.h>
#include <string.h>

#include "service/policy/policy-internal.h"

#define NEW_AT_ONCE "4000"
#define OURS        "@" POLICY_BRIDGES

static const char *const words[] = {"allowed", "denied", "stray"};

const char seen_chains[] =
    "chain seen {\n"
    " type filter hook forward priority 10; policy accept;\n"
    " ct state != new accept\n"
    " iifname != " OURS " oifname != " OURS " accept\n"
    " goto seen_allowed\n"
    "}\n"
    "chain seen_in {\n"
    " type filter hook input priority 10; policy accept;\n"
    " iifname != " OURS " accept\n"
    " ct state != new accept\n"
    " meta l4proto { tcp, udp } th dport { 53, 10053-11053 } ct status dnat accept\n"
    " udp dport { 67, 547 } accept\n"
    " goto seen_allowed\n"
    "}\n"
    "chain seen_out {\n"
    " type filter hook output priority 10; policy accept;\n"
    " oifname != " OURS " accept\n"
    " ct state new goto seen_allowed\n"
    "}\n";

/* --- sets --- */

static int declare(struct buf *out, const char *word, const char *digit)
{
    int r = 0;
    for (int other = 0; r == 0 && other < 2; other++)
        r = buf_addf(out,
                     "set %s%s%s { type ipv%s_addr . ipv%s_addr . inet_proto%s; size 65536;"
                     " flags dynamic,timeout; timeout 1d; }\n",
                     word, digit, other ? "other" : "", digit, digit,
                     other ? "" : " . inet_service");
    if (r == 0)
        r = buf_addf(out,
                     "set %snew%s { type ipv%s_addr; size 16384; flags dynamic,timeout;"
                     " timeout 1d; }\n",
                     word, digit, digit);
    return r < 0 ? r
                 : buf_addf(out,
                            "set %smore%s { type ipv%s_addr; size 16384; flags dynamic,timeout;"
                            " timeout 1d; }\n",
                            word, digit, digit);
}

/* --- notes --- */

/* One that is known already; a new one of the sender's; a new one of the receiver's. */
static int note(struct buf *out, const char *word, bool v6, bool other)
{
    const char *ip = v6 ? "ip6" : "ip", *digit = v6 ? "6" : "4",
               *ports = other ? "" : " . th dport";
    char key[64], update[128];
    snprintf(key, sizeof(key), "%s saddr . %s daddr . meta l4proto%s", ip, ip, ports);
    snprintf(update, sizeof(update), "update @%s%s%s { %s counter } return", word, digit,
             other ? "other" : "", key);
    const char *which =
        other ? "meta l4proto != { tcp, udp, sctp }" : "meta l4proto { tcp, udp, sctp }";
    int r =
        buf_addf(out, " %s %s @%s%s%s %s\n", which, key, word, digit, other ? "other" : "", update);
    for (int receiver = 0; r == 0 && receiver < 2; receiver++)
        r = buf_addf(out,
                     " %s iifname %s" OURS " update @%snew%s { %s %s limit rate 1/minute"
                     " burst " NEW_AT_ONCE " packets } %s\n",
                     which, receiver ? "!= " : "", word, digit, ip, receiver ? "daddr" : "saddr",
                     update);
    return r;
}

static int note_more(struct buf *out, const char *word, bool v6)
{
    const char *ip = v6 ? "ip6" : "ip", *digit = v6 ? "6" : "4";
    int r = 0;
    for (int receiver = 0; r == 0 && receiver < 2; receiver++)
        r = buf_addf(out, " iifname %s" OURS " update @%smore%s { %s %s counter }\n",
                     receiver ? "!= " : "", word, digit, ip, receiver ? "daddr" : "saddr");
    return r;
}

/* What is no part of a connection has no direction. */
static int declare_chain(struct buf *out, const char *word)
{
    int r = buf_addf(out, "chain seen_%s {\n%s", word,
                     strcmp(word, "stray") == 0 ? "" : " ct direction reply return\n");
    for (int i = 0; r == 0 && i < 4; i++)
        r = note(out, word, i & 1, i >> 1);
    for (int v6 = 0; r == 0 && v6 < 2; v6++)
        r = note_more(out, word, v6);
    return r < 0 ? r : buf_add_str(out, "}\n");
}

int seen_declare(struct buf *out)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(words); i++) {
        r = declare(out, words[i], "4");
        if (r == 0)
            r = declare(out, words[i], "6");
        if (r == 0)
            r = declare_chain(out, words[i]);
    }
    return r;
}
