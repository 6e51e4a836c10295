#include "service/store/network.h"

#include <arpa/inet.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/store/sql.h"

/* Addresses are integers in host order, so that ranges can be compared. */
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

#define NETWORK_COLUMNS "name,id,bridge,subnet,prefix,gateway,mtu,internal,created_ns,labels"
#define PORT_COLUMNS    "instance_id,network,address,mac,link,name,hostname,aliases,attached"

static int64_t to_row(struct in_addr a)
{
    return ntohl(a.s_addr);
}

static struct in_addr from_row(int64_t n)
{
    return (struct in_addr){htonl((uint32_t)n)};
}

static char *pack(char *const *v)
{
    _cleanup_json_ json_t *array = json_from_strv(v);
    return json_to_text(array);
}

static char **unpack(sqlite3_stmt *q, int column)
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

static int find_overlap(struct store *s, const struct network *n, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int64_t first = to_row(n->subnet), last = first + (INT64_C(1) << (32 - n->prefix)) - 1;
    int r = sql_query(s, &q, err,
                      "SELECT name FROM network WHERE subnet<=? AND subnet+(1<<(32-prefix))>?",
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
    _cleanup_free_ char *labels = pack(n->labels);
    return sql_run(s, err,
                   "INSERT INTO network(" NETWORK_COLUMNS ",last_address)"
                   " VALUES(?,?,?,?,?,?,?,?,?,?,?)",
                   "sssiiiiiisi", n->name, n->id, n->bridge, to_row(n->subnet), (int64_t)n->prefix,
                   to_row(n->gateway), (int64_t)n->mtu, (int64_t)n->internal, n->created_ns, labels,
                   to_row(n->subnet));
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
    n->subnet = from_row(sql_int(q, 3));
    n->prefix = (uint8_t)sql_int(q, 4);
    n->gateway = from_row(sql_int(q, 5));
    n->mtu = (uint16_t)sql_int(q, 6);
    n->internal = sql_int(q, 7) != 0;
    n->created_ns = sql_int(q, 8);
    n->labels = unpack(q, 9);
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

void store_port_done(struct store_port *p)
{
    free(p->instance_id);
    free(p->network);
    free(p->mac);
    free(p->link);
    free(p->name);
    free(p->hostname);
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
    _cleanup_free_ char *aliases = pack(p->aliases);
    return sql_run(s, err,
                   "INSERT INTO port(" PORT_COLUMNS ") VALUES(?,?,?,?,?,?,?,?,?)"
                   " ON CONFLICT(instance_id) DO UPDATE SET network=excluded.network,"
                   " address=excluded.address, mac=excluded.mac, link=excluded.link,"
                   " name=excluded.name, hostname=excluded.hostname, aliases=excluded.aliases,"
                   " attached=excluded.attached",
                   "ssisssssi", p->instance_id, p->network, to_row(p->address), p->mac, p->link,
                   p->name, p->hostname, aliases, (int64_t)p->attached);
}

static struct store_port port_of_row(sqlite3_stmt *q)
{
    return (struct store_port){
        .instance_id = sql_text(q, 0),
        .network = sql_text(q, 1),
        .address = from_row(sql_int(q, 2)),
        .mac = sql_text(q, 3),
        .link = sql_text(q, 4),
        .name = sql_text(q, 5),
        .hostname = sql_text(q, 6),
        .aliases = unpack(q, 7),
        .attached = sql_int(q, 8) != 0,
    };
}

int store_port_get(struct store *s, const char *instance_id, struct store_port *ret,
                   struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err, "SELECT " PORT_COLUMNS " FROM port WHERE instance_id=?", "s",
                      instance_id);
    if (r == 0)
        r = sql_next(s, q, err);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "%.12s is on no network", instance_id);
    *ret = port_of_row(q);
    return 0;
}

int store_port_list(struct store *s, const char *network, struct store_port **ret,
                    struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    struct store_port *list = xcalloc(1, sizeof(*list));
    size_t n = 0;
    int r = sql_query(s, &q, err,
                      "SELECT " PORT_COLUMNS " FROM port WHERE ?1 IS NULL OR network=?1"
                      " ORDER BY address",
                      "s", network);
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

int store_port_detached(struct store *s, const char *instance_id, struct error *err)
{
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = sql_run(s, err, "UPDATE port SET attached=0 WHERE instance_id=?", "s", instance_id);
    if (r == 0)
        r = sql_run(s, err, "DELETE FROM publish WHERE instance_id=?", "s", instance_id);
    int end = store_end(s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : end;
}

int store_port_remove(struct store *s, const char *instance_id, struct error *err)
{
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = sql_run(s, err, "DELETE FROM publish WHERE instance_id=?", "s", instance_id);
    if (r == 0)
        r = sql_run(s, err, "DELETE FROM port WHERE instance_id=?", "s", instance_id);
    int end = store_end(s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : end;
}

int store_port_rename(struct store *s, const char *instance_id, const char *name, struct error *err)
{
    return sql_run(s, err, "UPDATE port SET name=? WHERE instance_id=?", "ss", name, instance_id);
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
        if (candidate == to_row(n->gateway))
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
    int64_t first = to_row(n->subnet) + 1;
    int64_t last = to_row(n->subnet) + (INT64_C(1) << (32 - n->prefix)) - 2, found = 0;
    int r = sql_query(s, &q, err, "SELECT last_address FROM network WHERE name=?", "s", n->name);
    if (r == 0)
        r = sql_next(s, q, err);
    if (r < 0)
        return r;
    int64_t from = r > 0 ? sql_int(q, 0) + 1 : first;
    r = first_gap(s, n, MAX(from, first), last, &found, err);
    if (r == 0 && found == 0)
        r = first_gap(s, n, first, last, &found, err);
    if (r < 0)
        return r;
    if (found == 0)
        return error_set(err, ERROR_LIMIT, EADDRNOTAVAIL, "network %s has no free address",
                         n->name);
    *ret = from_row(found);
    return sql_run(s, err, "UPDATE network SET last_address=? WHERE name=?", "is", found, n->name);
}

int store_port_holder(struct store *s, const char *network, struct in_addr address,
                      char **ret_holder, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err, "SELECT instance_id FROM port WHERE network=? AND address=?",
                      "si", network, to_row(address));
    if (r == 0)
        r = sql_next(s, q, err);
    if (r < 0)
        return r;
    *ret_holder = r > 0 ? sql_text(q, 0) : NULL;
    return 0;
}

void store_publish_list_free(struct store_publish *list)
{
    for (struct store_publish *p = list; p && p->instance_id; p++)
        free(p->instance_id);
    free(list);
}

int store_publish_put(struct store *s, const char *instance_id,
                      const struct network_publish *publish, size_t n, struct error *err)
{
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = sql_run(s, err, "DELETE FROM publish WHERE instance_id=?", "s", instance_id);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = sql_run(s, err,
                    "REPLACE INTO publish(instance_id,host_address,host_port,protocol,port)"
                    " VALUES(?,?,?,?,?)",
                    "siiii", instance_id, to_row(publish[i].host_address),
                    (int64_t)publish[i].host_port, (int64_t)publish[i].protocol,
                    (int64_t)publish[i].port);
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
                      "SELECT p.instance_id, port.address, p.host_address, p.host_port, p.port,"
                      " p.protocol FROM publish p JOIN port USING(instance_id)"
                      " WHERE ?1 IS NULL OR p.instance_id=?1",
                      "s", instance_id);
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        list = xreallocarray(list, n + 2, sizeof(*list));
        list[n++] = (struct store_publish){
            .instance_id = sql_text(q, 0),
            .target = from_row(sql_int(q, 1)),
            .publish = {.host_address = from_row(sql_int(q, 2)),
                        .host_port = (uint16_t)sql_int(q, 3),
                        .port = (uint16_t)sql_int(q, 4),
                        .protocol = (uint8_t)sql_int(q, 5)},
        };
        list[n] = (struct store_publish){NULL};
    }
    if (r < 0) {
        store_publish_list_free(list);
        return r;
    }
    *ret = list;
    return 0;
}
