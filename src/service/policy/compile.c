/*
 * What comes and goes of the table (ruleset.c): sets of selectors, chains of policies and profiles,
 * elements of members.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "service/policy/policy-internal.h"

static bool is_v6(const char *address)
{
    return strchr(address, ':') != NULL;
}

/* "{ a, b }" of one family; nothing when there are none. */
static int write_elements(struct buf *out, const char *verb, const char *set, bool v6,
                          char *const *addresses, const char *target)
{
    bool any = false;
    int r = 0;
    for (size_t i = 0; r == 0 && addresses[i]; i++) {
        if (is_v6(addresses[i]) != v6)
            continue;
        if (!any)
            r = buf_addf(out, "%s element inet " POLICY_TABLE " %s%s {", verb, set, v6 ? "6" : "4");
        if (r == 0)
            r = buf_addf(out, "%s %s%s", any ? "," : "", addresses[i], target);
        any = true;
    }
    return r == 0 && any ? buf_add_str(out, " }\n") : r;
}

int compile_matches(const char *verb, char *const *addresses, int64_t selector, struct buf *out)
{
    char name[32];
    int r = 0;
    snprintf(name, sizeof(name), "s%lld_", (long long)selector);
    for (int v6 = 0; r == 0 && v6 < 2; v6++)
        r = write_elements(out, verb, name, v6, addresses, "");
    return r;
}

int compile_selector(struct store *s, int64_t id, struct buf *out, struct error *err)
{
    _cleanup_strv_ char **addresses = NULL;
    int r = store_policy_match_list(s, id, &addresses, err);
    if (r == 0)
        r = buf_addf(out,
                     "add set inet " POLICY_TABLE " s%lld_4 { type ipv4_addr; }\n"
                     "add set inet " POLICY_TABLE " s%lld_6 { type ipv6_addr; }\n",
                     (long long)id, (long long)id);
    return r < 0 ? r : compile_matches("add", addresses, id, out);
}

int compile_members(const char *verb, char *const *addresses, int64_t profile, struct buf *out)
{
    static const char *const maps[] = {"egress", "host", "ingress"};
    char target[48];
    int r = 0;
    for (int v6 = 0; r == 0 && v6 < 2; v6++) {
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(maps); i++) {
            *target = '\0';
            if (profile)
                snprintf(target, sizeof(target), " : goto %c%lld", maps[i][0], (long long)profile);
            r = write_elements(out, verb, maps[i], v6, addresses, target);
        }
        if (r == 0)
            r = write_elements(out, verb, "instances", v6, addresses, "");
    }
    return r;
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

static int write_rules(struct store *s, const struct policy *p, size_t side, struct buf *out,
                       struct error *err)
{
    const struct policy_rules *rules = &p->rules[sides[side].direction];
    int r = 0;
    for (size_t i = 0; r == 0 && i < rules->n; i++)
        r = compile_rule(s, p, &rules->list[i], sides[side].side, out, err);
    return r;
}

#define CHAIN_BEGIN "table inet " POLICY_TABLE " {\nchain "

int compile_policy(struct store *s, int64_t id, const struct policy *p, struct buf *out,
                   struct error *err)
{
    int r = 0;
    if (p->kind == POLICY_ADMIN)
        return 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(sides); i++) {
        if (!p->rules_for[sides[i].direction])
            continue;
        r = buf_addf(out, CHAIN_BEGIN "p%lld_%c {\n", (long long)id, sides[i].letter);
        if (r == 0)
            r = write_rules(s, p, i, out, err);
        if (r == 0)
            r = buf_add_str(out, "}\n}\n");
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

static int write_admin(struct store *s, const struct store_profile *profile, char *const *words,
                       size_t side, bool *ret_any, struct buf *out, struct error *err)
{
    struct profile_part part;
    bool any = false;
    int r = 0;
    for (size_t i = 0; r == 0 && words[i]; i++) {
        struct store_policy row;
        struct policy policy;
        if (!parse_part(words[i], &part) || part.kind != 'a')
            continue;
        if (!any)
            r = buf_addf(out, CHAIN_BEGIN "a%lld%c {\n", (long long)profile->id,
                         sides[side].letter);
        any = true;
        if (r == 0)
            r = store_policy_get(s, part.id, &row, err);
        if (r < 0)
            break;
        r = policy_parse_stored(row.json, &policy, err);
        store_policy_done(&row);
        if (r < 0)
            break;
        r = write_rules(s, &policy, side, out, err);
        policy_done(&policy);
    }
    if (r == 0 && any)
        r = buf_add_str(out, "}\n}\n");
    *ret_any = any;
    return r;
}

static const char egress_default[] = " ct reply ip saddr @metadata4 goto denied\n"
                                     " ct reply ip6 saddr @metadata6 goto denied\n";

static int write_default(const struct store_profile *p, bool deny, size_t side, struct buf *out)
{
    long long stack = (long long)p->stack_selector;
    if (deny || sides[side].side == COMPILE_HOST)
        return buf_add_str(out, " goto denied\n");
    if (sides[side].side == COMPILE_EGRESS)
        return buf_addf(out, "%s accept\n", egress_default);
    return buf_addf(out,
                    " ct original ip saddr @s%lld_4 accept\n"
                    " ct original ip6 saddr @s%lld_6 accept\n"
                    " ct original ip saddr @instances4 goto denied\n"
                    " ct original ip6 saddr @instances6 goto denied\n"
                    " accept\n",
                    stack, stack);
}

static int write_side(struct store *s, const struct store_profile *p, char *const *words,
                      size_t side, struct buf *out, struct error *err)
{
    bool admin = false, isolated = false, deny = strv_has(words, "D1");
    long long id = (long long)p->id;
    char letter = sides[side].letter;
    struct profile_part part;
    int r = write_admin(s, p, words, side, &admin, out, err);
    if (r == 0)
        r = buf_addf(out, CHAIN_BEGIN "%c%lld {\n", letter, id);
    if (r == 0 && admin)
        r = buf_addf(out, " jump a%lld%c\n", id, letter);
    for (size_t i = 0; r == 0 && words[i]; i++) {
        if (!parse_part(words[i], &part) || part.kind != 'n' ||
            !part.rules_for[sides[side].direction])
            continue;
        isolated = true;
        r = buf_addf(out, " jump p%lld_%c\n", (long long)part.id, letter);
    }
    if (r == 0)
        r = write_default(p, deny || isolated, side, out);
    return r < 0 ? r : buf_add_str(out, "}\n}\n");
}

int compile_profile(struct store *s, const struct store_profile *p, struct buf *out,
                    struct error *err)
{
    _cleanup_strv_ char **words = strv_split(p->key, ' ');
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(sides); i++)
        r = write_side(s, p, words, i, out, err);
    return r;
}

/* --- going --- */

/* `add` before `delete` makes a deletion work whether the chain was there or not. */
static int drop_chain(struct buf *out, const char *name)
{
    return buf_addf(out,
                    "add chain inet " POLICY_TABLE " %s\nflush chain inet " POLICY_TABLE " %s\n",
                    name, name);
}

static int each_chain_of_profile(int64_t id, struct buf *out, const char *verb)
{
    char name[32];
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(sides); i++)
        for (size_t admin = 0; r == 0 && admin < 2; admin++) {
            if (admin)
                snprintf(name, sizeof(name), "a%lld%c", (long long)id, sides[i].letter);
            else
                snprintf(name, sizeof(name), "%c%lld", sides[i].letter, (long long)id);
            r = verb ? buf_addf(out, "%s chain inet " POLICY_TABLE " %s\n", verb, name)
                     : drop_chain(out, name);
        }
    return r;
}

int compile_drop_profile(int64_t id, struct buf *out)
{
    int r = each_chain_of_profile(id, out, NULL);
    return r < 0 ? r : each_chain_of_profile(id, out, "delete");
}

int compile_drop_policy(int64_t id, const struct store_policy *p, struct buf *out)
{
    char name[32];
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(sides); i++) {
        if (p->kind == POLICY_ADMIN || !p->rules_for[sides[i].direction])
            continue;
        snprintf(name, sizeof(name), "p%lld_%c", (long long)id, sides[i].letter);
        r = drop_chain(out, name);
        if (r == 0)
            r = buf_addf(out, "delete chain inet " POLICY_TABLE " %s\n", name);
    }
    return r;
}

int compile_drop_selector(int64_t id, struct buf *out)
{
    return buf_addf(out,
                    "delete set inet " POLICY_TABLE " s%lld_4\n"
                    "delete set inet " POLICY_TABLE " s%lld_6\n",
                    (long long)id, (long long)id);
}
