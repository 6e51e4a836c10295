/*
 * How many connections an instance may have open at a time on each of its networks.
 *
 * The host keeps every connection that comes by in one table of fixed size (nf_conntrack_max), and
 * refuses what begins when that is full, whoever filled it. So what a port begins is counted, by
 * the first packet of each connection, which alone comes by the chain `count`. It looks up bridge
 * and hardware address of the frame, which the bridge table has checked: IPv4 and IPv6 count
 * together. What is over the number is dropped, not answered: who asks again is let in once others
 * have ended.
 *
 * The kernel counts (`ct count`) by a list of connections that it walks for each new one, to take
 * out those that are not in its table any more or that TCP has closed. Ten thousand in one list
 * would make every new connection cost milliseconds. So they are in 128 lists, each with its part
 * of the number, and a connection is put into any of them; few are in one list, and exact.
 *
 *   counted   port to one of the chains, which look into sets of their names:
 *   usual     ports without a number of their own: lists come and go with what is in them
 *   few       one list for a port
 *   many      all lists of a port
 *
 * Linux before April 2025 (6.15, and the stable versions of that month) takes elements of `few` and
 * `many` away once there is nothing open: there a number of its own holds until then only. `usual`
 * holds everywhere.
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
#include "service/network/rules.h"

#define HOST_MAX     "/proc/sys/net/netfilter/nf_conntrack_max"
#define HOST_UNKNOWN 65536u /* before the first rule that tracks the file is not there */
#define PART_OF_HOST 16
#define LEAST        4096u
#define FEW          1024u

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

bool connections_count(const struct store_port *port, struct connections_count *ret)
{
    uint32_t n = port->connections;
    if (n == NETWORK_CONNECTIONS_ANY)
        return false;
    if (n == NETWORK_CONNECTIONS_USUAL)
        *ret = (struct connections_count){"usual", 0, 0};
    else if (n <= FEW)
        *ret = (struct connections_count){"few", 1, n};
    else
        *ret = (struct connections_count){"many", CONNECTIONS_LISTS, n / CONNECTIONS_LISTS};
    return true;
}

int connections_put(struct buf *out)
{
    return buf_addf(out,
                    "set limited4 { type ipv4_addr; size 16384; flags dynamic,timeout;"
                    " timeout 1d; }\n"
                    "set limited6 { type ipv6_addr; size 16384; flags dynamic,timeout;"
                    " timeout 1d; }\n"
                    "set usual { typeof iifname . ether saddr . @th,0,32; size 262144;"
                    " flags dynamic; }\n"
                    "chain usual {\n"
                    " update @usual { iifname . ether saddr . " CONNECTIONS_LIST
                    " ct count over %u } goto limited\n"
                    "}\n",
                    usual() / CONNECTIONS_LISTS);
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
        rules_remove_connections(s, n, port);
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
