/* Ports and published ports: what an instance has on each of its networks. */
#include <arpa/inet.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/store/network-internal.h"

#define PORT_COLUMNS                                                                               \
    "instance_id,network,position,address,address6,mac,link,name,hostname,aliases,attached,rate_"  \
    "in,"                                                                                          \
    "rate_out,lease,priority,connections"

void store_port_done(struct store_port *p)
{
    free(p->instance_id);
    free(p->network);
    free(p->mac);
    free(p->link);
    free(p->name);
    free(p->hostname);
    free(p->lease);
    strv_free(p->aliases);
    memset(p, 0, sizeof(*p));
}

void store_port_list_free(struct store_port *list)
{
    for (struct store_port *p = list; p && p->instance_id; p++)
        store_port_done(p);
    free(list);
}

int store_port_put(struct store *s, const struct store_port *p, struct error *err)
{
    _cleanup_free_ char *aliases = strv_to_row(p->aliases);
    struct address6_row address6;
    address6_to_row(&p->address6, &address6);
    return sql_run(s, err,
                   "INSERT INTO port(" PORT_COLUMNS
                   ") VALUES(?,?,?,NULLIF(?,0),?,?,?,?,?,?,?,?,?,?,?,?)"
                   " ON CONFLICT(instance_id,network) DO UPDATE SET position=excluded.position,"
                   " address=excluded.address, address6=excluded.address6, mac=excluded.mac,"
                   " link=excluded.link, name=excluded.name, hostname=excluded.hostname,"
                   " aliases=excluded.aliases, attached=excluded.attached,"
                   " rate_in=excluded.rate_in, rate_out=excluded.rate_out, lease=excluded.lease,"
                   " priority=excluded.priority, connections=excluded.connections",
                   "ssiissssssiiisii", p->instance_id, p->network, (int64_t)p->position,
                   address_to_row(p->address), address6.value, p->mac, p->link, p->name,
                   p->hostname, aliases, (int64_t)p->attached, (int64_t)p->rate.in,
                   (int64_t)p->rate.out, p->lease, (int64_t)p->priority, (int64_t)p->connections);
}

static struct store_port port_of_row(sqlite3_stmt *q)
{
    return (struct store_port){
        .instance_id = sql_text(q, 0),
        .network = sql_text(q, 1),
        .position = (uint8_t)sql_int(q, 2),
        .address = address_from_row(sql_int(q, 3)),
        .address6 = address6_of_column(q, 4),
        .mac = sql_text(q, 5),
        .link = sql_text(q, 6),
        .name = sql_text(q, 7),
        .hostname = sql_text(q, 8),
        .aliases = strv_of_column(q, 9),
        .attached = sql_int(q, 10) != 0,
        .rate = {(uint64_t)sql_int(q, 11), (uint64_t)sql_int(q, 12)},
        .lease = sql_text(q, 13),
        .priority = (enum network_priority)sql_int(q, 14),
        .connections = (uint32_t)sql_int(q, 15),
    };
}

int store_port_get(struct store *s, const char *instance_id, const char *network,
                   struct store_port *ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r =
        sql_query(s, &q, err, "SELECT " PORT_COLUMNS " FROM port WHERE instance_id=? AND network=?",
                  "ss", instance_id, network);
    if (r == 0)
        r = sql_next(s, q, err);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "%.12s is not on network %s", instance_id,
                         network);
    *ret = port_of_row(q);
    return 0;
}

static int list_ports(struct store *s, const char *where_and_order, const char *value,
                      struct store_port **ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    _cleanup_free_ char *sql = xasprintf("SELECT " PORT_COLUMNS " FROM port %s", where_and_order);
    struct store_port *list = xcalloc(1, sizeof(*list));
    size_t n = 0;
    int r = sql_query(s, &q, err, sql, "s", value);
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        list = xreallocarray(list, n + 2, sizeof(*list));
        list[n++] = port_of_row(q);
        list[n] = (struct store_port){NULL};
    }
    if (r < 0) {
        store_port_list_free(list);
        return r;
    }
    *ret = list;
    return 0;
}

int store_port_list(struct store *s, const char *network, struct store_port **ret,
                    struct error *err)
{
    return list_ports(s, "WHERE ?1 IS NULL OR network=?1 ORDER BY address", network, ret, err);
}

int store_port_of(struct store *s, const char *instance_id, struct store_port **ret,
                  struct error *err)
{
    return list_ports(s, "WHERE instance_id=?1 ORDER BY position", instance_id, ret, err);
}

int store_port_detached(struct store *s, const char *instance_id, const char *network,
                        struct error *err)
{
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    /* An address of the LAN's is the LAN's again. */
    r = sql_run(s, err,
                "UPDATE port SET attached=0, address=CASE WHEN lease IS NULL THEN address END"
                " WHERE instance_id=? AND network=?",
                "ss", instance_id, network);
    if (r == 0)
        r = sql_run(s, err, "DELETE FROM publish WHERE instance_id=? AND network=?", "ss",
                    instance_id, network);
    int end = store_end(s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : end;
}

int store_port_set_rate(struct store *s, const char *instance_id, const char *network,
                        const struct network_rate *rate, struct error *err)
{
    return sql_run(s, err,
                   "UPDATE port SET rate_in=?, rate_out=? WHERE instance_id=? AND network=?",
                   "iiss", (int64_t)rate->in, (int64_t)rate->out, instance_id, network);
}

int store_port_set_priority(struct store *s, const char *instance_id, const char *network,
                            enum network_priority priority, struct error *err)
{
    return sql_run(s, err, "UPDATE port SET priority=? WHERE instance_id=? AND network=?", "iss",
                   (int64_t)priority, instance_id, network);
}

int store_port_set_connections(struct store *s, const char *instance_id, const char *network,
                               uint32_t connections, struct error *err)
{
    return sql_run(s, err, "UPDATE port SET connections=? WHERE instance_id=? AND network=?", "iss",
                   (int64_t)connections, instance_id, network);
}

int store_port_set_lease(struct store *s, const char *instance_id, const char *network,
                         struct in_addr address, const char *lease, struct error *err)
{
    return sql_run(s, err,
                   "UPDATE port SET address=NULLIF(?,0), lease=? WHERE instance_id=? AND network=?",
                   "isss", address_to_row(address), lease, instance_id, network);
}

int store_port_remove(struct store *s, const char *instance_id, const char *network,
                      struct error *err)
{
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = sql_run(s, err, "DELETE FROM publish WHERE instance_id=?1 AND network=?2", "ss",
                instance_id, network);
    if (r == 0)
        r = sql_run(s, err, "DELETE FROM port WHERE instance_id=?1 AND network=?2", "ss",
                    instance_id, network);
    int end = store_end(s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : end;
}

int store_port_rename(struct store *s, const char *instance_id, const char *name, struct error *err)
{
    return sql_run(s, err, "UPDATE port SET name=? WHERE instance_id=?", "ss", name, instance_id);
}

int store_port_holder6(struct store *s, const char *network, const struct in6_addr *address,
                       char **ret_holder, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    struct address6_row row;
    address6_to_row(address, &row);
    int r = sql_query(s, &q, err, "SELECT instance_id FROM port WHERE network=? AND address6=?",
                      "ss", network, row.value);
    if (r == 0)
        r = sql_next(s, q, err);
    if (r < 0)
        return r;
    *ret_holder = r > 0 ? sql_text(q, 0) : NULL;
    return 0;
}

/* The lowest free address in [from, to], or 0: walks the taken ones in order until a gap. */
static int first_gap(struct store *s, const struct network *n, int64_t from, int64_t to,
                     int64_t *ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int64_t candidate = from;
    int r = sql_query(s, &q, err,
                      "SELECT address FROM port WHERE network=? AND address>=? ORDER BY address",
                      "si", n->name, from);
    while (r >= 0 && (r = sql_next(s, q, err)) >= 0) {
        if (candidate == address_to_row(n->gateway))
            candidate++;
        if (r == 0 || sql_int(q, 0) > candidate)
            break;
        candidate = sql_int(q, 0) + 1;
    }
    if (r < 0)
        return r;
    *ret = candidate <= to ? candidate : 0;
    return 0;
}

int store_port_next_address(struct store *s, const struct network *n, struct in_addr *ret,
                            struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    uint8_t prefix = n->range_prefix ? n->range_prefix : n->prefix;
    int64_t first = address_to_row(n->range_prefix ? n->range : n->subnet) + 1;
    int64_t last = first - 1 + (INT64_C(1) << (32 - prefix)) - 2, found = 0;
    int r = sql_query(s, &q, err, "SELECT last_address FROM network WHERE name=?", "s", n->name);
    if (r == 0)
        r = sql_next(s, q, err);
    if (r < 0)
        return r;
    int64_t from = r > 0 ? sql_int(q, 0) + 1 : first;
    from = from > last ? first : from;
    r = first_gap(s, n, MAX(from, first), last, &found, err);
    if (r == 0 && found == 0)
        r = first_gap(s, n, first, last, &found, err);
    if (r < 0)
        return r;
    if (found == 0)
        return error_set(err, ERROR_LIMIT, EADDRNOTAVAIL, "network %s has no free address",
                         n->name);
    *ret = address_from_row(found);
    return sql_run(s, err, "UPDATE network SET last_address=? WHERE name=?", "is", found, n->name);
}

int store_port_holder(struct store *s, const char *network, struct in_addr address,
                      char **ret_holder, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err, "SELECT instance_id FROM port WHERE network=? AND address=?",
                      "si", network, address_to_row(address));
    if (r == 0)
        r = sql_next(s, q, err);
    if (r < 0)
        return r;
    *ret_holder = r > 0 ? sql_text(q, 0) : NULL;
    return 0;
}

void store_publish_list_free(struct store_publish *list)
{
    for (struct store_publish *p = list; p && p->instance_id; p++) {
        free(p->instance_id);
        free(p->network);
    }
    free(list);
}

/* The host's side as text: "0.0.0.0", "::1". */
static void host_text(const struct network_publish *p, char ret[INET6_ADDRSTRLEN])
{
    if (p->ipv6)
        inet_ntop(AF_INET6, &p->host_address6, ret, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET, &p->host_address, ret, INET6_ADDRSTRLEN);
}

static void host_of_column(sqlite3_stmt *q, int column, struct network_publish *p)
{
    _cleanup_free_ char *text = sql_text(q, column);
    p->ipv6 = text && strchr(text, ':');
    if (text && inet_pton(p->ipv6 ? AF_INET6 : AF_INET, text,
                          p->ipv6 ? (void *)&p->host_address6 : (void *)&p->host_address) != 1)
        p->host_address.s_addr = 0;
}

int store_publish_put(struct store *s, const char *instance_id, const char *network,
                      const struct network_publish *publish, size_t n, struct error *err)
{
    char host[INET6_ADDRSTRLEN];
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = sql_run(s, err, "DELETE FROM publish WHERE instance_id=? AND network=?", "ss", instance_id,
                network);
    for (size_t i = 0; r == 0 && i < n; i++) {
        host_text(&publish[i], host);
        r = sql_run(s, err,
                    "REPLACE INTO publish(instance_id,network,host,host_port,protocol,port)"
                    " VALUES(?,?,?,?,?,?)",
                    "sssiii", instance_id, network, host, (int64_t)publish[i].host_port,
                    (int64_t)publish[i].protocol, (int64_t)publish[i].port);
    }
    int end = store_end(s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : end;
}

int store_publish_list(struct store *s, const char *instance_id, struct store_publish **ret,
                       struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    struct store_publish *list = xcalloc(1, sizeof(*list));
    size_t n = 0;
    int r = sql_query(s, &q, err,
                      "SELECT p.instance_id, p.network, port.address, port.address6, p.host,"
                      " p.host_port, p.port, p.protocol FROM publish p"
                      " JOIN port USING(instance_id,network)"
                      " WHERE ?1 IS NULL OR p.instance_id=?1",
                      "s", instance_id);
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        list = xreallocarray(list, n + 2, sizeof(*list));
        struct store_publish *p = &list[n++];
        *p = (struct store_publish){
            .instance_id = sql_text(q, 0),
            .network = sql_text(q, 1),
            .target = address_from_row(sql_int(q, 2)),
            .target6 = address6_of_column(q, 3),
            .publish = {.host_port = (uint16_t)sql_int(q, 5),
                        .port = (uint16_t)sql_int(q, 6),
                        .protocol = (uint8_t)sql_int(q, 7)},
        };
        host_of_column(q, 4, &p->publish);
        list[n] = (struct store_publish){NULL};
    }
    if (r < 0) {
        store_publish_list_free(list);
        return r;
    }
    *ret = list;
    return 0;
}
