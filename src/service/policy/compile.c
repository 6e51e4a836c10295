/*
 * What comes and goes of the table (ruleset.c): sets of selectors, chains of policies and profiles,
 * elements of members.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "service/policy/policy-internal.h"
#include "wire/dns/dns.h"

/* Members' addresses come from the store, which has none but good ones. */
static bool put_key(const char *address, struct nft_data *key, bool *ret_v6)
{
    struct in_addr a4;
    struct in6_addr a6;
    key->len = 0;
    *ret_v6 = false;
    if (inet_pton(AF_INET, address, &a4) == 1) {
        nft_put_address(key, a4);
        return true;
    }
    *ret_v6 = true;
    if (inet_pton(AF_INET6, address, &a6) != 1)
        return false;
    nft_put_address6(key, &a6);
    return true;
}

/* chain NULL: of a set, or to be deleted. */
static void put_element(struct nft_batch *out, enum compile_change change, const char *set,
                        const struct nft_data *key, const char *chain)
{
    if (change == COMPILE_DELETE)
        nft_batch_delete(out, NFT_INET, set, key);
    else if (chain)
        nft_batch_add_goto(out, NFT_INET, set, key, chain);
    else
        nft_batch_add(out, NFT_INET, set, key, NULL);
}

void compile_match(enum compile_change change, const char *address, int64_t selector,
                   struct nft_batch *out)
{
    char set[NFT_NAME_MAX];
    struct nft_data key;
    bool v6;
    if (!put_key(address, &key, &v6))
        return;
    compile_set_name(selector, v6, set);
    put_element(out, change, set, &key, NULL);
}

int compile_selector(struct store *s, int64_t id, struct nft_batch *out, struct error *err)
{
    _cleanup_strv_ char **addresses = NULL;
    char set[NFT_NAME_MAX];
    int r = store_policy_match_list(s, id, &addresses, err);
    for (int v6 = 0; r == 0 && v6 < 2; v6++) {
        compile_set_name(id, v6, set);
        nft_add_address_set(out, NFT_INET, set, v6);
    }
    for (size_t i = 0; r == 0 && addresses[i]; i++)
        compile_match(COMPILE_ADD, addresses[i], id, out);
    return r;
}

/* A batch may add what has a moment left only: less than this is not worth it, and 0 would mean for
 * ever. */
#define LEAST_LEFT_MS 10

static bool any_fits(char *const *domains, const char *name)
{
    for (size_t i = 0; domains[i]; i++)
        if (dns_pattern_fits(domains[i], name))
            return true;
    return false;
}

void compile_domains(int64_t id, char *const *domains, const struct learned *known, size_t n,
                     struct nft_batch *out)
{
    char set[NFT_NAME_MAX];
    struct nft_data key;
    for (int v6 = 0; v6 < 2; v6++) {
        compile_set_name(id, v6, set);
        nft_add_pair_set(out, NFT_INET, set, v6, LEARNED_SET_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        if (known[i].left_ms < LEAST_LEFT_MS || !any_fits(domains, known[i].name))
            continue;
        learned_key(known[i].who, known[i].address, &key);
        compile_set_name(id, known[i].address.v6, set);
        nft_batch_renew(out, NFT_INET, set, &key, known[i].left_ms, known[i].name);
    }
}

void compile_member(enum compile_change change, const char *address, int64_t profile,
                    struct nft_batch *out)
{
    static const char *const maps[] = {"egress", "host", "ingress"};
    char set[NFT_NAME_MAX], chain[NFT_NAME_MAX];
    struct nft_data key;
    bool v6;
    if (!put_key(address, &key, &v6))
        return;
    for (size_t i = 0; profile && i < ARRAY_SIZE(maps); i++) {
        snprintf(set, sizeof(set), "%s%s", maps[i], v6 ? "6" : "4");
        snprintf(chain, sizeof(chain), "%c%lld", maps[i][0], (long long)profile);
        put_element(out, change, set, &key, chain);
    }
    put_element(out, change, v6 ? "instances6" : "instances4", &key, NULL);
    struct nft_data twice = key;
    nft_put_bytes(&twice, key.bytes, key.len);
    put_element(out, change, v6 ? "ends6" : "ends4", &twice, NULL);
}

/* --- chains --- */

static const struct {
    enum compile_side side;
    enum policy_direction direction;
    char letter;
} sides[] = {
    {COMPILE_EGRESS, POLICY_EGRESS, 'e'},
    {COMPILE_HOST, POLICY_EGRESS, 'h'},
    {COMPILE_INGRESS, POLICY_INGRESS, 'i'},
};

static int write_rules(struct store *s, const struct policy *p, size_t side, const char *chain,
                       struct nft_batch *out, struct error *err)
{
    const struct policy_rules *rules = &p->rules[sides[side].direction];
    int r = 0;
    for (size_t i = 0; r == 0 && i < rules->n; i++)
        r = compile_rule(s, p, &rules->list[i], sides[side].side, chain, out, err);
    return r;
}

static void name_policy(int64_t id, size_t side, char ret[NFT_NAME_MAX])
{
    snprintf(ret, NFT_NAME_MAX, "p%lld_%c", (long long)id, sides[side].letter);
}

/* A profile's own chain, or the one of its administrators' rules. */
static void name_profile(int64_t id, size_t side, bool admin, char ret[NFT_NAME_MAX])
{
    if (admin)
        snprintf(ret, NFT_NAME_MAX, "a%lld%c", (long long)id, sides[side].letter);
    else
        snprintf(ret, NFT_NAME_MAX, "%c%lld", sides[side].letter, (long long)id);
}

int compile_policy(struct store *s, int64_t id, const struct policy *p, struct nft_batch *out,
                   struct error *err)
{
    char chain[NFT_NAME_MAX];
    int r = 0;
    if (p->kind == POLICY_ADMIN)
        return 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(sides); i++) {
        if (!p->rules_for[sides[i].direction])
            continue;
        name_policy(id, i, chain);
        nft_add_chain(out, NFT_INET, chain);
        r = write_rules(s, p, i, chain, out, err);
    }
    return r;
}

/* What stands in a profile's key: "S4 D0 a12 n13i n14ie". */
struct profile_part {
    char kind; /* a or n */
    int64_t id;
    bool rules_for[2];
};

static bool parse_part(const char *word, struct profile_part *ret)
{
    char *end;
    *ret = (struct profile_part){.kind = *word};
    if (*word != 'a' && *word != 'n')
        return false;
    ret->id = strtoll(word + 1, &end, 10);
    ret->rules_for[POLICY_INGRESS] = strchr(end, 'i') != NULL;
    ret->rules_for[POLICY_EGRESS] = strchr(end, 'e') != NULL;
    return true;
}

static int write_admin_policy(struct store *s, int64_t id, size_t side, const char *chain,
                              struct nft_batch *out, struct error *err)
{
    struct store_policy row;
    struct policy policy;
    int r = store_policy_get(s, id, &row, err);
    if (r < 0)
        return r;
    r = policy_parse_stored(row.json, &policy, err);
    store_policy_done(&row);
    if (r < 0)
        return r;
    r = write_rules(s, &policy, side, chain, out, err);
    policy_done(&policy);
    return r;
}

static int write_admin(struct store *s, const struct store_profile *profile, char *const *words,
                       size_t side, bool *ret_any, struct nft_batch *out, struct error *err)
{
    struct profile_part part;
    char chain[NFT_NAME_MAX];
    int r = 0;
    *ret_any = false;
    name_profile(profile->id, side, true, chain);
    for (size_t i = 0; r == 0 && words[i]; i++) {
        if (!parse_part(words[i], &part) || part.kind != 'a')
            continue;
        if (!*ret_any)
            nft_add_chain(out, NFT_INET, chain);
        *ret_any = true;
        r = write_admin_policy(s, part.id, side, chain, out, err);
    }
    return r;
}

static void write_verdict(struct nft_batch *out, const char *chain, const struct nft_end *end,
                          enum nft_verdict verdict, const char *target)
{
    const struct nft_match match = {.end = end};
    nft_add_rule(out, NFT_INET, chain, &match, verdict, target);
}

/* Set: the name without its last digit. */
static void write_end(struct nft_batch *out, const char *chain, const char *set, bool v6,
                      bool egress, bool outside)
{
    char name[NFT_NAME_MAX];
    const struct nft_end end = {.reply = egress, .v6 = v6, .set = name, .outside = outside};
    snprintf(name, sizeof(name), "%s%c", set, v6 ? '6' : '4');
    write_verdict(out, chain, &end, NFT_VERDICT_GOTO,
                  egress ? POLICY_EGRESS_OK : POLICY_INGRESS_OK);
}

/* Every packet comes by here: what is let through most is accepted first. */
static void write_default(const struct store_profile *p, bool deny, size_t side, const char *chain,
                          struct nft_batch *out)
{
    bool egress = sides[side].side == COMPILE_EGRESS, ingress = sides[side].side == COMPILE_INGRESS;
    char stack[NFT_NAME_MAX];
    snprintf(stack, sizeof(stack), "s%lld_", (long long)p->stack_selector);
    for (int v6 = 0; v6 < 2 && !deny && egress; v6++)
        write_end(out, chain, "metadata", v6, true, true);
    for (int v6 = 0; v6 < 2 && !deny && ingress; v6++)
        write_end(out, chain, stack, v6, false, false);
    if (!deny && ingress)
        write_verdict(out, chain, NULL, NFT_VERDICT_JUMP, "apart");
    for (int v6 = 0; v6 < 2 && !deny && ingress; v6++)
        write_end(out, chain, "instances", v6, false, true);
    write_verdict(out, chain, NULL, NFT_VERDICT_GOTO, "denied");
}

static int write_side(struct store *s, const struct store_profile *p, char *const *words,
                      size_t side, struct nft_batch *out, struct error *err)
{
    bool admin = false, isolated = false, deny = strv_has(words, "D1");
    char chain[NFT_NAME_MAX], target[NFT_NAME_MAX];
    struct profile_part part;
    int r = write_admin(s, p, words, side, &admin, out, err);
    if (r < 0)
        return r;
    name_profile(p->id, side, false, chain);
    nft_add_chain(out, NFT_INET, chain);
    name_profile(p->id, side, true, target);
    if (admin)
        write_verdict(out, chain, NULL, NFT_VERDICT_JUMP, target);
    for (size_t i = 0; words[i]; i++) {
        if (!parse_part(words[i], &part) || part.kind != 'n' ||
            !part.rules_for[sides[side].direction])
            continue;
        isolated = true;
        name_policy(part.id, side, target);
        write_verdict(out, chain, NULL, NFT_VERDICT_JUMP, target);
    }
    write_default(p, deny || isolated, side, chain, out);
    return 0;
}

int compile_profile(struct store *s, const struct store_profile *p, struct nft_batch *out,
                    struct error *err)
{
    _cleanup_strv_ char **words = strv_split(p->key, ' ');
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(sides); i++)
        r = write_side(s, p, words, i, out, err);
    return r;
}

/* --- going --- */

/* The chains of administrators' rules may not be there: adding one makes it be. */
void compile_drop_profile(int64_t id, struct nft_batch *out)
{
    static void (*const steps[])(struct nft_batch *, enum nft_family,
                                 const char *) = {nft_add_chain, nft_empty_chain, nft_delete_chain};
    char name[NFT_NAME_MAX];
    for (size_t step = 0; step < ARRAY_SIZE(steps); step++)
        for (size_t i = 0; i < ARRAY_SIZE(sides) * 2; i++) {
            name_profile(id, i / 2, i % 2, name);
            steps[step](out, NFT_INET, name);
        }
}

void compile_drop_policy(const struct store_policy *p, struct nft_batch *out)
{
    char name[NFT_NAME_MAX];
    for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
        if (p->kind == POLICY_ADMIN || !p->rules_for[sides[i].direction])
            continue;
        name_policy(p->id, i, name);
        nft_empty_chain(out, NFT_INET, name);
        nft_delete_chain(out, NFT_INET, name);
    }
}

void compile_drop_selector(int64_t id, struct nft_batch *out)
{
    char set[NFT_NAME_MAX];
    for (int v6 = 0; v6 < 2; v6++) {
        compile_set_name(id, v6, set);
        nft_delete_set(out, NFT_INET, set);
    }
}
