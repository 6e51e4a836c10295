/*
 * Filling the tables of ruleset.c.
 *
 * The usual change is one small netlink transaction. It names the version set too, so it fails with
 * ENOENT when the tables are not there (first use, another version, somebody flushed the ruleset):
 * then both tables are replaced as a whole, in one transaction, with what the store says is
 * attached. So whatever happened to them, the next attach or repair puts them right.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "kernel/nft.h"
#include "service/network/network-internal.h"
#include "service/network/rules.h"

#define RULESET_MAX ((size_t)64 << 20)

static const char *protocol_name(uint8_t protocol)
{
    return protocol == IPPROTO_UDP ? "udp" : "tcp";
}

/* --- elements, one by one --- */

typedef void (*change)(struct nft_batch *b, enum nft_family family, const char *set,
                       const struct nft_data *key, const struct nft_data *value);

static void add(struct nft_batch *b, enum nft_family family, const char *set,
                const struct nft_data *key, const struct nft_data *value)
{
    nft_batch_add(b, family, RULES_TABLE, set, key, value);
}

static void delete (struct nft_batch *b, enum nft_family family, const char *set,
                    const struct nft_data *key, _unused_ const struct nft_data *value)
{
    nft_batch_delete(b, family, RULES_TABLE, set, key);
}

/* As a transaction of its own: one that is absent must not keep the others. */
static void delete_alone(struct nft_batch *b, enum nft_family family, const char *set,
                         const struct nft_data *key, _unused_ const struct nft_data *value)
{
    nft_batch_delete(b, family, RULES_TABLE, set, key);
    (void)!nft_batch_commit(b, NULL);
}

static void each_of_network(struct nft_batch *b, change f, const struct network *n)
{
    struct nft_data bridge = {.len = 0}, same = {.len = 0}, place = {.len = 0},
                    gateway = {.len = 0};
    nft_put_link(&bridge, n->bridge);
    nft_put_link(&same, n->bridge);
    nft_put_link(&same, n->bridge);
    nft_put_link(&place, n->bridge);
    nft_put_address(&place, n->gateway);
    nft_put_address(&gateway, n->gateway);
    if (n->internal)
        f(b, NFT_INET, "internal", &bridge, NULL);
    f(b, NFT_INET, "bridges", &bridge, NULL);
    f(b, NFT_INET, "same", &same, NULL);
    f(b, NFT_INET, "places", &place, NULL);
    f(b, NFT_INET, "gateways", &gateway, NULL);
}

static void each_of_publish(struct nft_batch *b, change f, struct in_addr target,
                            const struct network_publish *p)
{
    struct nft_data key = {.len = 0}, value = {.len = 0};
    bool any = p->host_address.s_addr == htonl(INADDR_ANY);
    if (!any)
        nft_put_address(&key, p->host_address);
    nft_put_protocol(&key, p->protocol);
    nft_put_port(&key, p->host_port);
    nft_put_address(&value, target);
    nft_put_port(&value, p->port);
    f(b, NFT_INET, any ? "published_any" : "published", &key, &value);
}

static void each_of_port(struct nft_batch *b, change f, const struct store_port *port,
                         const struct network_publish *publish, size_t n_publish)
{
    struct nft_data key = {.len = 0}, member = {.len = 0};
    struct link_mac mac;
    if (link_mac_parse(port->mac, &mac) == 0) {
        nft_put_link(&key, port->link);
        nft_put_mac(&key, mac.bytes);
        nft_put_address(&key, port->address);
        f(b, NFT_BRIDGE, "ports", &key, NULL);
    }
    nft_put_address(&member, port->address);
    f(b, NFT_INET, "members", &member, NULL);
    for (size_t i = 0; i < n_publish; i++)
        each_of_publish(b, f, port->address, &publish[i]);
}

/* --- the whole tables as text --- */

struct elements {
    struct buf bridges, internal, same, places, gateways, closed, published, published_any, members,
        ports;
    bool failed;
};

static void elements_done(struct elements *e)
{
    struct buf *all[] = {&e->bridges, &e->internal,  &e->same,          &e->places,  &e->gateways,
                         &e->closed,  &e->published, &e->published_any, &e->members, &e->ports};
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        buf_done(all[i]);
}

#define put_text(e, list, ...) ((e)->failed |= buf_addf(&(e)->list, __VA_ARGS__) < 0)

static void elements_of_network(struct elements *e, const struct network *n)
{
    struct address_text gateway = address_text(n->gateway);
    put_text(e, bridges, "\"%s\",", n->bridge);
    if (n->internal)
        put_text(e, internal, "\"%s\",", n->bridge);
    put_text(e, same, "\"%s\" . \"%s\",", n->bridge, n->bridge);
    put_text(e, places, "\"%s\" . %s,", n->bridge, gateway.s);
    put_text(e, gateways, "%s,", gateway.s);
}

static void elements_of_publish(struct elements *e, const struct store_publish *row)
{
    const struct network_publish *p = &row->publish;
    struct address_text target = address_text(row->target), host = address_text(p->host_address);
    if (p->host_address.s_addr == htonl(INADDR_ANY))
        put_text(e, published_any, "%s . %u : %s . %u,", protocol_name(p->protocol), p->host_port,
                 target.s, p->port);
    else
        put_text(e, published, "%s . %s . %u : %s . %u,", host.s, protocol_name(p->protocol),
                 p->host_port, target.s, p->port);
}

static void elements_of_port(struct elements *e, const struct store_port *p)
{
    struct address_text address = address_text(p->address);
    put_text(e, members, "%s,", address.s);
    put_text(e, ports, "\"%s\" . %s . %s,", p->link, p->mac, address.s);
}

static int collect_rows(struct store *s, struct elements *e, struct error *err)
{
    struct network **networks = NULL;
    struct store_port *ports = NULL;
    struct store_publish *publish = NULL;
    int r = store_network_list(s, &networks, err);
    if (r == 0)
        r = store_port_list(s, NULL, &ports, err);
    if (r == 0)
        r = store_publish_list(s, NULL, &publish, err);
    for (size_t i = 0; r == 0 && networks[i]; i++)
        elements_of_network(e, networks[i]);
    for (struct store_port *p = ports; r == 0 && p->instance_id; p++)
        if (p->attached)
            elements_of_port(e, p);
    for (struct store_publish *p = publish; r == 0 && p->instance_id; p++)
        elements_of_publish(e, p);
    network_list_free(networks);
    store_port_list_free(ports);
    store_publish_list_free(publish);
    return r;
}

/* The links that bridge_up noted when it switched forwarding on. */
static void collect_closed(struct store *s, struct elements *e)
{
    _cleanup_free_ char *path = path_join(s->run, "networks/closed"), *text = NULL;
    if (file_read(AT_FDCWD, path, 65536, &text) < 0)
        return;
    _cleanup_strv_ char **names = strv_split(text, '\n');
    for (size_t i = 0; names[i]; i++)
        if (*names[i])
            put_text(e, closed, "\"%s\",", names[i]);
}

static int put_set(struct buf *out, const char *what, const char *name, const char *type,
                   const struct buf *elements)
{
    if (elements->len == 0)
        return buf_addf(out, "%s %s { type %s; }\n", what, name, type);
    return buf_addf(out, "%s %s { type %s; elements = { %s } }\n", what, name, type,
                    elements->data);
}

static int compose(struct store *s, struct buf *out, struct error *err)
{
    struct elements e = {.failed = false};
    struct buf *all[] = {&e.bridges, &e.internal,  &e.same,          &e.places,  &e.gateways,
                         &e.closed,  &e.published, &e.published_any, &e.members, &e.ports};
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        all[i]->max = RULESET_MAX;
    int r = collect_rows(s, &e, err);
    collect_closed(s, &e);
    /* `table x` before `delete table x` makes the deletion work whether it was there or not. */
    bool failed =
        e.failed ||
        buf_addf(out, "table inet proa\ndelete table inet proa\n"
                      "table bridge proa\ndelete table bridge proa\n"
                      "table inet proa {\nset " RULES_VERSION
                      " { type mark; elements = { 1 } }\n") < 0 ||
        put_set(out, "set", "bridges", "ifname", &e.bridges) < 0 ||
        put_set(out, "set", "internal", "ifname", &e.internal) < 0 ||
        put_set(out, "set", "same", "ifname . ifname", &e.same) < 0 ||
        put_set(out, "set", "places", "ifname . ipv4_addr", &e.places) < 0 ||
        put_set(out, "set", "gateways", "ipv4_addr", &e.gateways) < 0 ||
        put_set(out, "set", "closed", "ifname", &e.closed) < 0 ||
        put_set(out, "set", "members", "ipv4_addr", &e.members) < 0 ||
        put_set(out, "map", "published",
                "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
                &e.published) < 0 ||
        put_set(out, "map", "published_any", "inet_proto . inet_service : ipv4_addr . inet_service",
                &e.published_any) < 0 ||
        buf_addf(out, "%s}\ntable bridge proa {\n", rules_inet_chains) < 0 ||
        put_set(out, "set", "ports", "ifname . ether_addr . ipv4_addr", &e.ports) < 0 ||
        buf_addf(out, "%s}\n", rules_bridge_chains) < 0;
    elements_done(&e);
    if (r == 0 && failed)
        r = error_set(err, ERROR_LIMIT, EFBIG, "the ruleset is too large");
    return r;
}

static int load(struct store *s, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(RULESET_MAX);
    int r = compose(s, &text, err);
    if (r == 0)
        r = nft_load(text.data, text.len, err);
    return r;
}

/* --- what the rest of the folder calls --- */

static int change_now(const struct network *n, const struct store_port *port,
                      const struct network_publish *publish, size_t n_publish, struct error *err)
{
    _cleanup_nft_batch_ struct nft_batch *b = nft_batch_new();
    struct nft_data version = {.bytes = {0}, .len = 4};
    uint32_t one = 1;
    memcpy(version.bytes, &one, sizeof(one));
    add(b, NFT_INET, RULES_VERSION, &version, NULL);
    if (n)
        each_of_network(b, add, n);
    if (port)
        each_of_port(b, add, port, publish, n_publish);
    return nft_batch_commit(b, err);
}

/* A host port that still leads to an instance that was killed: this one holds the socket. */
static void clear_way(const struct store_port *port, const struct network_publish *publish,
                      size_t n_publish)
{
    _cleanup_nft_batch_ struct nft_batch *b = nft_batch_new();
    for (size_t i = 0; i < n_publish; i++)
        each_of_publish(b, delete_alone, port->address, &publish[i]);
}

int rules_add(struct store *s, const struct network *n, const struct store_port *port,
              const struct network_publish *publish, size_t n_publish, struct error *err)
{
    _cleanup_close_ int lock = -EBADF;
    int r = change_now(n, port, publish, n_publish, err);
    if (r == -EEXIST || r == -EBUSY) {
        clear_way(port, publish, n_publish);
        r = change_now(n, port, publish, n_publish, err);
    }
    if (r != -ENOENT)
        return r;
    r = network_lock(s, LOCK_RULES, LOCK_EX, &lock, err);
    if (r < 0)
        return r;
    r = change_now(n, port, publish, n_publish, err); /* somebody may have been quicker */
    return r == -ENOENT ? load(s, err) : r;
}

void rules_remove_port(const struct store_port *port, const struct network_publish *publish,
                       size_t n_publish)
{
    _cleanup_nft_batch_ struct nft_batch *b = nft_batch_new();
    each_of_port(b, delete, port, publish, n_publish);
    if (nft_batch_commit(b, NULL) < 0)
        each_of_port(b, delete_alone, port, publish, n_publish);
}

void rules_remove_network(const struct network *n)
{
    _cleanup_nft_batch_ struct nft_batch *b = nft_batch_new();
    each_of_network(b, delete, n);
    if (nft_batch_commit(b, NULL) < 0)
        each_of_network(b, delete_alone, n);
}

int rules_remove_all(struct error *err)
{
    static const enum nft_family families[] = {NFT_INET, NFT_BRIDGE};
    _cleanup_nft_batch_ struct nft_batch *b = nft_batch_new();
    int result = 0;
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        nft_batch_delete_table(b, families[i], RULES_TABLE);
        int r = nft_batch_commit(b, NULL);
        if (r < 0 && r != -ENOENT && result == 0)
            result = error_errno(err, r, "remove the tables named " RULES_TABLE);
    }
    return result;
}

int rules_reload(struct store *s, struct error *err)
{
    _cleanup_close_ int lock = -EBADF;
    int r = network_lock(s, LOCK_RULES, LOCK_EX, &lock, err);
    return r < 0 ? r : load(s, err);
}

int rules_repair(struct store *s, struct error *err)
{
    return rules_add(s, NULL, NULL, NULL, 0, err);
}
