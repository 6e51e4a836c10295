#include "engine/flow-names.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "engine/heard.h"
#include "engine/policy.h"
#include "service/network/network.h"
#include "service/policy/learned.h"
#include "service/store/network.h"

struct flow_name {
    char *address, *link, *name;
    int64_t since_ns;
};

void flow_names_done(struct flow_names *k)
{
    for (size_t i = 0; i < k->n; i++) {
        free(k->list[i].address);
        free(k->list[i].link);
        free(k->list[i].name);
    }
    free(k->list);
    free(k->learned);
    network_list_free(k->networks);
}

static void add_name(struct flow_names *k, const char *address, const char *link, const char *name,
                     int64_t since_ns)
{
    k->list = xreallocarray(k->list, k->n + 1, sizeof(*k->list));
    k->list[k->n++] = (struct flow_name){xstrdup(address), xstrdup(link), xstrdup(name), since_ns};
}

static int read_own(struct engine *e, struct flow_names *ret, struct error *err)
{
    struct instance_record *records = NULL;
    int r = store_instance_list(e->store, &records, err);
    for (struct instance_record *i = records; r == 0 && i->id; i++) {
        struct network_member *ports = NULL;
        r = network_ports_of(e->store, i->id, &ports, err);
        for (struct network_member *p = ports; r == 0 && p->instance_id; p++) {
            char text[INET6_ADDRSTRLEN];
            if (p->address.s_addr && inet_ntop(AF_INET, &p->address, text, sizeof(text)))
                add_name(ret, text, p->link, i->name, i->created_ns);
            if (!IN6_IS_ADDR_UNSPECIFIED(&p->address6) &&
                inet_ntop(AF_INET6, &p->address6, text, sizeof(text)))
                add_name(ret, text, p->link, i->name, i->created_ns);
        }
        if (r == 0)
            network_members_free(ports);
    }
    instance_record_list_free(records);
    return r;
}

/* Of other hosts, as "name@host". */
static int read_heard(struct engine *e, struct flow_names *ret, struct error *err)
{
    struct store_heard *list = NULL;
    size_t n = 0;
    int r = store_heard_list(e->store, NULL, &list, &n, err);
    for (size_t i = 0; r == 0 && i < n; i++) {
        _cleanup_free_ char *name = heard_name(&list[i]);
        struct policy_address a = policy_address_from4(list[i].address);
        add_name(ret, policy_address_text(a).s, "", name, 0);
        a = policy_address_from6(&list[i].address6);
        if (!IN6_IS_ADDR_UNSPECIFIED(&list[i].address6))
            add_name(ret, policy_address_text(a).s, "", name, 0);
    }
    store_heard_list_free(list, n);
    return r;
}

int flow_names_read(struct engine *e, struct flow_names *ret, struct error *err)
{
    int r = read_own(e, ret, err);
    if (r == 0)
        r = read_heard(e, ret, err);
    if (r == 0)
        r = store_network_list(e->store, &ret->networks, err);
    return r < 0 ? r : learned_names_read(e->store, &ret->learned, &ret->n_learned, err);
}

static bool is_within(struct policy_address a, struct policy_address subnet, unsigned int prefix)
{
    unsigned int bits = a.v6 ? 128 : 32;
    return prefix > 0 && a.v6 == subnet.v6 && (a.n ^ subnet.n) >> (bits - prefix) == 0;
}

/* On the LAN others have addresses, too; and so they have where a network spans hosts. */
static bool is_of_networks(const struct flow_names *k, struct policy_address a)
{
    for (size_t i = 0; k->networks[i]; i++) {
        const struct network *n = k->networks[i];
        if (n->parent || n->vxlan_id)
            continue;
        if (is_within(a, policy_address_from4(n->subnet), n->prefix) ||
            is_within(a, policy_address_from6(&n->subnet6), n->prefix6))
            return true;
    }
    return false;
}

char *flow_name_of_address(const struct flow_names *k, struct policy_address a, int64_t seen_ns,
                           enum flow_end *ret)
{
    struct policy_address_text text = policy_address_text(a);
    *ret = FLOW_END_INSTANCE;
    for (size_t i = 0; i < k->n; i++)
        if (strcmp(k->list[i].address, text.s) == 0 && k->list[i].since_ns <= seen_ns)
            return xstrdup(k->list[i].name);
    *ret = policy_is_host_address(a) ? FLOW_END_HOST : FLOW_END_WORLD;
    if (*ret == FLOW_END_WORLD && is_of_networks(k, a))
        *ret = FLOW_END_GONE;
    return xstrdup(*ret == FLOW_END_HOST ? "host" : text.s);
}

char *flow_name_of_link(const struct flow_names *k, const char *link)
{
    for (size_t i = 0; i < k->n; i++)
        if (strcmp(k->list[i].link, link) == 0)
            return xstrdup(k->list[i].name);
    return xstrdup(link);
}

const char *flow_find_domain(const struct flow_names *k, const struct flow *f)
{
    for (size_t i = 0; i < k->n_learned; i++) {
        const struct learned *l = &k->learned[i];
        if (l->who.v6 == f->from.v6 && l->who.n == f->from.n && l->address.n == f->to.n)
            return l->name;
    }
    return NULL;
}
