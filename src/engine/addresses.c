#include <arpa/inet.h>

#include "base/alloc.h"
#include "engine/connect.h"
#include "engine/engine-internal.h"
#include "service/network/network.h"

void address_views_free(struct address_view *list)
{
    for (struct address_view *v = list; v && v->network; v++) {
        free(v->network);
        free(v->address);
        free(v->address6);
        free(v->mac);
        free(v->instance_id);
        free(v->name);
    }
    free(list);
}

static char *text4(struct in_addr a)
{
    char text[INET_ADDRSTRLEN];
    return a.s_addr ? xstrdup(inet_ntop(AF_INET, &a, text, sizeof(text))) : NULL;
}

static char *text6(const struct in6_addr *a)
{
    char text[INET6_ADDRSTRLEN];
    return IN6_IS_ADDR_UNSPECIFIED(a) ? NULL : xstrdup(inet_ntop(AF_INET6, a, text, sizeof(text)));
}

struct views {
    struct address_view *list;
    size_t n;
};

static void add_view(struct views *v, const struct address_view *one)
{
    v->list = xreallocarray(v->list, v->n + 2, sizeof(*v->list));
    v->list[v->n++] = *one;
    v->list[v->n] = (struct address_view){NULL};
}

static char *name_of(struct engine *e, const char *id)
{
    struct instance_record record;
    struct error ignored = ERROR_INIT;
    if (store_instance_find(e->store, id, &record, &ignored) < 0)
        return NULL; /* a build's, or being removed */
    char *name = xstrdup(record.name);
    instance_record_done(&record);
    return name;
}

static int add_network(struct engine *e, const struct network *n, struct views *v,
                       struct error *err)
{
    struct network_member *members;
    int r = network_members(e->store, n->name, &members, err);
    if (r < 0)
        return r;
    if (n->prefix)
        add_view(v, &(struct address_view){.network = xstrdup(n->name),
                                           .address = text4(n->gateway),
                                           .address6 = text6(&n->gateway6),
                                           .in_use = true});
    for (struct network_member *m = members; m->instance_id; m++)
        add_view(v, &(struct address_view){.network = xstrdup(n->name),
                                           .address = text4(m->address),
                                           .address6 = text6(&m->address6),
                                           .mac = xstrdup(m->mac),
                                           .instance_id = xstrdup(m->instance_id),
                                           .name = name_of(e, m->instance_id),
                                           .in_use = m->attached});
    network_members_free(members);
    return 0;
}

int engine_addresses(struct engine *e, const char *network, struct address_view **ret,
                     struct error *err)
{
    _cleanup_network_ struct network *one = NULL;
    struct network **all = NULL;
    struct views v = {.list = xcalloc(1, sizeof(*v.list))};
    int r =
        network ? network_find(e->store, network, &one, err) : network_list(e->store, &all, err);
    if (r == 0 && one)
        r = add_network(e, one, &v, err);
    for (size_t i = 0; r == 0 && all && all[i]; i++)
        r = add_network(e, all[i], &v, err);
    network_list_free(all);
    if (r < 0) {
        address_views_free(v.list);
        return r;
    }
    *ret = v.list;
    return 0;
}
