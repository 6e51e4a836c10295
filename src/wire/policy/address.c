#include "wire/policy/address.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"

#define V4(a, b, c, d) (((policy_number)(a) << 24) | ((b) << 16) | ((c) << 8) | (d))
#define ONE4(...)                                                                                  \
    {                                                                                              \
        false, V4(__VA_ARGS__), V4(__VA_ARGS__)                                                    \
    }
/* fd00:ec2::254 */
#define EC2 (((policy_number)0xfd000ec200000000ull << 64) | 0x254)

const struct policy_range policy_metadata[] = {
    ONE4(169, 254, 169, 254), /* nearly all of them */
    ONE4(169, 254, 170, 2),   /* credentials of Amazon's tasks */
    ONE4(169, 254, 170, 23),  /* and of its pods */
    ONE4(169, 254, 0, 23),    /* Tencent */
    ONE4(100, 100, 100, 200), /* Alibaba */
    ONE4(192, 0, 0, 192),     /* Oracle's first */
    ONE4(168, 63, 129, 16),   /* Azure's wire server */
    {true, EC2, EC2},
};
const size_t policy_n_metadata = ARRAY_SIZE(policy_metadata);

struct policy_address policy_address_from4(struct in_addr a)
{
    return (struct policy_address){false, ntohl(a.s_addr)};
}

struct policy_address policy_address_from6(const struct in6_addr *a)
{
    return policy_address_from_bytes(a->s6_addr, true);
}

struct policy_address policy_address_from_bytes(const uint8_t *bytes, bool v6)
{
    struct policy_address r = {v6, 0};
    for (size_t i = 0; i < (v6 ? 16 : 4); i++)
        r.n = r.n << 8 | bytes[i];
    return r;
}

void policy_address_bytes(struct policy_address a, uint8_t ret[16])
{
    size_t n = a.v6 ? 16 : 4;
    for (size_t i = 0; i < n; i++)
        ret[i] = (uint8_t)(a.n >> (8 * (n - 1 - i)));
}

int policy_address_parse(const char *text, struct policy_address *ret)
{
    struct in_addr a4;
    struct in6_addr a6;
    if (inet_pton(AF_INET, text, &a4) == 1)
        *ret = policy_address_from4(a4);
    else if (inet_pton(AF_INET6, text, &a6) == 1)
        *ret = policy_address_from6(&a6);
    else
        return -EINVAL;
    return 0;
}

struct policy_address_text policy_address_text(struct policy_address a)
{
    struct policy_address_text t;
    struct in_addr a4 = {htonl((uint32_t)a.n)};
    struct in6_addr a6;
    policy_number n = a.n;
    for (size_t i = 16; i-- > 0; n >>= 8)
        a6.s6_addr[i] = (uint8_t)n;
    inet_ntop(a.v6 ? AF_INET6 : AF_INET, a.v6 ? (void *)&a6 : (void *)&a4, t.s, sizeof(t.s));
    return t;
}

int policy_block_parse(const char *text, struct policy_range *ret, struct error *err)
{
    char address[INET6_ADDRSTRLEN] = "";
    struct policy_address a;
    uint64_t bits;
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : 0;
    if (!slash || len >= sizeof(address))
        return error_invalid(err, "\"%.64s\" is no block of addresses such as 10.0.0.0/8", text);
    memcpy(address, text, len);
    if (policy_address_parse(address, &a) < 0 || parse_u64(slash + 1, a.v6 ? 128 : 32, &bits) < 0)
        return error_invalid(err, "\"%.64s\" is no block of addresses such as 10.0.0.0/8", text);
    unsigned int left = (a.v6 ? 128 : 32) - (unsigned int)bits;
    policy_number mask = left == 128 ? ~(policy_number)0 : ((policy_number)1 << left) - 1;
    if (a.n & mask)
        return error_invalid(err, "\"%.64s\" is no block: bits behind the /%u are set", text,
                             (unsigned int)bits);
    *ret = (struct policy_range){a.v6, a.n, a.n | mask};
    return 0;
}

bool policy_range_has(const struct policy_range *r, struct policy_address a)
{
    return r->v6 == a.v6 && a.n >= r->first && a.n <= r->last;
}

bool policy_is_metadata(struct policy_address a)
{
    for (size_t i = 0; i < policy_n_metadata; i++)
        if (policy_range_has(&policy_metadata[i], a))
            return true;
    return false;
}

bool policy_block_names_metadata(const struct policy_range *block)
{
    unsigned int bits = block->v6 ? 128 - POLICY_METADATA_BITS6 : 32 - POLICY_METADATA_BITS4;
    return block->last - block->first < (policy_number)1 << bits;
}

static void subtract_one(struct policy_range **list, size_t *n, const struct policy_range *hole)
{
    struct policy_range *out = xreallocarray(NULL, *n * 2 + 1, sizeof(*out));
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        struct policy_range r = (*list)[i];
        if (hole->v6 != r.v6 || hole->last < r.first || hole->first > r.last) {
            out[kept++] = r;
            continue;
        }
        if (hole->first > r.first)
            out[kept++] = (struct policy_range){r.v6, r.first, hole->first - 1};
        if (hole->last < r.last)
            out[kept++] = (struct policy_range){r.v6, hole->last + 1, r.last};
    }
    free(*list);
    *list = out;
    *n = kept;
}

void policy_ranges_subtract(struct policy_range **list, size_t *n,
                            const struct policy_range *except, size_t n_except)
{
    for (size_t i = 0; i < n_except; i++)
        subtract_one(list, n, &except[i]);
}
