/* A grant of the LAN's as one line of text, and whether it makes sense. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "wire/lease/client.h"

enum { ADDRESS, GATEWAY, DNS, WORDS };

static bool is_host(struct in_addr a)
{
    uint32_t n = ntohl(a.s_addr);
    return n >> 24 != 0 && n >> 24 != 127 && n >> 24 < 224;
}

static bool is_in(struct in_addr a, struct in_addr subnet_of, uint8_t prefix)
{
    uint32_t rest = 0xffffffffu >> prefix, n = ntohl(a.s_addr);
    return (n & ~rest) == (ntohl(subnet_of.s_addr) & ~rest) && (n & rest) != 0 &&
           (n & rest) != rest;
}

bool lease_grant_good(const struct lease_grant *g)
{
    if (g->prefix < 8 || g->prefix > 30 || g->n_dns > LEASE_DNS_MAX || !is_host(g->address) ||
        !is_in(g->address, g->address, g->prefix))
        return false;
    for (size_t i = 0; i < g->n_dns; i++)
        if (!is_host(g->dns[i]))
            return false;
    return g->gateway.s_addr == 0 ||
           (g->gateway.s_addr != g->address.s_addr && is_in(g->gateway, g->address, g->prefix));
}

static int parse_address(const char *word, struct lease_grant *g)
{
    const char *slash = strchr(word, '/');
    uint64_t prefix;
    if (!slash || parse_u64(slash + 1, 30, &prefix) < 0)
        return -EINVAL;
    _cleanup_free_ char *address = xstrndup(word, (size_t)(slash - word));
    g->prefix = (uint8_t)prefix;
    return inet_pton(AF_INET, address, &g->address) == 1 ? 0 : -EINVAL;
}

static int parse_dns(const char *word, struct lease_grant *g)
{
    if (strcmp(word, "-") == 0)
        return 0;
    _cleanup_strv_ char **list = strv_split(word, ',');
    for (; list[g->n_dns]; g->n_dns++)
        if (g->n_dns == LEASE_DNS_MAX || inet_pton(AF_INET, list[g->n_dns], &g->dns[g->n_dns]) != 1)
            return -EINVAL;
    return 0;
}

int lease_grant_parse(const char *text, struct lease_grant *ret)
{
    struct lease_grant g = {.prefix = 0};
    if (strcmp(text, "-") == 0) {
        *ret = g;
        return 0;
    }
    if (strlen(text) >= LEASE_GRANT_MAX)
        return -EINVAL;
    _cleanup_strv_ char **w = strv_split(text, ' ');
    if (strv_len(w) != WORDS || parse_address(w[ADDRESS], &g) < 0 ||
        (strcmp(w[GATEWAY], "-") != 0 && inet_pton(AF_INET, w[GATEWAY], &g.gateway) != 1) ||
        parse_dns(w[DNS], &g) < 0 || !lease_grant_good(&g))
        return -EINVAL;
    *ret = g;
    return 0;
}

void lease_grant_format(const struct lease_grant *g, char ret[static LEASE_GRANT_MAX])
{
    char address[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN] = "-",
                                   dns[LEASE_DNS_MAX * (INET_ADDRSTRLEN + 1)] = "-";
    if (g->address.s_addr == 0) {
        snprintf(ret, LEASE_GRANT_MAX, "-");
        return;
    }
    inet_ntop(AF_INET, &g->address, address, sizeof(address));
    if (g->gateway.s_addr)
        inet_ntop(AF_INET, &g->gateway, gateway, sizeof(gateway));
    size_t len = 0;
    for (size_t i = 0; i < g->n_dns && i < LEASE_DNS_MAX; i++) {
        char one[INET_ADDRSTRLEN];
        inet_ntop(AF_INET, &g->dns[i], one, sizeof(one));
        len += (size_t)snprintf(dns + len, sizeof(dns) - len, "%s%s", i ? "," : "", one);
    }
    snprintf(ret, LEASE_GRANT_MAX, "%s/%u %s %s", address, g->prefix, gateway, dns);
}
