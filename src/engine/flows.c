/*
 * Flows by name. Addresses are looked up among the instances that are attached now: what an
 * instance did that is gone is told by its address.
 */
#include "engine/flows.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "engine/engine-internal.h"
#include "engine/heard.h"
#include "engine/rootless.h"
#include "kernel/capture.h"
#include "service/network/network.h"
#include "service/policy/policy.h"

void flow_views_free(struct flow_view *list, size_t n)
{
    for (size_t i = 0; list && i < n; i++) {
        free(list[i].from);
        free(list[i].to);
        free(list[i].rule);
    }
    free(list);
}

/* --- names --- */

struct known {
    char *address, *link, *name;
};
struct names {
    struct known *list;
    size_t n;
    struct learned *learned;
    size_t n_learned;
};

static void names_done(struct names *k)
{
    for (size_t i = 0; i < k->n; i++) {
        free(k->list[i].address);
        free(k->list[i].link);
        free(k->list[i].name);
    }
    free(k->list);
    free(k->learned);
}

static void add_name(struct names *k, const char *address, const char *link, const char *name)
{
    k->list = xreallocarray(k->list, k->n + 1, sizeof(*k->list));
    k->list[k->n++] = (struct known){xstrdup(address), xstrdup(link), xstrdup(name)};
}

static int read_names(struct engine *e, struct names *ret, struct error *err)
{
    struct instance_record *records = NULL;
    int r = store_instance_list(e->store, &records, err);
    for (struct instance_record *i = records; r == 0 && i->id; i++) {
        struct network_member *ports = NULL;
        r = network_ports_of(e->store, i->id, &ports, err);
        for (struct network_member *p = ports; r == 0 && p->instance_id; p++) {
            char text[INET6_ADDRSTRLEN];
            if (p->address.s_addr && inet_ntop(AF_INET, &p->address, text, sizeof(text)))
                add_name(ret, text, p->link, i->name);
            if (!IN6_IS_ADDR_UNSPECIFIED(&p->address6) &&
                inet_ntop(AF_INET6, &p->address6, text, sizeof(text)))
                add_name(ret, text, p->link, i->name);
        }
        if (r == 0)
            network_members_free(ports);
    }
    instance_record_list_free(records);
    return r;
}

/* Of other hosts, as "name@host". */
static int read_heard_names(struct engine *e, struct names *ret, struct error *err)
{
    struct store_heard *list = NULL;
    size_t n = 0;
    int r = store_heard_list(e->store, NULL, &list, &n, err);
    for (size_t i = 0; r == 0 && i < n; i++) {
        _cleanup_free_ char *name = heard_name(&list[i]);
        add_name(ret, policy_address_text(policy_address_from4(list[i].address)).s, "", name);
        if (!IN6_IS_ADDR_UNSPECIFIED(&list[i].address6))
            add_name(ret, policy_address_text(policy_address_from6(&list[i].address6)).s, "", name);
    }
    store_heard_list_free(list, n);
    return r;
}

static char *name_of_address(const struct names *k, struct policy_address a, bool *ret_instance)
{
    struct policy_address_text text = policy_address_text(a);
    *ret_instance = true;
    for (size_t i = 0; i < k->n; i++)
        if (strcmp(k->list[i].address, text.s) == 0)
            return xstrdup(k->list[i].name);
    *ret_instance = false;
    return xstrdup(policy_is_host_address(a) ? "host" : text.s);
}

static char *name_of_link(const struct names *k, const char *link)
{
    for (size_t i = 0; i < k->n; i++)
        if (strcmp(k->list[i].link, link) == 0)
            return xstrdup(k->list[i].name);
    return xstrdup(link);
}

/* --- flows --- */

/* What it asked for last, and was told this address. */
static const char *find_domain(const struct names *k, const struct flow *f)
{
    for (size_t i = 0; i < k->n_learned; i++) {
        const struct learned *l = &k->learned[i];
        if (l->who.v6 == f->from.v6 && l->who.n == f->from.n && l->address.n == f->to.n)
            return l->name;
    }
    return NULL;
}

static void name_flow(const struct names *k, struct flow_view *v)
{
    const struct flow *f = &v->flow;
    if (f->verdict == FLOW_FORGED) {
        v->from = name_of_link(k, f->link);
        v->from_instance = true;
        v->to = xasprintf("as %02x:%02x:%02x:%02x:%02x:%02x", f->mac[0], f->mac[1], f->mac[2],
                          f->mac[3], f->mac[4], f->mac[5]);
        v->rule = xstrdup("not for a port to send");
        return;
    }
    v->from = name_of_address(k, f->from, &v->from_instance);
    v->to = name_of_address(k, f->to, &v->to_instance);
    const char *domain = v->to_instance ? NULL : find_domain(k, f);
    if (domain && strcmp(v->to, "host") != 0) {
        v->to_domain = true;
        xreplace(&v->to, domain);
    }
    if (f->verdict == FLOW_STRAY)
        v->rule = xstrdup("it belongs to no connection");
}

static bool side_fits(const char *wanted, const char *name, bool instance,
                      struct policy_address address)
{
    if (!wanted || strcmp(wanted, name) == 0)
        return true;
    size_t len = strlen(wanted);
    if (instance && strncmp(wanted, name, len) == 0 && name[len] == '@')
        return true;
    if (strcmp(wanted, "world") == 0)
        return !instance && strcmp(name, "host") != 0;
    return strcmp(wanted, policy_address_text(address).s) == 0;
}

static bool fits(const struct flow_filter *filter, const struct flow_view *v)
{
    return (!filter->denied || v->flow.verdict != FLOW_ALLOWED) &&
           v->flow.last_ns >= filter->since_ns &&
           side_fits(filter->from, v->from, v->from_instance, v->flow.from) &&
           side_fits(filter->to, v->to, v->to_instance, v->flow.to);
}

/* Whether the policies as they are now say what was seen, and why. */
static bool ask(struct engine *e, const struct policy_book *book, struct flow_view *v,
                const char *from, const char *to)
{
    const struct flow *f = &v->flow;
    bool allow = false;
    free(v->rule);
    v->rule = NULL;
    if (engine_policy_ask(e, book, from, to, f->protocol, f->port, &allow, &v->rule, NULL) < 0)
        v->rule = xstrdup("");
    return allow == (f->verdict == FLOW_ALLOWED);
}

/* By name an instance has addresses of both families, and rules may tell them apart. When neither
 * question gives what was seen, the policies have changed since, and are no reason for it. */
static void explain(struct engine *e, const struct policy_book *book, struct flow_view *v)
{
    const struct policy_address_text from = policy_address_text(v->flow.from),
                                     to = policy_address_text(v->flow.to);
    if (v->rule ||
        ask(e, book, v, v->from_instance ? v->from : from.s, v->to_instance ? v->to : to.s) ||
        !*v->rule || ask(e, book, v, from.s, to.s))
        return;
    free(v->rule);
    v->rule = xstrdup("a rule of that time");
}

static int compare(const void *a, const void *b)
{
    const struct flow_view *x = a, *y = b;
    return x->flow.last_ns < y->flow.last_ns ? -1 : x->flow.last_ns > y->flow.last_ns;
}

int engine_flows(struct engine *e, const struct flow_filter *filter, struct flow_view **ret,
                 size_t *ret_n, struct error *err)
{
    struct policy_book book = {.n = 0};
    struct names names = {.n = 0};
    struct flow *flows = NULL;
    size_t n = 0, kept = 0;
    int r = rootless_refuse("proa flows", err);
    if (r == 0)
        r = flows_read(&flows, &n, err);
    if (r == 0)
        r = read_names(e, &names, err);
    if (r == 0)
        r = read_heard_names(e, &names, err);
    if (r == 0)
        r = learned_names_read(&names.learned, &names.n_learned, err);
    if (r == 0)
        r = policy_book_read(e, &book, err);
    struct flow_view *list = r == 0 ? xcalloc(n + 1, sizeof(*list)) : NULL;
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct flow_view *v = &list[kept];
        *v = (struct flow_view){.flow = flows[i]};
        name_flow(&names, v);
        if (fits(filter, v)) {
            explain(e, &book, v);
            kept++;
        } else {
            free(v->from);
            free(v->to);
            free(v->rule);
        }
    }
    free(flows);
    names_done(&names);
    policy_book_done(&book);
    if (r < 0)
        return r;
    if (kept > 1)
        qsort(list, kept, sizeof(*list), compare);
    *ret = list;
    *ret_n = kept;
    return 0;
}

/* --- capture --- */

int engine_capture(struct engine *e, const char *reference, const char *network, int fd,
                   uint64_t count, int stop_fd, struct error *err)
{
    struct instance_record record;
    struct network_member *ports = NULL;
    char link[16] = "";
    int r = rootless_refuse("proa capture", err);
    if (r == 0)
        r = store_instance_find(e->store, reference, &record, err);
    if (r < 0)
        return r;
    r = network_ports_of(e->store, record.id, &ports, err);
    for (struct network_member *p = ports; r == 0 && p->instance_id && !*link; p++)
        if (p->attached && (!network || strcmp(network, p->network) == 0))
            snprintf(link, sizeof(link), "%s", p->link);
    if (r == 0)
        network_members_free(ports);
    if (r == 0 && !*link)
        r = error_set(err, ERROR_CONFLICT, ENOTCONN, "%s is not on %s now: does it run?",
                      record.name, network ? network : "a network");
    if (r == 0)
        r = capture_run(link, fd, count, stop_fd, err);
    instance_record_done(&record);
    return r;
}
