/* Flows by name, each with the rule that decides so. */
#include "engine/flows.h"

#include <string.h>

#include "base/alloc.h"
#include "engine/engine-internal.h"
#include "engine/flow-names.h"
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

/* --- flows --- */

#define MORE "more than is kept: only counted"

static void name_forged(const struct flow_names *k, struct flow_view *v)
{
    const struct flow *f = &v->flow;
    v->from = flow_name_of_link(k, f->link);
    v->from_is = FLOW_END_INSTANCE;
    v->to = f->more ? xstrdup("*")
                    : xasprintf("as %02x:%02x:%02x:%02x:%02x:%02x", f->mac[0], f->mac[1], f->mac[2],
                                f->mac[3], f->mac[4], f->mac[5]);
    v->rule = xstrdup(f->more ? MORE : "not for a port to send");
}

static void name_more(const struct flow_names *k, struct flow_view *v)
{
    v->from = flow_name_of_address(k, v->flow.from, v->flow.last_ns, &v->from_is);
    v->to = xstrdup("*");
    v->to_is = FLOW_END_GONE;
    v->rule =
        xstrdup(v->flow.verdict == FLOW_LIMITED ? "as many connections open as it may have" : MORE);
}

static void name_flow(const struct flow_names *k, struct flow_view *v)
{
    const struct flow *f = &v->flow;
    v->from = flow_name_of_address(k, f->from, f->last_ns, &v->from_is);
    v->to = flow_name_of_address(k, f->to, f->last_ns, &v->to_is);
    const char *domain = v->to_is == FLOW_END_WORLD ? flow_find_domain(k, f) : NULL;
    if (domain) {
        v->to_domain = true;
        xreplace(&v->to, domain);
    }
    if (f->verdict == FLOW_STRAY)
        v->rule = xstrdup("it belongs to no connection");
    else if (v->from_is == FLOW_END_GONE || v->to_is == FLOW_END_GONE)
        v->rule = xstrdup("of an instance that is gone");
}

static void name_view(const struct flow_names *k, struct flow_view *v)
{
    if (v->flow.verdict == FLOW_FORGED)
        name_forged(k, v);
    else if (v->flow.more)
        name_more(k, v);
    else
        name_flow(k, v);
}

static bool side_fits(const char *wanted, const char *name, enum flow_end is,
                      struct policy_address address)
{
    if (!wanted || strcmp(wanted, name) == 0)
        return true;
    size_t len = strlen(wanted);
    if (is == FLOW_END_INSTANCE && strncmp(wanted, name, len) == 0 && name[len] == '@')
        return true;
    if (strcmp(wanted, "world") == 0)
        return is == FLOW_END_WORLD;
    return strcmp(wanted, policy_address_text(address).s) == 0;
}

static bool fits(const struct flow_filter *filter, const struct flow_view *v)
{
    return (!filter->denied || v->flow.verdict != FLOW_ALLOWED) &&
           v->flow.last_ns >= filter->since_ns &&
           side_fits(filter->from, v->from, v->from_is, v->flow.from) &&
           side_fits(filter->to, v->to, v->to_is, v->flow.to);
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
        ask(e, book, v, v->from_is == FLOW_END_INSTANCE ? v->from : from.s,
            v->to_is == FLOW_END_INSTANCE ? v->to : to.s) ||
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
    struct flow_names names = {.n = 0};
    struct flow *flows = NULL;
    size_t n = 0, kept = 0;
    int r = rootless_refuse("proa flows", err);
    if (r == 0)
        r = flows_read(e->store, &flows, &n, err);
    if (r == 0)
        r = flow_names_read(e, &names, err);
    if (r == 0)
        r = policy_book_read(e, &book, err);
    struct flow_view *list = r == 0 ? xcalloc(n + 1, sizeof(*list)) : NULL;
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct flow_view *v = &list[kept];
        *v = (struct flow_view){.flow = flows[i]};
        name_view(&names, v);
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
    flow_names_done(&names);
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
