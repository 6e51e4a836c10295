/*
 * How many connections an instance may have open at a time on each of its networks.
 *
 * The host keeps every connection that comes by in one table of fixed size (nf_conntrack_max), and
 * refuses what begins when that is full, whoever filled it. So what a port begins is counted: the
 * set `connections` has an element for each port, with a number, which fits what is over that. It
 * is looked up for the first packet of a connection only (chain `count`), by the bridge and the
 * hardware address that the frame came with, which the bridge table has checked: IPv4 and IPv6
 * count together. What is over the number is dropped, not answered: who asks again is let in once
 * others have ended. The kernel takes out of the count what is not in its table any more, and what
 * TCP has closed.
 *
 * What others begin to an instance is not counted. Among its own it would keep the instance from
 * speaking; by itself, a hundred packets a second with made-up senders would close a published
 * port. Other instances count for themselves, and of what comes from outside the kernel drops first
 * what nobody has answered.
 *
 * An element that is made anew, by `update` or with the whole table, has counted nothing: what was
 * open before is let go on, and is not in the count.
 */
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/text.h"
#include "service/network/connections.h"
#include "service/network/network-internal.h"

#define HOST_MAX     "/proc/sys/net/netfilter/nf_conntrack_max"
#define HOST_UNKNOWN 65536u /* before the first rule that tracks the file is not there */
#define PART_OF_HOST 16
#define LEAST        4096u

int network_connections_parse(const char *text, uint32_t *ret, struct error *err)
{
    uint32_t n = NETWORK_CONNECTIONS_ANY;
    if (strcmp(text, "none") != 0 &&
        (parse_u32(text, &n) < 0 || n == 0 || n == NETWORK_CONNECTIONS_ANY))
        return error_invalid(err, "--network-connections \"%.32s\": a number from 1 on, or none",
                             text);
    *ret = n;
    return 0;
}

static uint32_t usual(void)
{
    _cleanup_free_ char *text = NULL;
    uint32_t most = HOST_UNKNOWN;
    if (file_read_kernel(AT_FDCWD, HOST_MAX, 64, &text) == 0) {
        text[strcspn(text, "\n")] = '\0';
        if (parse_u32(text, &most) < 0)
            most = HOST_UNKNOWN;
    }
    return MAX(most / PART_OF_HOST, LEAST);
}

uint32_t connections_of_port(const struct store_port *port)
{
    if (port->connections == NETWORK_CONNECTIONS_ANY)
        return 0;
    return port->connections ? port->connections : usual();
}

const char *connections_bridge(const struct network *n)
{
    return n->parent ? n->parent : n->bridge;
}

int connections_check(const struct network *n, uint32_t connections, struct error *err)
{
    if (n->driver == NETWORK_BRIDGE || connections == NETWORK_CONNECTIONS_USUAL)
        return 0;
    return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                     "--network-connections: what is on macvlan %s does not pass this host",
                     n->name);
}

static int change_port(struct store *s, struct store_port *port, uint32_t connections,
                       struct error *err)
{
    _cleanup_network_ struct network *n = NULL;
    int r = store_network_find(s, port->network, &n, err);
    if (r == 0)
        r = connections_check(n, connections, err);
    if (r < 0)
        return r;
    bool counted = port->attached && n->driver == NETWORK_BRIDGE;
    if (counted)
        rules_remove_connections(n, port);
    port->connections = connections;
    if (counted)
        r = rules_add(s, n, port, NULL, 0, err);
    return r < 0
               ? r
               : store_port_set_connections(s, port->instance_id, port->network, connections, err);
}

int network_set_connections(struct store *s, const char *instance_id, uint32_t connections,
                            struct error *err)
{
    struct store_port *ports;
    int r = store_port_of(s, instance_id, &ports, err);
    if (r < 0)
        return r;
    for (struct store_port *p = ports; r == 0 && p->instance_id; p++)
        r = change_port(s, p, connections, err);
    store_port_list_free(ports);
    return r;
}
