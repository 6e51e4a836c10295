/*
 * What ports sent that was not theirs to send, kept for a day for `proa flows`.
 *
 *   refused      link, hardware address and type, and how often
 *   refusednew   how many new ones a link may still bring: 500, and then one a minute
 *   refusedmore  links that were over that, and how often
 *
 * So one that makes up ever more addresses does not hide what its neighbours do (as for flows,
 * service/policy/seen.c).
 */
#include "service/network/rules.h"

int refused_put(struct buf *out, const char *table, const char *chain, const char *link)
{
    static const char *const sets[][2] = {
        {"refused", "ifname . ether_addr . ether_type; size 65536"},
        {"refusednew", "ifname; size 16384"},
        {"refusedmore", "ifname; size 16384"}};
    int r = buf_addf(out, "table %s {\n", table);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(sets); i++)
        r = buf_addf(out, "set %s { type %s; flags dynamic,timeout; timeout 1d; }\n", sets[i][0],
                     sets[i][1]);
    if (r == 0)
        r = buf_addf(out, "chain %2$s { }\n}\nflush chain %1$s %2$s\n", table, chain);
    if (r < 0)
        return r;
    return buf_addf(out,
                    "table %1$s {\nchain %2$s {\n"
                    " %3$s . ether saddr . ether type @refused"
                    " update @refused { %3$s . ether saddr . ether type counter } drop\n"
                    " update @refusednew { %3$s limit rate 1/minute burst 500 packets }"
                    " update @refused { %3$s . ether saddr . ether type counter } drop\n"
                    " update @refusedmore { %3$s counter } drop\n"
                    " drop\n"
                    "}\n}\n",
                    table, chain, link);
}
