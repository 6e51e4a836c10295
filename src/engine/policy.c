/*
 * `policy test` and `policy explain`.
 *
 * The evaluator (wire/policy) knows labels and addresses; here it is found out what a name means,
 * and what is so before any policy: two instances meet on a network that both are on, and from
 * outside only published ports are reached.
 */
#include "engine/policy.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "engine/engine-internal.h"
#include "service/network/network.h"
#include "service/policy/policy.h"
#include "service/store/network.h"
#include "wire/dns/dns.h"

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

/* --- what a name means --- */

struct place {
    char *network;
    struct policy_address address;
    struct policy_address address6; /* v6 false: it has none */
    bool default_deny, internal;
};
struct party {
    struct policy_endpoint endpoint;
    char **labels;
    char *instance_id;
    struct place *places;
    size_t n_places;
    char **domains; /* of a host outside: as whom the question, or the instance, knows it */
};

static void party_done(struct party *p)
{
    strv_free(p->domains);
    for (size_t i = 0; i < p->n_places; i++)
        free(p->places[i].network);
    free(p->places);
    strv_free(p->labels);
    free(p->instance_id);
}

static int add_place(struct engine *e, struct party *p, const struct store_port *port,
                     struct error *err)
{
    _cleanup_network_ struct network *n = NULL;
    struct place place = {.network = NULL};
    int r = network_find(e->store, port->network, &n, err);
    if (r == 0)
        r = store_policy_default_deny(e->store, port->network, &place.default_deny, err);
    if (r < 0)
        return r;
    bool six = port->address.s_addr == 0;
    place.address =
        six ? policy_address_from6(&port->address6) : policy_address_from4(port->address);
    if (!IN6_IS_ADDR_UNSPECIFIED(&port->address6))
        place.address6 = policy_address_from6(&port->address6);
    place.internal = n->internal;
    place.network = xstrdup(port->network);
    p->places = xreallocarray(p->places, p->n_places + 1, sizeof(*p->places));
    p->places[p->n_places++] = place;
    return 0;
}

static int read_instance(struct engine *e, const char *id, struct party *p, struct error *err)
{
    struct instance_record record = {NULL};
    struct store_port *ports = NULL;
    int r = store_instance_find(e->store, id, &record, err);
    if (r < 0)
        return r;
    p->labels = policy_labels(e->store, record.id, record.name);
    p->instance_id = xstrdup(record.id);
    p->endpoint.side = POLICY_SIDE_INSTANCE;
    p->endpoint.labels = p->labels;
    p->endpoint.stack = policy_stack_of(p->labels);
    r = store_port_list(e->store, NULL, &ports, err);
    for (struct store_port *q = ports; r == 0 && q->instance_id; q++)
        if (strcmp(q->instance_id, record.id) == 0)
            r = add_place(e, p, q, err);
    store_port_list_free(ports);
    instance_record_done(&record);
    return r;
}

bool policy_is_host_address(struct policy_address a)
{
    struct ifaddrs *list, *i;
    bool found = false;
    if (getifaddrs(&list) < 0)
        return false;
    for (i = list; i && !found; i = i->ifa_next) {
        struct policy_address other = {false, 0};
        if (!i->ifa_addr)
            continue;
        if (i->ifa_addr->sa_family == AF_INET)
            other = policy_address_from4(((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr);
        else if (i->ifa_addr->sa_family == AF_INET6)
            other = policy_address_from6(&((struct sockaddr_in6 *)(void *)i->ifa_addr)->sin6_addr);
        else
            continue;
        found = other.v6 == a.v6 && other.n == a.n;
    }
    freeifaddrs(list);
    return found;
}

static int read_address(struct engine *e, struct policy_address a, struct party *p,
                        struct error *err)
{
    struct store_policy_member *m = NULL;
    size_t n = 0;
    int r = store_policy_member_list(e->store, policy_address_text(a).s, NULL, &m, &n, err);
    if (r == 0 && n > 0)
        r = read_instance(e, m->instance_id, p, err);
    store_policy_member_list_free(m, n);
    if (r < 0 || n > 0)
        return r;
    p->endpoint.side = policy_is_host_address(a) ? POLICY_SIDE_HOST : POLICY_SIDE_WORLD;
    p->endpoint.has_address = true;
    p->endpoint.address = a;
    return 0;
}

/* An instance, or else a host outside by its name. */
static int read_target(struct engine *e, const char *text, struct party *ret, struct error *err)
{
    char name[DNS_NAME_SIZE];
    struct error why = ERROR_INIT;
    int r = read_instance(e, text, ret, &why);
    if (r < 0 && why.kind == ERROR_NOT_FOUND && dns_name_parse(text, name)) {
        ret->domains = strv_copy(NULL);
        strv_add(&ret->domains, name);
        return 0;
    }
    if (r < 0)
        *err = why;
    return r;
}

static int read_party(struct engine *e, const char *text, bool target, struct party *ret,
                      struct error *err)
{
    struct policy_address a;
    *ret = (struct party){.endpoint = {.side = POLICY_SIDE_WORLD}};
    if (strcmp(text, "world") == 0)
        return 0;
    if (strcmp(text, "host") == 0) {
        ret->endpoint.side = POLICY_SIDE_HOST;
        return 0;
    }
    if (policy_address_parse(text, &a) == 0)
        return read_address(e, a, ret, err);
    return target ? read_target(e, text, ret, err) : read_instance(e, text, ret, err);
}

static void stand_at(struct party *p, size_t place)
{
    p->endpoint.has_address = true;
    p->endpoint.address = p->places[place].address;
    p->endpoint.default_deny = p->places[place].default_deny;
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

/* Each network that both are on is a way. */
static void ask_between(struct question *q)
{
    say(q, false, xstrdup("no network in common"));
    for (size_t i = 0; i < q->from.n_places; i++)
        for (size_t k = 0; k < q->to.n_places && !q->allow; k++)
            if (strcmp(q->from.places[i].network, q->to.places[k].network) == 0) {
                stand_at(&q->from, i);
                stand_at(&q->to, k);
                evaluate(q);
            }
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
        stand_at(&q->from, i);
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
    for (size_t k = 0; published && k < q->to.n_places && !q->allow; k++) {
        stand_at(&q->to, k);
        evaluate(q);
    }
    return 0;
}

static int ask(struct engine *e, struct question *q, struct error *err)
{
    bool from = q->from.endpoint.side == POLICY_SIDE_INSTANCE;
    bool to = q->to.endpoint.side == POLICY_SIDE_INSTANCE;
    if (!from && !to)
        return error_invalid(err, "neither side is an instance: the policies do not apply");
    if (from && to && strcmp(q->from.instance_id, q->to.instance_id) == 0)
        say(q, true, xstrdup("an instance reaches itself"));
    else if (from && to)
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
    int r = read_party(e, from, false, &q.from, err);
    if (r == 0)
        r = read_party(e, to, true, &q.to, err);
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

/* --- explain --- */

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
    int r = read_instance(e, reference, &p, err);
    if (r == 0)
        r = policy_book_read(e, &book, err);
    if (r == 0) {
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
