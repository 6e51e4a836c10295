/*
 * Applying and removing policies. What is proportional to the change: its own selectors and chains,
 * and the members that it selects, or selected before; each of these gets another profile.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/policy/policy-internal.h"

/* Members whose policies may have changed, and policies whose chains go. */
struct touched {
    char **addresses; /* with repetitions */
    struct store_policy *gone;
    size_t n_gone;
};

static void touched_done(struct touched *t)
{
    strv_free(t->addresses);
    store_policy_list_free(t->gone, t->n_gone);
}

static int touch_subject(struct change *c, struct touched *t, int64_t subject, struct error *err)
{
    _cleanup_strv_ char **list = NULL;
    int r = store_policy_match_list(c->store, subject, &list, err);
    for (size_t i = 0; r == 0 && list[i]; i++)
        strv_add(&t->addresses, list[i]);
    return r;
}

/* Takes the row. */
static int take_policy(struct change *c, struct touched *t, struct store_policy *row,
                       struct error *err)
{
    int r = touch_subject(c, t, row->subject, err);
    if (r == 0)
        r = store_policy_remove(c->store, row->id, err);
    t->gone = xreallocarray(t->gone, t->n_gone + 1, sizeof(*t->gone));
    t->gone[t->n_gone++] = *row;
    *row = (struct store_policy){.id = 0};
    return r;
}

static int use_selector(struct change *c, int64_t policy, const struct policy_selector *selector,
                        struct error *err)
{
    _cleanup_free_ char *text = policy_selector_text(selector);
    int64_t id;
    int r = change_selector(c, text, &id, err);
    return r < 0 ? r : store_policy_use(c->store, policy, id, err);
}

static int use_peer(struct change *c, int64_t policy, const struct policy_peer *peer,
                    struct error *err)
{
    if (peer->kind == POLICY_INSTANCES)
        return use_selector(c, policy, &peer->selector, err);
    if (peer->kind != POLICY_DOMAINS)
        return 0;
    _cleanup_free_ char *text = policy_domains_text(peer->domains);
    int64_t id;
    int r = change_selector(c, text, &id, err);
    return r < 0 ? r : store_policy_use(c->store, policy, id, err);
}

static int use_all_selectors(struct change *c, int64_t id, const struct policy *p,
                             struct error *err)
{
    int r = use_selector(c, id, &p->subject, err);
    for (size_t d = 0; d < 2; d++)
        for (size_t i = 0; i < p->rules[d].n; i++)
            for (size_t k = 0; r == 0 && k < p->rules[d].list[i].n_peers; k++)
                r = use_peer(c, id, &p->rules[d].list[i].peers[k], err);
    return r;
}

static int put_policy(struct change *c, struct touched *t, const struct policy_document *d,
                      struct error *err)
{
    const struct policy *p = &d->policy;
    _cleanup_free_ char *subject = policy_selector_text(&p->subject);
    struct store_policy row = {
        .kind = (int)p->kind,
        .stack = p->stack,
        .name = p->name,
        .priority = p->priority,
        .rules_for = {p->rules_for[0], p->rules_for[1]},
        .json = d->json,
        .created_ns = time_now_ns(),
    };
    int r = change_selector(c, subject, &row.subject, err);
    if (r == 0)
        r = store_policy_add(c->store, &row, err);
    if (r == 0)
        r = use_all_selectors(c, row.id, p, err);
    if (r == 0)
        r = compile_policy(c->store, row.id, p, c->batch, err);
    return r < 0 ? r : touch_subject(c, t, row.subject, err);
}

static int apply_one(struct change *c, struct touched *t, const struct policy_document *d,
                     enum policy_outcome *ret, struct error *err)
{
    struct store_policy old = {.id = 0};
    struct error missing = ERROR_INIT;
    int r = store_policy_find(c->store, d->policy.stack, d->policy.name, &old, &missing);
    bool there = r == 0 && old.kind == (int)d->policy.kind;
    if (r < 0 && missing.kind != ERROR_NOT_FOUND) {
        if (err)
            *err = missing;
        return r;
    }
    *ret = !there                           ? POLICY_CREATED
           : strcmp(old.json, d->json) == 0 ? POLICY_UNCHANGED
                                            : POLICY_CONFIGURED;
    r = 0;
    if (*ret == POLICY_CONFIGURED)
        r = take_policy(c, t, &old, err);
    if (r == 0 && *ret != POLICY_UNCHANGED)
        r = put_policy(c, t, d, err);
    store_policy_done(&old);
    return r;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int move_member(struct change *c, const char *address, struct error *err)
{
    struct store_policy_member *m = NULL;
    size_t n = 0;
    int r = store_policy_member_list(c->store, address, NULL, &m, &n, err);
    if (r == 0 && n == 1 && m->profile) { /* of this host's */
        int64_t before = m->profile;
        r = change_profile(c, m, err);
        if (r == 0 && m->profile != before) {
            compile_member(COMPILE_DELETE, m->address, before, c->batch);
            compile_member(COMPILE_ADD, m->address, m->profile, c->batch);
            r = store_policy_member_put(c->store, m, err);
        }
    }
    store_policy_member_list_free(m, n);
    return r;
}

/* New chains stand in the batch already; now members move to them, and then old ones go. */
static int finish(struct change *c, struct touched *t, struct error *err)
{
    size_t n = strv_len(t->addresses);
    int r = 0;
    if (n > 1)
        qsort(t->addresses, n, sizeof(*t->addresses), compare);
    for (size_t i = 0; r == 0 && i < n; i++)
        if (i == 0 || strcmp(t->addresses[i], t->addresses[i - 1]) != 0)
            r = move_member(c, t->addresses[i], err);
    return r < 0 ? r : change_sweep(c, t->gone, t->n_gone, err);
}

int policy_apply(struct store *s, const struct policy_document *list, size_t n,
                 enum policy_outcome *ret_outcomes, struct error *err)
{
    struct touched t = {.addresses = strv_copy(NULL)};
    struct change c;
    int r = change_begin(s, &c, err);
    if (r == 0) {
        for (size_t i = 0; r == 0 && i < n; i++)
            r = apply_one(&c, &t, &list[i], &ret_outcomes[i], err);
        if (r == 0)
            r = finish(&c, &t, err);
        r = change_end(&c, r, err);
    }
    touched_done(&t);
    return r;
}

int policy_find(struct store *s, const char *reference, struct store_policy *ret, struct error *err)
{
    const char *slash = strchr(reference, '/');
    if (!slash)
        return store_policy_find(s, NULL, reference, ret, err);
    _cleanup_free_ char *stack = xstrndup(reference, (size_t)(slash - reference));
    return store_policy_find(s, stack, slash + 1, ret, err);
}

int policy_remove(struct store *s, const char *reference, struct error *err)
{
    struct touched t = {.addresses = strv_copy(NULL)};
    struct store_policy row = {.id = 0};
    struct change c;
    int r = change_begin(s, &c, err);
    if (r == 0) {
        r = policy_find(s, reference, &row, err);
        if (r == 0)
            r = take_policy(&c, &t, &row, err);
        if (r == 0)
            r = finish(&c, &t, err);
        r = change_end(&c, r, err);
    }
    store_policy_done(&row);
    touched_done(&t);
    return r;
}
