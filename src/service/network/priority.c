/*
 * Which instance's packets go first. A packet has a number (skb->priority) by which the queue of
 * the link that it leaves by takes one of its three bands: the kernel's own queue, pfifo_fast,
 * sends nothing of a band while there is something in a higher one. The number is set where a
 * packet of an instance has been forwarded, because the kernel sets it by the TOS field when it
 * does that (map `priorities`, by address), and where it comes in by a port of a bridge, for what
 * is only switched (`preferred`, by link). The TOS field itself stays what the instance wrote: what
 * it asks of the routers outside is between it and them.
 */
#include <string.h>

#include "service/network/network-internal.h"
#include "service/network/rules.h"

/* As pfifo_fast places them (TC_PRIO_BULK, BESTEFFORT, INTERACTIVE): bands 2, 1 and 0. */
static const struct {
    const char *name;
    uint32_t number;
} priorities[] = {
    [NETWORK_PRIORITY_NORMAL] = {"normal", 0},
    [NETWORK_PRIORITY_LOW] = {"low", 2},
    [NETWORK_PRIORITY_HIGH] = {"high", 6},
};

uint32_t priority_number(enum network_priority priority)
{
    return priorities[priority].number;
}

int network_priority_parse(const char *text, enum network_priority *ret, struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(priorities); i++)
        if (strcmp(text, priorities[i].name) == 0) {
            *ret = (enum network_priority)i;
            return 0;
        }
    return error_invalid(err, "--network-priority \"%.32s\": say low, normal or high", text);
}

static int change_port(struct store *s, struct store_port *port, enum network_priority priority,
                       struct error *err)
{
    _cleanup_network_ struct network *n = NULL;
    int r = store_network_find(s, port->network, &n, err);
    if (r < 0)
        return r;
    if (port->attached)
        rules_remove_priority(s, port);
    port->priority = priority;
    if (port->attached && wall_stands_at(n, port))
        r = wall_add(s, port, err);
    else if (port->attached)
        r = rules_add(s, n, port, NULL, 0, err);
    return r < 0 ? r : store_port_set_priority(s, port->instance_id, port->network, priority, err);
}

int network_set_priority(struct store *s, const char *instance_id, enum network_priority priority,
                         struct error *err)
{
    struct store_port *ports;
    int r = store_port_of(s, instance_id, &ports, err);
    if (r < 0)
        return r;
    for (struct store_port *p = ports; r == 0 && p->instance_id; p++)
        r = change_port(s, p, priority, err);
    store_port_list_free(ports);
    return r;
}
