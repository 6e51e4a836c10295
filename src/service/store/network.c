#include "service/store/network.h"

#include <arpa/inet.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/store/network-internal.h"

const char store_network_schema[] = "CREATE TABLE network("
                                    " name TEXT PRIMARY KEY NOT NULL,"
                                    " id TEXT NOT NULL UNIQUE,"
                                    " bridge TEXT NOT NULL UNIQUE,"
                                    " subnet INTEGER NOT NULL,"
                                    " prefix INTEGER NOT NULL,"
                                    " gateway INTEGER NOT NULL,"
                                    " mtu INTEGER NOT NULL,"
                                    " internal INTEGER NOT NULL,"
                                    " created_ns INTEGER NOT NULL,"
                                    " labels TEXT NOT NULL,"
                                    " last_address INTEGER NOT NULL"
                                    ") WITHOUT ROWID;"
                                    "CREATE TABLE port("
                                    " instance_id TEXT PRIMARY KEY NOT NULL,"
                                    " network TEXT NOT NULL REFERENCES network(name),"
                                    " address INTEGER NOT NULL,"
                                    " mac TEXT NOT NULL,"
                                    " link TEXT NOT NULL UNIQUE,"
                                    " name TEXT NOT NULL,"
                                    " hostname TEXT,"
                                    " aliases TEXT NOT NULL,"
                                    " attached INTEGER NOT NULL,"
                                    " UNIQUE(network, address),"
                                    " UNIQUE(network, mac)"
                                    ") WITHOUT ROWID;"
                                    "CREATE TABLE publish("
                                    " instance_id TEXT NOT NULL,"
                                    " host_address INTEGER NOT NULL,"
                                    " host_port INTEGER NOT NULL,"
                                    " protocol INTEGER NOT NULL,"
                                    " port INTEGER NOT NULL,"
                                    " PRIMARY KEY(host_address, host_port, protocol)"
                                    ") WITHOUT ROWID;"
                                    "CREATE INDEX publish_by_instance ON publish(instance_id);";

/* Several ports of an instance, IPv6, and other kinds of networks. IPv6 addresses are text; an
 * absent address is NULL. What only some networks have is JSON in `options`. */
const char store_ports_schema[] =
    "ALTER TABLE network ADD COLUMN subnet6 TEXT;"
    "ALTER TABLE network ADD COLUMN prefix6 INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE network ADD COLUMN gateway6 TEXT;"
    "ALTER TABLE network ADD COLUMN options TEXT NOT NULL DEFAULT '{}';"
    "CREATE TABLE port_new("
    " instance_id TEXT NOT NULL,"
    " network TEXT NOT NULL REFERENCES network(name),"
    " position INTEGER NOT NULL,"
    " address INTEGER,"
    " address6 TEXT,"
    " mac TEXT NOT NULL,"
    " link TEXT NOT NULL UNIQUE,"
    " name TEXT NOT NULL,"
    " hostname TEXT,"
    " aliases TEXT NOT NULL,"
    " attached INTEGER NOT NULL,"
    " PRIMARY KEY(instance_id, network),"
    " UNIQUE(network, address),"
    " UNIQUE(network, address6),"
    " UNIQUE(network, mac)"
    ") WITHOUT ROWID;"
    "INSERT INTO port_new SELECT instance_id, network, 0, address, NULL, mac, link, name, hostname,"
    " aliases, attached FROM port;"
    "DROP TABLE port;"
    "ALTER TABLE port_new RENAME TO port;"
    "CREATE TABLE publish_new("
    " instance_id TEXT NOT NULL,"
    " network TEXT NOT NULL,"
    " host TEXT NOT NULL,"
    " host_port INTEGER NOT NULL,"
    " protocol INTEGER NOT NULL,"
    " port INTEGER NOT NULL,"
    " PRIMARY KEY(host, host_port, protocol)"
    ") WITHOUT ROWID;"
    "INSERT INTO publish_new SELECT p.instance_id, port.network,"
    " (host_address>>24)||'.'||(host_address>>16&255)||'.'||(host_address>>8&255)||'.'||"
    "(host_address&255), host_port, protocol, port"
    " FROM publish p JOIN port USING(instance_id);"
    "DROP TABLE publish;"
    "ALTER TABLE publish_new RENAME TO publish;"
    "CREATE INDEX publish_by_instance ON publish(instance_id);";

/* What an instance may receive and send there, in bytes a second. */
const char store_rate_schema[] = "ALTER TABLE port ADD COLUMN rate_in INTEGER NOT NULL DEFAULT 0;"
                                 "ALTER TABLE port ADD COLUMN rate_out INTEGER NOT NULL DEFAULT 0;";

const char store_lease_schema[] = "ALTER TABLE port ADD COLUMN lease TEXT;";
/* enum network_priority */
const char store_priority_schema[] =
    "ALTER TABLE port ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;";
/* 0: the usual number (NETWORK_CONNECTIONS_USUAL) */
const char store_connections_schema[] =
    "ALTER TABLE port ADD COLUMN connections INTEGER NOT NULL DEFAULT 0;";

#define NETWORK_COLUMNS                                                                            \
    "name,id,bridge,subnet,prefix,gateway,mtu,internal,created_ns,labels,subnet6,prefix6,"         \
    "gateway6,options"

int64_t address_to_row(struct in_addr a)
{
    return ntohl(a.s_addr);
}

struct in_addr address_from_row(int64_t n)
{
    return (struct in_addr){htonl((uint32_t)n)};
}

void address6_to_row(const struct in6_addr *a, struct address6_row *ret)
{
    inet_ntop(AF_INET6, a, ret->text, sizeof(ret->text));
    ret->value = IN6_IS_ADDR_UNSPECIFIED(a) ? NULL : ret->text;
}

struct in6_addr address6_of_column(sqlite3_stmt *q, int column)
{
    struct in6_addr a = IN6ADDR_ANY_INIT;
    _cleanup_free_ char *text = sql_text(q, column);
    if (text && inet_pton(AF_INET6, text, &a) != 1)
        a = in6addr_any;
    return a;
}

char *strv_to_row(char *const *v)
{
    _cleanup_json_ json_t *array = json_from_strv(v);
    return json_to_text(array);
}

char **strv_of_column(sqlite3_stmt *q, int column)
{
    _cleanup_free_ char *text = sql_text(q, column);
    _cleanup_json_ json_t *array = text ? json_loads(text, 0, NULL) : NULL;
    char **v = strv_copy(NULL);
    size_t i;
    json_t *item;
    json_array_foreach(array, i, item) if (json_is_string(item))
        strv_add(&v, json_string_value(item));
    return v;
}

static char *options_to_row(const struct network *n)
{
    _cleanup_json_ json_t *o = json_object(), *peers = json_from_strv(n->peers);
    json_object_set_new(o, "driver", json_string(network_driver_name(n->driver)));
    json_object_set_new(o, "isolated", json_boolean(n->isolated));
    if (n->parent)
        json_object_set_new(o, "parent", json_string(n->parent));
    json_object_set_new(o, "vxlan_id", json_integer(n->vxlan_id));
    json_object_set_new(o, "vxlan_port", json_integer(n->vxlan_port));
    json_object_set(o, "peers", peers);
    if (n->peer_publics && n->peer_publics[0]) {
        json_object_set_new(o, "peer_publics", json_from_strv(n->peer_publics));
        json_object_set_new(o, "wireguard_port", json_integer(n->wireguard_port));
    }
    if (n->peer_key)
        json_object_set_new(o, "peer_key", json_string(n->peer_key));
    json_object_set_new(o, "range", json_integer(address_to_row(n->range)));
    json_object_set_new(o, "range_prefix", json_integer(n->range_prefix));
    return json_to_text(o);
}

static void options_of_row(struct network *n, const char *text)
{
    static const char where[] = "network";
    _cleanup_json_ json_t *o = text ? json_loads(text, 0, NULL) : NULL;
    struct error ignored = ERROR_INIT;
    const char *driver = "bridge", *parent = NULL, *key = NULL;
    uint32_t port = 0, range = 0, range_prefix = 0, sealed_port = 0;
    if (!o || json_get_string(o, where, "driver", &driver, &ignored) < 0 ||
        json_get_bool(o, where, "isolated", &n->isolated, &ignored) < 0 ||
        json_get_string(o, where, "parent", &parent, &ignored) < 0 ||
        json_get_u32(o, where, "vxlan_id", &n->vxlan_id, &ignored) < 0 ||
        json_get_u32(o, where, "vxlan_port", &port, &ignored) < 0 ||
        json_get_u32(o, where, "range", &range, &ignored) < 0 ||
        json_get_u32(o, where, "range_prefix", &range_prefix, &ignored) < 0 ||
        json_get_string(o, where, "peer_key", &key, &ignored) < 0 ||
        json_get_strv(o, where, "peers", &n->peers, &ignored) < 0 ||
        json_get_strv(o, where, "peer_publics", &n->peer_publics, &ignored) < 0 ||
        json_get_u32(o, where, "wireguard_port", &sealed_port, &ignored) < 0)
        return;
    n->range = address_from_row(range);
    n->range_prefix = (uint8_t)range_prefix;
    (void)!network_driver_from_name(driver, &n->driver);
    n->vxlan_port = (uint16_t)port;
    n->wireguard_port = (uint16_t)sealed_port;
    n->parent = xstrdup(parent);
    n->peer_key = xstrdup(key);
}

static int find_overlap(struct store *s, const struct network *n, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int64_t first = address_to_row(n->subnet), last = first + (INT64_C(1) << (32 - n->prefix)) - 1;
    if (n->prefix == 0)
        return 0; /* none of its own */
    int r = sql_query(s, &q, err,
                      "SELECT name FROM network WHERE prefix>0 AND subnet<=? AND"
                      " subnet+(1<<(32-prefix))>?",
                      "ii", last, first);
    if (r == 0)
        r = sql_next(s, q, err);
    if (r <= 0)
        return r;
    _cleanup_free_ char *other = sql_text(q, 0);
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &n->subnet, text, sizeof(text));
    return error_set(err, ERROR_CONFLICT, EEXIST, "subnet %s/%u overlaps that of network %s", text,
                     n->prefix, other);
}

static int add_network(struct store *s, const struct network *n, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err, "SELECT 1 FROM network WHERE name=?", "s", n->name);
    if (r == 0)
        r = sql_next(s, q, err);
    if (r > 0)
        return error_set(err, ERROR_CONFLICT, EEXIST, "a network named %s exists already", n->name);
    if (r == 0)
        r = find_overlap(s, n, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *labels = strv_to_row(n->labels), *options = options_to_row(n);
    struct address6_row subnet6, gateway6;
    address6_to_row(&n->subnet6, &subnet6);
    address6_to_row(&n->gateway6, &gateway6);
    return sql_run(s, err,
                   "INSERT INTO network(" NETWORK_COLUMNS ",last_address)"
                   " VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                   "sssiiiiiississi", n->name, n->id, n->bridge, address_to_row(n->subnet),
                   (int64_t)n->prefix, address_to_row(n->gateway), (int64_t)n->mtu,
                   (int64_t)n->internal, n->created_ns, labels, subnet6.value, (int64_t)n->prefix6,
                   gateway6.value, options, address_to_row(n->subnet));
}

int store_network_add(struct store *s, const struct network *n, struct error *err)
{
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = add_network(s, n, err);
    int end = store_end(s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : end;
}

static struct network *network_of_row(sqlite3_stmt *q)
{
    struct network *n = xnew(struct network);
    n->name = sql_text(q, 0);
    n->id = sql_text(q, 1);
    n->bridge = sql_text(q, 2);
    n->subnet = address_from_row(sql_int(q, 3));
    n->prefix = (uint8_t)sql_int(q, 4);
    n->gateway = address_from_row(sql_int(q, 5));
    n->mtu = (uint16_t)sql_int(q, 6);
    n->internal = sql_int(q, 7) != 0;
    n->created_ns = sql_int(q, 8);
    n->labels = strv_of_column(q, 9);
    n->subnet6 = address6_of_column(q, 10);
    n->prefix6 = (uint8_t)sql_int(q, 11);
    n->gateway6 = address6_of_column(q, 12);
    _cleanup_free_ char *options = sql_text(q, 13);
    options_of_row(n, options);
    return n;
}

static int find_network(struct store *s, const char *where, const char *text, struct network **ret,
                        struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    _cleanup_free_ char *sql =
        xasprintf("SELECT " NETWORK_COLUMNS " FROM network WHERE %s LIMIT 2", where);
    _cleanup_network_ struct network *n = NULL;
    int r = sql_query(s, &q, err, sql, "s", text);
    if (r == 0)
        r = sql_next(s, q, err);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    n = network_of_row(q);
    r = sql_next(s, q, err);
    if (r > 0)
        return error_set(err, ERROR_CONFLICT, EEXIST,
                         "%s is the beginning of several networks' ids", text);
    if (r == 0)
        *ret = TAKE_PTR(n);
    return r;
}

int store_network_find(struct store *s, const char *reference, struct network **ret,
                       struct error *err)
{
    size_t len = strlen(reference);
    int r = find_network(s, "name=?", reference, ret, err);
    if (r == -ENOENT && len >= 4 && len <= 64 && is_hex(reference, len))
        r = find_network(s, "substr(id,1,length(?1))=?1", reference, ret, err);
    if (r == -ENOENT)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "no such network: %s; see `proa network ls`",
                         reference);
    return r;
}

int store_network_set_bridge(struct store *s, const char *name, const char *bridge,
                             struct error *err)
{
    return sql_run(s, err, "UPDATE network SET bridge=? WHERE name=?", "ss", bridge, name);
}

int store_network_list(struct store *s, struct network ***ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    struct network **list = xcalloc(1, sizeof(*list));
    size_t n = 0;
    int r = sql_query(s, &q, err, "SELECT " NETWORK_COLUMNS " FROM network ORDER BY name", "");
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        list = xreallocarray(list, n + 2, sizeof(*list));
        list[n++] = network_of_row(q);
        list[n] = NULL;
    }
    if (r < 0) {
        network_list_free(list);
        return r;
    }
    *ret = list;
    return 0;
}

static int remove_network(struct store *s, const char *name, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r =
        sql_query(s, &q, err, "SELECT count(*), min(name) FROM port WHERE network=?", "s", name);
    if (r == 0)
        r = sql_next(s, q, err);
    if (r < 0)
        return r;
    int64_t members = sql_int(q, 0);
    if (members > 0) {
        _cleanup_free_ char *first = sql_text(q, 1);
        return error_set(err, ERROR_CONFLICT, EBUSY, "network %s is used by %s%s", name, first,
                         members > 1 ? " and others" : "");
    }
    return sql_run(s, err, "DELETE FROM network WHERE name=?", "s", name);
}

int store_network_remove(struct store *s, const char *name, struct error *err)
{
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = remove_network(s, name, err);
    int end = store_end(s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : end;
}
