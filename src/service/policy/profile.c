/* Selectors and profiles: found by their texts, made when they are new, swept when they are idle.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "service/policy/policy-internal.h"

/* A list of names selects nobody; what is known by them already comes from the other lists. */
static int bring_domains(struct change *c, int64_t id, const char *text, struct error *err)
{
    _cleanup_strv_ char **domains = policy_domains_from_text(text);
    _cleanup_free_ struct learned *known = NULL;
    size_t n = 0;
    int r = learned_read(c->store, &known, &n, err);
    if (r == 0)
        compile_domains(id, domains, known, n, c->batch);
    return r;
}

static int match_all(struct change *c, int64_t id, const char *text, struct error *err)
{
    struct policy_selector selector;
    int r = policy_selector_from_text(text, &selector, err);
    if (r < 0)
        return r;
    r = change_members(c, err);
    for (size_t i = 0; r == 0 && i < c->n_cache; i++)
        if (policy_selector_fits(&selector, c->cache[i].row.stack, c->cache[i].labels))
            r = store_policy_match_add(c->store, id, c->cache[i].row.address, err);
    policy_selector_done(&selector);
    return r;
}

int change_selector(struct change *c, const char *text, int64_t *ret_id, struct error *err)
{
    bool added;
    int r = store_selector_put(c->store, text, ret_id, &added, err);
    if (r < 0 || !added)
        return r;
    if (policy_text_is_domains(text))
        return bring_domains(c, *ret_id, text, err);
    r = match_all(c, *ret_id, text, err);
    return r < 0 ? r : compile_selector(c->store, *ret_id, c->batch, err);
}

/* "S4 D0 a12 n13i n14ie": compile.c reads it. */
static int make_key(struct change *c, const struct store_policy_member *m, int64_t stack,
                    char **ret, struct error *err)
{
    struct store_policy *applied;
    size_t n;
    _cleanup_strv_ char **words = strv_copy(NULL);
    int r = store_policy_applied(c->store, m->address, &applied, &n, err);
    if (r < 0)
        return r;
    strv_addf(&words, "S%lld", (long long)stack);
    strv_add(&words, m->default_deny ? "D1" : "D0");
    for (size_t i = 0; i < n; i++) {
        const struct store_policy *p = &applied[i];
        if (p->kind == POLICY_ADMIN)
            strv_addf(&words, "a%lld", (long long)p->id);
        else
            strv_addf(&words, "n%lld%s%s", (long long)p->id,
                      p->rules_for[POLICY_INGRESS] ? "i" : "",
                      p->rules_for[POLICY_EGRESS] ? "e" : "");
    }
    store_policy_list_free(applied, n);
    *ret = strv_join(words, " ");
    return 0;
}

int change_profile(struct change *c, struct store_policy_member *m, struct error *err)
{
    _cleanup_free_ char *stack = policy_stack_selector_text(m->stack), *key = NULL;
    struct store_profile profile = {.id = 0};
    bool added = false;
    int r = change_selector(c, stack, &profile.stack_selector, err);
    if (r == 0)
        r = make_key(c, m, profile.stack_selector, &key, err);
    if (r == 0)
        r = store_profile_put(c->store, key, profile.stack_selector, &profile.id, &added, err);
    profile.key = key;
    if (r == 0 && added)
        r = compile_profile(c->store, &profile, c->batch, err);
    if (r == 0)
        m->profile = profile.id;
    return r;
}

/* Nobody learns names any more: those that are remembered would come to be others' with their
 * addresses. */
static int forget_names(struct change *c, struct error *err)
{
    struct store_selector *lists = NULL;
    size_t n = 0;
    int r = store_selector_list(c->store, POLICY_DOMAINS_TEXT, &lists, &n, err);
    store_selector_list_free(lists, n);
    for (int v6 = 0; r == 0 && n == 0 && v6 < 2; v6++)
        nft_empty_set(c->batch, NFT_INET, v6 ? LEARNED_NAMES6 : LEARNED_NAMES4);
    return r;
}

int change_sweep(struct change *c, const struct store_policy *gone, size_t n_gone,
                 struct error *err)
{
    _cleanup_free_ int64_t *profiles = NULL, *selectors = NULL;
    _cleanup_free_ char *keep = policy_stack_selector_text(POLICY_STACK_DEFAULT);
    int r = store_policy_sweep(c->store, keep, &profiles, &selectors, err);
    if (r < 0)
        return r;
    for (size_t i = 0; profiles[i]; i++)
        compile_drop_profile(profiles[i], c->batch);
    for (size_t i = 0; i < n_gone; i++)
        compile_drop_policy(&gone[i], c->batch);
    for (size_t i = 0; selectors[i]; i++)
        compile_drop_selector(selectors[i], c->batch);
    return selectors[0] ? forget_names(c, err) : 0;
}
