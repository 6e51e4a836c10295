/* What a word of a question about policies means: an instance, an address, the host, the world. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "engine/engine-internal.h"
#include "engine/heard.h"
#include "engine/policy-internal.h"
#include "service/network/network.h"
#include "service/policy/policy.h"
#include "service/store/network.h"
#include "wire/dns/dns.h"

void party_done(struct party *p)
{
    strv_free(p->domains);
    for (size_t i = 0; i < p->n_places; i++)
        free(p->places[i].network);
    free(p->places);
    strv_free(p->labels);
    free(p->instance_id);
    free(p->host);
}

static int add_place(struct engine *e, struct party *p, const char *network, struct in_addr address,
                     const struct in6_addr *address6, struct error *err)
{
    _cleanup_network_ struct network *n = NULL;
    struct place place = {.network = NULL};
    int r = network_find(e->store, network, &n, err);
    if (r == 0)
        r = store_policy_default_deny(e->store, network, &place.default_deny, err);
    if (r < 0)
        return r;
    bool six = address.s_addr == 0;
    place.address = six ? policy_address_from6(address6) : policy_address_from4(address);
    if (!IN6_IS_ADDR_UNSPECIFIED(address6))
        place.address6 = policy_address_from6(address6);
    place.internal = n->internal;
    place.network = xstrdup(network);
    p->places = xreallocarray(p->places, p->n_places + 1, sizeof(*p->places));
    p->places[p->n_places++] = place;
    return 0;
}

int party_read_instance(struct engine *e, const char *id, struct party *p, struct error *err)
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
            r = add_place(e, p, q->network, q->address, &q->address6, err);
    store_port_list_free(ports);
    instance_record_done(&record);
    return r;
}

static int read_heard(struct engine *e, const char *text, struct party *p, struct error *err)
{
    struct store_heard h;
    int r = heard_find(e, text, &h, err);
    if (r < 0)
        return r;
    p->labels = strv_copy(h.labels);
    p->instance_id = heard_name(&h);
    p->host = xstrdup(h.peer);
    p->endpoint.side = POLICY_SIDE_INSTANCE;
    p->endpoint.labels = p->labels;
    p->endpoint.stack = policy_stack_of(p->labels);
    r = add_place(e, p, h.network, h.address, &h.address6, err);
    store_heard_done(&h);
    return r;
}

int party_read_named(struct engine *e, const char *text, struct party *p, struct error *err)
{
    struct error why = ERROR_INIT;
    int r = party_read_instance(e, text, p, &why);
    if (r < 0 && why.kind == ERROR_NOT_FOUND && read_heard(e, text, p, err) == 0)
        return 0;
    if (r < 0 && err && (why.kind != ERROR_NOT_FOUND || err->kind != ERROR_CONFLICT))
        *err = why;
    return r;
}

/* An address of a network that spans hosts, of which nobody has said whose it is. */
static int read_unknown(struct engine *e, struct policy_address a, struct party *p,
                        struct error *err)
{
    struct network **list;
    int r = store_network_list(e->store, &list, err);
    for (size_t i = 0; r == 0 && list[i]; i++) {
        const struct network *n = list[i];
        struct policy_range block = {.v6 = a.v6};
        if (!n->vxlan_id || (a.v6 && !n->prefix6))
            continue;
        policy_number size = (policy_number)1 << (a.v6 ? 128 - n->prefix6 : 32 - n->prefix);
        block.first =
            a.v6 ? policy_address_from6(&n->subnet6).n : policy_address_from4(n->subnet).n;
        block.last = block.first + (size - 1);
        if (!policy_range_has(&block, a))
            continue;
        struct place place = {.network = xstrdup(n->name), .address = a, .internal = n->internal};
        p->places = xreallocarray(p->places, p->n_places + 1, sizeof(*p->places));
        p->places[p->n_places++] = place;
        p->endpoint.apart = true;
    }
    if (r == 0)
        network_list_free(list);
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
        r = m->profile ? party_read_instance(e, m->instance_id, p, err)
                       : read_heard(e, m->address, p, err);
    store_policy_member_list_free(m, n);
    p->by_address = n > 0;
    p->address = a;
    if (r < 0 || n > 0)
        return r;
    p->endpoint.side = policy_is_host_address(a) ? POLICY_SIDE_HOST : POLICY_SIDE_WORLD;
    p->endpoint.has_address = true;
    p->endpoint.address = a;
    return p->endpoint.side == POLICY_SIDE_WORLD ? read_unknown(e, a, p, err) : 0;
}

/* An instance, or else a host outside by its name. */
static int read_target(struct engine *e, const char *text, struct party *ret, struct error *err)
{
    char name[DNS_NAME_SIZE];
    struct error why = ERROR_INIT;
    int r = party_read_named(e, text, ret, &why);
    if (r < 0 && why.kind == ERROR_NOT_FOUND && dns_name_parse(text, name)) {
        ret->domains = strv_copy(NULL);
        strv_add(&ret->domains, name);
        return 0;
    }
    if (r < 0 && err)
        *err = why;
    return r;
}

int party_read(struct engine *e, const char *text, bool target, struct party *ret,
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
    return target ? read_target(e, text, ret, err) : party_read_named(e, text, ret, err);
}
