/* An instance's ports on networks that have a gateway of ours, as they are now. */
#include "service/network/network-internal.h"

void attached_done(struct attached *a)
{
    for (size_t i = 0; i < a->n; i++)
        network_free(a->networks[i]);
    store_port_list_free(a->rows);
    *a = (struct attached){.n = 0};
}

int attached_read(struct store *s, const char *instance_id, struct attached *ret, struct error *err)
{
    *ret = (struct attached){.n = 0};
    int r = store_port_of(s, instance_id, &ret->rows, err);
    for (struct store_port *p = ret->rows; r == 0 && p->instance_id; p++) {
        _cleanup_network_ struct network *n = NULL;
        if (!p->attached || p->address.s_addr == 0 || ret->n == NETWORK_PORTS_MAX)
            continue;
        r = store_network_find(s, p->network, &n, err);
        if (r < 0 || n->parent)
            continue;
        ret->networks[ret->n] = TAKE_PTR(n);
        ret->ports[ret->n++] = p;
    }
    return r;
}
