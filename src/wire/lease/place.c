/* A place as one line of text, as Proa leaves it for proa-lease; hardware addresses. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "wire/lease/lease.h"

int lease_mac_parse(const char *text, uint8_t ret[6])
{
    if (strlen(text) != 17)
        return -EINVAL;
    for (size_t i = 0; i < 6; i++) {
        const char digits[3] = {text[i * 3], text[i * 3 + 1], '\0'};
        char *end;
        ret[i] = (uint8_t)strtoul(digits, &end, 16);
        if (*end || (i < 5 && text[i * 3 + 2] != ':'))
            return -EINVAL;
    }
    return 0;
}

enum { ADDRESS, GATEWAY, ADDRESS6, GATEWAY6, MTU, WAY, NAME, WORDS };

/* "ADDRESS/PREFIX" and its gateway, or two dashes. */
static int parse_family(const char *word, const char *gateway, int family, uint8_t most,
                        void *ret_address, void *ret_gateway, uint8_t *ret_prefix)
{
    const char *slash = strchr(word, '/');
    uint64_t prefix;
    if (strcmp(word, "-") == 0)
        return strcmp(gateway, "-") == 0 ? 0 : -EINVAL;
    if (!slash || parse_u64(slash + 1, most, &prefix) < 0 || prefix == 0)
        return -EINVAL;
    _cleanup_free_ char *address = xstrndup(word, (size_t)(slash - word));
    if (inet_pton(family, address, ret_address) != 1 ||
        inet_pton(family, gateway, ret_gateway) != 1)
        return -EINVAL;
    *ret_prefix = (uint8_t)prefix;
    return 0;
}

int lease_place_parse(const char *text, struct lease_place *ret)
{
    struct lease_place p = {0};
    uint64_t mtu;
    if (strlen(text) >= LEASE_PLACE_MAX)
        return -EINVAL;
    _cleanup_strv_ char **w = strv_split(text, ' ');
    if (strv_len(w) != WORDS || strlen(w[NAME]) >= sizeof(p.name) ||
        parse_family(w[ADDRESS], w[GATEWAY], AF_INET, 31, &p.address, &p.gateway, &p.prefix) < 0 ||
        parse_family(w[ADDRESS6], w[GATEWAY6], AF_INET6, 127, &p.address6, &p.gateway6,
                     &p.prefix6) < 0 ||
        parse_u64(w[MTU], UINT16_MAX, &mtu) < 0)
        return -EINVAL;
    p.mtu = (uint16_t)mtu;
    p.way_out = strcmp(w[WAY], "out") == 0;
    if (strcmp(w[NAME], "-") != 0)
        memcpy(p.name, w[NAME], strlen(w[NAME]));
    *ret = p;
    return 0;
}

void lease_place_format(const struct lease_place *p, char *ret)
{
    char address[INET_ADDRSTRLEN + 5] = "-", gateway[INET_ADDRSTRLEN] = "-",
                                   address6[INET6_ADDRSTRLEN + 5] = "-",
                                   gateway6[INET6_ADDRSTRLEN] = "-";
    if (p->prefix) {
        inet_ntop(AF_INET, &p->address, address, INET_ADDRSTRLEN);
        inet_ntop(AF_INET, &p->gateway, gateway, sizeof(gateway));
        snprintf(address + strlen(address), 5, "/%u", p->prefix);
    }
    if (p->prefix6) {
        inet_ntop(AF_INET6, &p->address6, address6, INET6_ADDRSTRLEN);
        inet_ntop(AF_INET6, &p->gateway6, gateway6, sizeof(gateway6));
        snprintf(address6 + strlen(address6), 5, "/%u", p->prefix6);
    }
    snprintf(ret, LEASE_PLACE_MAX, "%s %s %s %s %u %s %s", address, gateway, address6, gateway6,
             p->mtu, p->way_out ? "out" : "in", p->name[0] ? p->name : "-");
}
