/* `policy explain`: what an instance is under, in the order in which it is asked. */
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "engine/engine-internal.h"
#include "engine/policy-internal.h"

static void explain_policy(char ***lines, const struct policy *p, enum policy_direction d)
{
    bool admin = p->kind == POLICY_ADMIN;
    if (admin)
        strv_addf(lines, "  AdminNetworkPolicy %s, priority %u", p->name, p->priority);
    else
        strv_addf(lines, "  NetworkPolicy %s/%s", p->stack, p->name);
    for (size_t i = 0; i < p->rules[d].n; i++) {
        char *text = policy_rule_text(p, &p->rules[d].list[i], d);
        strv_addf(lines, "    %s", text);
        free(text);
    }
}

static void explain_direction(char ***lines, const struct policy_book *b, const struct party *p,
                              enum policy_direction d)
{
    bool isolated = false;
    strv_add(lines, d == POLICY_INGRESS ? "ingress:" : "egress:");
    for (size_t i = 0; i < b->n; i++) {
        const struct policy *q = b->sorted[i];
        bool speaks = q->kind == POLICY_ADMIN ? q->rules[d].n > 0 : q->rules_for[d];
        if (!speaks || !policy_selector_fits(&q->subject, p->endpoint.stack, p->endpoint.labels))
            continue;
        isolated |= q->kind == POLICY_NETWORK;
        explain_policy(lines, q, d);
    }
    if (isolated)
        strv_add(lines, "  anything else: deny");
    else if (p->n_places > 0 && p->places[0].default_deny)
        strv_add(lines, "  default of its network: deny");
    else if (d == POLICY_INGRESS)
        strv_add(lines, "  default: allow from the same stack and from outside");
    else
        strv_add(lines, "  default: allow, but not to the host and to metadata addresses");
}

static bool is_own(const struct party *p, struct policy_address a)
{
    for (size_t i = 0; i < p->n_places; i++)
        if ((p->places[i].address.v6 == a.v6 && p->places[i].address.n == a.n) ||
            (a.v6 && p->places[i].address6.v6 && p->places[i].address6.n == a.n))
            return true;
    return false;
}

static void explain_learned(char ***lines, const struct policy_book *b, const struct party *p)
{
    _cleanup_strv_ char **said = strv_copy(NULL);
    for (size_t i = 0; i < b->n_learned; i++) {
        const struct learned *l = &b->learned[i];
        if (!is_own(p, l->who))
            continue;
        _cleanup_free_ char *what =
            xasprintf("%s as %s", policy_address_text(l->address).s, l->name);
        if (strv_has(said, what)) /* by several lists, or on several networks */
            continue;
        strv_add(&said, what);
        strv_addf(lines, "learned: %s for %llu more seconds", what,
                  (unsigned long long)l->left_ms / 1000);
    }
}

int engine_policy_explain(struct engine *e, const char *reference, char ***ret, struct error *err)
{
    _cleanup_strv_ char **lines = strv_copy(NULL);
    struct policy_book book = {.n = 0};
    struct party p = {.n_places = 0};
    int r = party_read_named(e, reference, &p, err);
    if (r == 0)
        r = policy_book_read(e, &book, err);
    if (r == 0) {
        if (p.host)
            strv_addf(&lines,
                      "host: %s, which asks by its own policies; these are by the ones here",
                      p.host);
        strv_addf(&lines, "stack: %s", p.endpoint.stack);
        for (size_t i = 0; p.labels[i]; i++)
            strv_addf(&lines, "label: %s", p.labels[i]);
        for (size_t i = 0; i < p.n_places; i++)
            strv_addf(&lines, "address: %s on %s", policy_address_text(p.places[i].address).s,
                      p.places[i].network);
        explain_direction(&lines, &book, &p, POLICY_INGRESS);
        explain_direction(&lines, &book, &p, POLICY_EGRESS);
        explain_learned(&lines, &book, &p);
        *ret = TAKE_PTR(lines);
    }
    policy_book_done(&book);
    party_done(&p);
    return r;
}
