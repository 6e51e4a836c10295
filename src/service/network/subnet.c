#include <arpa/inet.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "service/network/network-internal.h"

/*
 * Ranges that other engines, clouds and clusters do not take by default (10.88/16 is Podman's,
 * 172.17/16 and up Docker's, 10.96/12 and 10.244/16 Kubernetes'). What this host uses already is
 * skipped by the caller.
 */
static const struct {
    uint32_t subnet;
    uint8_t prefix;
} default_candidates[] = {
    {0x0a4e0000, 16}, /* 10.78.0.0/16 */
    {0x0ab20000, 16}, /* 10.178.0.0/16 */
    {0xac1e0000, 16}, /* 172.30.0.0/16 */
    {0xc0a84e00, 24}, /* 192.168.78.0/24 */
    {0xc612fc00, 24}, /* 198.18.252.0/24, of the range for benchmarks */
};
#define POOL_SUBNET  0x0a4f0000u /* 10.79.0.0/24 and on, up to 10.87.255.0/24 */
#define POOL_SUBNETS (9u * 256)

bool subnet_candidate(bool is_default, size_t n, struct in_addr *ret_subnet, uint8_t *ret_prefix)
{
    if (is_default && n >= ARRAY_SIZE(default_candidates))
        return false;
    if (!is_default && n >= POOL_SUBNETS)
        return false;
    ret_subnet->s_addr =
        htonl(is_default ? default_candidates[n].subnet : POOL_SUBNET + (uint32_t)n * 256);
    *ret_prefix = is_default ? default_candidates[n].prefix : 24;
    return true;
}

int address_parse(const char *text, struct in_addr *ret, struct error *err)
{
    if (inet_pton(AF_INET, text, ret) != 1)
        return error_invalid(err, "%.64s is not an IPv4 address", text);
    return 0;
}

struct address_text address_text(struct in_addr a)
{
    struct address_text t;
    inet_ntop(AF_INET, &a, t.s, sizeof(t.s));
    return t;
}

/* Multicast, loopback, link-local and 0/8 would come up but never work. */
static bool usable(uint32_t subnet)
{
    return subnet >> 24 != 0 && subnet >> 24 != 127 && subnet >> 28 < 0xe && subnet >> 16 != 0xa9fe;
}

int subnet_parse(const char *text, struct in_addr *ret_subnet, uint8_t *ret_prefix,
                 struct error *err)
{
    char address[INET_ADDRSTRLEN] = "";
    const char *slash = strchr(text, '/');
    struct in_addr subnet;
    uint32_t prefix;
    if (!slash || (size_t)(slash - text) >= sizeof(address) || parse_u32(slash + 1, &prefix) < 0)
        return error_invalid(err, "%.64s is not a subnet such as 10.1.0.0/24", text);
    memcpy(address, text, (size_t)(slash - text));
    int r = address_parse(address, &subnet, err);
    if (r < 0)
        return r;
    if (prefix < 8 || prefix > 29)
        return error_invalid(err, "subnet %s: the prefix must be from 8 to 29", text);
    if (ntohl(subnet.s_addr) & (0xffffffffu >> prefix))
        return error_invalid(err, "subnet %s: bits after the prefix must be zero", text);
    if (!usable(ntohl(subnet.s_addr)))
        return error_invalid(err, "subnet %s cannot be used for a network", text);
    *ret_subnet = subnet;
    *ret_prefix = (uint8_t)prefix;
    return 0;
}

bool subnet_has(struct in_addr subnet, uint8_t prefix, struct in_addr address)
{
    uint32_t host = 0xffffffffu >> prefix, first = ntohl(subnet.s_addr), a = ntohl(address.s_addr);
    return (a & ~host) == first && a != first && a != (first | host);
}

bool subnet_overlaps(struct in_addr a, uint8_t a_prefix, struct in_addr b, uint8_t b_prefix)
{
    uint8_t prefix = MIN(a_prefix, b_prefix);
    uint32_t mask = ~(uint32_t)(0xffffffffull >> prefix);
    return ((ntohl(a.s_addr) ^ ntohl(b.s_addr)) & mask) == 0;
}

/* --- IPv6 --- */

int address6_parse(const char *text, struct in6_addr *ret, struct error *err)
{
    if (inet_pton(AF_INET6, text, ret) != 1)
        return error_invalid(err, "%.64s is not an IPv6 address", text);
    return 0;
}

struct address6_text address6_text(const struct in6_addr *a)
{
    struct address6_text t;
    inet_ntop(AF_INET6, a, t.s, sizeof(t.s));
    return t;
}

bool subnet6_same(const struct in6_addr *a, const struct in6_addr *b, uint8_t prefix)
{
    size_t bytes = prefix / 8, bits = prefix % 8;
    if (memcmp(a->s6_addr, b->s6_addr, bytes) != 0)
        return false;
    return bits == 0 || (a->s6_addr[bytes] ^ b->s6_addr[bytes]) >> (8 - bits) == 0;
}

/* Nothing after the prefix. */
static bool is_subnet6(const struct in6_addr *a, uint8_t prefix)
{
    for (size_t bit = prefix; bit < 128; bit++)
        if (a->s6_addr[bit / 8] & 0x80u >> bit % 8)
            return false;
    return true;
}

int subnet6_parse(const char *text, struct in6_addr *ret_subnet, uint8_t *ret_prefix,
                  struct error *err)
{
    char address[INET6_ADDRSTRLEN] = "";
    const char *slash = strchr(text, '/');
    struct in6_addr subnet;
    uint32_t prefix;
    if (!slash || (size_t)(slash - text) >= sizeof(address) || parse_u32(slash + 1, &prefix) < 0)
        return error_invalid(err, "%.64s is not a subnet such as fd00:1::/64", text);
    memcpy(address, text, (size_t)(slash - text));
    int r = address6_parse(address, &subnet, err);
    if (r < 0)
        return r;
    if (prefix < 16 || prefix > 96)
        return error_invalid(err, "subnet %s: the prefix must be from 16 to 96", text);
    if (!is_subnet6(&subnet, (uint8_t)prefix))
        return error_invalid(err, "subnet %s: bits after the prefix must be zero", text);
    if (subnet.s6_addr[0] == 0 || IN6_IS_ADDR_MULTICAST(&subnet) || IN6_IS_ADDR_LINKLOCAL(&subnet))
        return error_invalid(err, "subnet %s cannot be used for a network", text);
    *ret_subnet = subnet;
    *ret_prefix = (uint8_t)prefix;
    return 0;
}

bool subnet6_has(const struct in6_addr *subnet, uint8_t prefix, const struct in6_addr *address)
{
    return subnet6_same(subnet, address, prefix) && !IN6_ARE_ADDR_EQUAL(subnet, address);
}

struct in6_addr subnet6_address(const struct in6_addr *subnet, uint32_t n)
{
    struct in6_addr a = *subnet;
    uint32_t number = htonl(n);
    memcpy(a.s6_addr + 12, &number, 4);
    return a;
}

struct in6_addr subnet6_random(void)
{
    struct in6_addr a = IN6ADDR_ANY_INIT;
    char hex[11];
    random_hex(hex, 5);
    a.s6_addr[0] = 0xfd;
    for (size_t i = 0; i < 5; i++) {
        const char digits[3] = {hex[i * 2], hex[i * 2 + 1], '\0'};
        a.s6_addr[i + 1] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return a;
}

struct in6_addr link_local_address(const struct link_mac *mac)
{
    const uint8_t *m = mac->bytes;
    return (struct in6_addr){.s6_addr = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, m[0] ^ 2, m[1], m[2], 0xff,
                                         0xfe, m[3], m[4], m[5]}};
}
