/*
 * Changes of policies, and `policy test`.
 *
 * The evaluator (wire/policy) knows labels and addresses; here it is found out what a name means,
 * and what is so before any policy: two instances meet on a network that both are on, and from
 * outside only published ports are reached.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "engine/engine-internal.h"
#include "engine/policy-internal.h"
#include "service/network/network.h"
#include "service/policy/policy.h"
#include "service/store/network.h"

void policy_book_done(struct policy_book *b)
{
    for (size_t i = 0; i < b->n; i++)
        policy_done(&b->list[i]);
    free(b->list);
    free(b->sorted);
    free(b->learned);
    *b = (struct policy_book){.n = 0};
}

int policy_book_read(struct engine *e, struct policy_book *ret, struct error *err)
{
    struct store_policy *rows;
    struct policy_book b = {.n = 0};
    size_t n;
    int r = store_policy_list(e->store, &rows, &n, err);
    if (r < 0)
        return r;
    b.list = xcalloc(n + 1, sizeof(*b.list));
    b.sorted = xcalloc(n + 1, sizeof(*b.sorted));
    for (size_t i = 0; r == 0 && i < n; i++) {
        r = policy_parse_stored(rows[i].json, &b.list[i], err);
        b.sorted[i] = &b.list[i];
        b.n += r == 0;
    }
    store_policy_list_free(rows, n);
    if (r == 0)
        r = learned_read(e->store, &b.learned, &b.n_learned, err);
    if (r < 0)
        policy_book_done(&b);
    else
        *ret = b;
    return r;
}

/* --- changes --- */

int engine_policy_apply(struct engine *e, const struct policy_document *list, size_t n,
                        enum policy_outcome *ret_outcomes, struct error *err)
{
    int r = policy_apply(e->store, list, n, ret_outcomes, err);
    return r < 0 ? r : network_settle_names(e->store, err);
}

int engine_policy_remove(struct engine *e, const char *reference, struct error *err)
{
    int r = policy_remove(e->store, reference, err);
    return r < 0 ? r : network_settle_names(e->store, err);
}

/* As whom it is at a place of its own, by its address of that family. False: it has none there, or
 * was asked for by another. One that waits for a LAN's address is there by its labels only. */
static bool stand_at(struct party *p, size_t place, bool v6)
{
    const struct place *at = &p->places[place];
    const struct policy_address own = v6 && at->address6.v6 ? at->address6 : at->address;
    const bool waits = at->address.v6 && at->address.n == 0;
    if (own.v6 != v6 && !waits)
        return false;
    if (p->by_address && (own.v6 != p->address.v6 || own.n != p->address.n))
        return false;
    p->endpoint.has_address = true;
    p->endpoint.address = own;
    p->endpoint.default_deny = at->default_deny;
    return true;
}

static bool stand(struct party *p, size_t place)
{
    return stand_at(p, place, false) || stand_at(p, place, true);
}

/* --- test --- */

struct question {
    const struct policy_book *book;
    struct party from, to;
    uint8_t protocol;
    uint16_t port;
    bool allow;
    char *why;
};

static void say(struct question *q, bool allow, char *why)
{
    free(q->why);
    q->allow = allow;
    q->why = why;
}

static void evaluate(struct question *q)
{
    struct policy_decision d;
    policy_evaluate(q->book->sorted, q->book->n, &q->from.endpoint, &q->to.endpoint, q->protocol,
                    q->port, &d);
    say(q, d.allow, policy_decision_text(&d));
}

static void ask_at(struct question *q, size_t from, size_t to)
{
    if (strcmp(q->from.places[from].network, q->to.places[to].network) != 0)
        return;
    for (int v6 = 0; v6 < 2 && !q->allow; v6++)
        if (stand_at(&q->from, from, v6) && stand_at(&q->to, to, v6))
            evaluate(q);
}

/* Each network that both are on is a way, by either family; who was asked for by an address has
 * that one only. */
static void ask_between(struct question *q)
{
    say(q, false, xstrdup("no network in common"));
    for (size_t i = 0; i < q->from.n_places; i++)
        for (size_t k = 0; k < q->to.n_places && !q->allow; k++)
            ask_at(q, i, k);
}

/* As whom an address is known to the instance at that place. */
static void know(struct question *q, const struct place *place)
{
    const struct policy_address to = q->to.endpoint.address;
    const struct policy_address own = to.v6 ? place->address6 : place->address;
    strv_free(q->to.domains);
    q->to.domains = strv_copy(NULL);
    for (size_t i = 0; i < q->book->n_learned; i++) {
        const struct learned *l = &q->book->learned[i];
        if (l->who.v6 == to.v6 && own.v6 == to.v6 && l->who.n == own.n && l->address.n == to.n &&
            !strv_has(q->to.domains, l->name))
            strv_add(&q->to.domains, l->name);
    }
    q->to.endpoint.domains = q->to.domains;
}

/* What is allowed by whatever address it has is allowed; otherwise the name must do it. */
static void ask_by_name(struct question *q)
{
    evaluate(q);
    if (q->allow)
        return;
    q->to.endpoint.domains = q->to.domains;
    evaluate(q);
    if (q->allow)
        say(q, true,
            xasprintf("%s, once it has asked its name server for %s", q->why, q->to.domains[0]));
    q->to.endpoint.domains = NULL;
}

static void ask_out(struct question *q)
{
    bool world = q->to.endpoint.side == POLICY_SIDE_WORLD;
    say(q, false, xstrdup("it is on no network"));
    for (size_t i = 0; i < q->from.n_places && !q->allow; i++) {
        if (!stand(&q->from, i))
            continue;
        if (world && q->from.places[i].internal)
            say(q, false, xstrdup("the network has no way out"));
        else if (world && q->to.domains && !q->to.endpoint.has_address)
            ask_by_name(q);
        else {
            if (world && q->to.endpoint.has_address)
                know(q, &q->from.places[i]);
            evaluate(q);
        }
    }
}

static int ask_in(struct engine *e, struct question *q, struct error *err)
{
    struct network_publish *list = NULL;
    size_t n = 0;
    bool published = q->from.endpoint.side == POLICY_SIDE_HOST;
    int r = network_published(e->store, q->to.instance_id, &list, &n, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        published |= list[i].protocol == q->protocol && list[i].port == q->port;
    free(list);
    if (r < 0)
        return r;
    say(q, false, xstrdup(published ? "it is on no network" : "the port is not published"));
    for (size_t k = 0; published && k < q->to.n_places && !q->allow; k++)
        if (stand(&q->to, k))
            evaluate(q);
    return 0;
}

static int ask(struct engine *e, struct question *q, struct error *err)
{
    bool from = q->from.endpoint.side == POLICY_SIDE_INSTANCE;
    bool to = q->to.endpoint.side == POLICY_SIDE_INSTANCE;
    bool meet = q->from.n_places > 0 && q->to.n_places > 0;
    if (!from && !to)
        return error_invalid(err, "neither side is an instance: the policies do not apply");
    if (from && to && strcmp(q->from.instance_id, q->to.instance_id) == 0)
        say(q, true, xstrdup("an instance reaches itself"));
    else if ((from && to) || meet) /* an unknown one of another host's has a place, too */
        ask_between(q);
    else if (from)
        ask_out(q);
    else
        return ask_in(e, q, err);
    return 0;
}

int engine_policy_ask(struct engine *e, const struct policy_book *book, const char *from,
                      const char *to, uint8_t protocol, uint16_t port, bool *ret_allow,
                      char **ret_why, struct error *err)
{
    struct question q = {.book = book, .protocol = protocol, .port = port};
    int r = party_read(e, from, false, &q.from, err);
    if (r == 0)
        r = party_read(e, to, true, &q.to, err);
    if (r == 0)
        r = ask(e, &q, err);
    if (r == 0) {
        *ret_allow = q.allow;
        if (ret_why)
            *ret_why = TAKE_PTR(q.why);
    }
    free(q.why);
    party_done(&q.from);
    party_done(&q.to);
    return r;
}
