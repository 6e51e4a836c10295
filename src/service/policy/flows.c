#include "service/policy/flows.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "kernel/nft_dump.h"
#include "service/policy/policy.h"

#define REFUSED_TABLE "proa"                       /* service/network/refused.c, connections.c */
#define LIFETIME_MS   ((uint64_t)24 * 3600 * 1000) /* seen.c: timeout 1d */

static const struct seen_set {
    enum nft_family family;
    const char *set;
    enum flow_verdict verdict;
    bool v6, ported, more;
} sets[] = {
    {NFT_INET, "allowed4", FLOW_ALLOWED, false, true},
    {NFT_INET, "allowed6", FLOW_ALLOWED, true, true},
    {NFT_INET, "allowed4other", FLOW_ALLOWED, false, false},
    {NFT_INET, "allowed6other", FLOW_ALLOWED, true, false},
    {NFT_INET, "denied4", FLOW_DENIED, false, true},
    {NFT_INET, "denied6", FLOW_DENIED, true, true},
    {NFT_INET, "denied4other", FLOW_DENIED, false, false},
    {NFT_INET, "denied6other", FLOW_DENIED, true, false},
    {NFT_INET, "stray4", FLOW_STRAY, false, true},
    {NFT_INET, "stray6", FLOW_STRAY, true, true},
    {NFT_INET, "stray4other", FLOW_STRAY, false, false},
    {NFT_INET, "stray6other", FLOW_STRAY, true, false},
    {NFT_INET, "allowedmore4", FLOW_ALLOWED, false, false, true},
    {NFT_INET, "allowedmore6", FLOW_ALLOWED, true, false, true},
    {NFT_INET, "deniedmore4", FLOW_DENIED, false, false, true},
    {NFT_INET, "deniedmore6", FLOW_DENIED, true, false, true},
    {NFT_INET, "straymore4", FLOW_STRAY, false, false, true},
    {NFT_INET, "straymore6", FLOW_STRAY, true, false, true},
    {NFT_INET, "limited4", FLOW_LIMITED, false, false, true},
    {NFT_INET, "limited6", FLOW_LIMITED, true, false, true},
    {NFT_BRIDGE, "refused", FLOW_FORGED, false, false},
    {NFT_NETDEV, "refused", FLOW_FORGED, false, false},
    {NFT_BRIDGE, "refusedmore", FLOW_FORGED, false, false, true},
    {NFT_NETDEV, "refusedmore", FLOW_FORGED, false, false, true},
};

struct reading {
    const struct seen_set *set;
    struct flow *list;
    size_t n, before; /* before: of the sets that are done */
    int64_t now_ns;
};

static bool read_key(const struct seen_set *set, const struct nft_element *e, struct flow *f)
{
    size_t address = set->v6 ? 16 : 4;
    f->more = set->more;
    if (set->verdict == FLOW_FORGED) { /* link 16, hardware address 6 of 8, type 2 of 4 */
        if (e->key_len < (set->more ? 16 : 28))
            return false;
        memcpy(f->link, e->key, sizeof(f->link) - 1);
        if (set->more)
            return true;
        memcpy(f->mac, e->key + 16, sizeof(f->mac));
        f->type = (uint16_t)(e->key[24] << 8 | e->key[25]);
        return true;
    }
    if (set->more) {
        f->from = policy_address_from_bytes(e->key, set->v6);
        return e->key_len == address;
    }
    if (e->key_len < 2 * address + 4 + (set->ported ? 4 : 0))
        return false;
    f->from = policy_address_from_bytes(e->key, set->v6);
    f->to = policy_address_from_bytes(e->key + address, set->v6);
    f->protocol = e->key[2 * address];
    if (set->ported)
        f->port = (uint16_t)(e->key[2 * address + 4] << 8 | e->key[2 * address + 5]);
    return true;
}

static int see(void *context, const struct nft_element *e)
{
    struct reading *r = context;
    uint64_t age_ms = LIFETIME_MS - MIN(e->expires_ms, LIFETIME_MS);
    struct flow f = {
        .verdict = r->set->verdict,
        .count = e->packets,
        .last_ns = r->now_ns - (int64_t)age_ms * 1000000,
    };
    if (!read_key(r->set, e, &f))
        return 0;
    if (r->n == 0 || (r->n & (r->n - 1)) == 0)
        r->list = xreallocarray(r->list, r->n ? r->n * 2 : 1, sizeof(*r->list));
    r->list[r->n++] = f;
    return 0;
}

static void again(void *context)
{
    struct reading *r = context;
    r->n = r->before;
}

/* Connections are the policies' to note, forged frames those of the tables that see them. */
static int read_set(struct store *s, struct reading *r, struct error *err)
{
    const struct seen_set *set = r->set;
    bool rules = set->verdict == FLOW_FORGED || set->verdict == FLOW_LIMITED;
    const char *word = rules ? REFUSED_TABLE : POLICY_TABLE;
    return nft_dump_whole(set->family, store_table(s, word).name, set->set, see, again, r, err);
}

int flows_read(struct store *s, struct flow **ret, size_t *ret_n, struct error *err)
{
    struct reading reading = {.now_ns = time_now_ns()};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(sets); i++) {
        reading.set = &sets[i];
        reading.before = reading.n;
        r = read_set(s, &reading, err);
    }
    if (r < 0) {
        free(reading.list);
        return r;
    }
    *ret = reading.list;
    *ret_n = reading.n;
    return 0;
}
