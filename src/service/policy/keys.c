/* What a set is called and how its keys are made: for whoever has no store, too (proa-names). */
#include <stdio.h>

#include "base/strv.h"
#include "service/policy/policy-internal.h"

void compile_set_name(int64_t selector, bool v6, char ret[NFT_NAME_MAX])
{
    snprintf(ret, NFT_NAME_MAX, "s%lld_%s", (long long)selector, v6 ? "6" : "4");
}

void policy_domains_set(int64_t id, bool v6, char ret[64])
{
    compile_set_name(id, v6, ret);
}

void policy_domains_list_free(struct policy_domains *list, size_t n)
{
    for (size_t i = 0; list && i < n; i++)
        strv_free(list[i].patterns);
    free(list);
}

static void put_address(struct policy_address a, struct nft_data *key)
{
    uint8_t bytes[16];
    size_t n = a.v6 ? 16 : 4;
    policy_address_bytes(a, bytes);
    nft_put_bytes(key, bytes, n);
}

void learned_key(struct policy_address who, struct policy_address address, struct nft_data *ret)
{
    ret->len = 0;
    put_address(who, ret);
    put_address(address, ret);
}
