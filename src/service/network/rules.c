/*
 * Filling the tables of ruleset.c.
 *
 * The usual change is one small netlink transaction. It names the version set too, so it fails with
 * ENOENT when the tables are not there (first use, another version, somebody flushed the ruleset):
 * then both tables are replaced as a whole, in one transaction, with what the store says is
 * attached. So whatever happened to them, the next attach or repair puts them right; and after an
 * update of the program the first command does (network_renew).
 */
#include <string.h>
#include <sys/file.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/strv.h"
#include "kernel/nft_dump.h"
#include "service/network/connections.h"
#include "service/network/network-internal.h"
#include "service/network/rules.h"
#include "service/network/span.h"
#include "service/network/tunnel.h"

const char *protocol_name(uint8_t protocol)
{
    return protocol == IPPROTO_UDP ? "udp" : protocol == IPPROTO_SCTP ? "sctp" : "tcp";
}

static struct nft_batch *new_batch(const struct store *s)
{
    return nft_batch_new(store_table(s, RULES_TABLE).name);
}

/* --- elements, one by one --- */

typedef void (*change)(struct nft_batch *b, enum nft_family family, const char *set,
                       const struct nft_data *key, const struct nft_data *value);

static void add(struct nft_batch *b, enum nft_family family, const char *set,
                const struct nft_data *key, const struct nft_data *value)
{
    nft_batch_add(b, family, set, key, value);
}

static void delete (struct nft_batch *b, enum nft_family family, const char *set,
                    const struct nft_data *key, _unused_ const struct nft_data *value)
{
    nft_batch_delete(b, family, set, key);
}

/* As a transaction of its own: one that is absent must not keep the others. */
static void delete_alone(struct nft_batch *b, enum nft_family family, const char *set,
                         const struct nft_data *key, _unused_ const struct nft_data *value)
{
    nft_batch_delete(b, family, set, key);
    (void)!nft_batch_commit(b, NULL);
}

static void put_bridge(struct nft_batch *b, change f, const char *set, const char *bridge)
{
    struct nft_data key = {.len = 0};
    nft_put_link(&key, bridge);
    f(b, NFT_INET, set, &key, NULL);
}

static void put_tunnel(struct nft_data *key, const struct network *n)
{
    nft_put_port(key, n->vxlan_port);
    nft_put_u24(key, n->vxlan_id);
}

static void each_of_tunnel(struct nft_batch *b, change f, const struct network *n)
{
    struct nft_data tunnel = {.len = 0}, port = {.len = 0};
    put_tunnel(&tunnel, n);
    f(b, NFT_INET, "tunnels", &tunnel, NULL);
    if (tunnel_is_sealed(n))
        f(b, NFT_INET, "sealed", &tunnel, NULL);
    nft_put_port(&port, span_port(n));
    port.len = sizeof(uint16_t); /* one field alone is not padded */
    f(b, NFT_INET, "teller_ports", &port, NULL);
    for (size_t i = 0; n->peers[i]; i++) {
        struct nft_data key = {.len = 0}, teller = {.len = 0};
        struct in_addr peer = tunnel_peer_address(n, i);
        nft_put_address(&key, peer);
        put_tunnel(&key, n);
        f(b, NFT_INET, "tunnel_peers", &key, NULL);
        nft_put_address(&teller, peer);
        nft_put_port(&teller, span_port(n));
        f(b, NFT_INET, "tellers", &teller, NULL);
    }
}

static void each_of_network(struct nft_batch *b, change f, const struct network *n)
{
    struct nft_data same = {.len = 0}, place = {.len = 0}, gateway = {.len = 0};
    nft_put_link(&same, n->bridge);
    nft_put_link(&same, n->bridge);
    nft_put_link(&place, n->bridge);
    nft_put_address(&place, n->gateway);
    nft_put_address(&gateway, n->gateway);
    if (n->internal)
        put_bridge(b, f, "internal", n->bridge);
    if (n->isolated)
        put_bridge(b, f, "isolated", n->bridge);
    if (n->prefix6 == 0)
        put_bridge(b, f, "without6", n->bridge);
    if (n->vxlan_id)
        each_of_tunnel(b, f, n);
    put_bridge(b, f, "bridges", n->bridge);
    f(b, NFT_INET, "same", &same, NULL);
    f(b, NFT_INET, "places", &place, NULL);
    f(b, NFT_INET, "gateways", &gateway, NULL);
}

/* Where the packets of a published port go; false when the instance has no address for it. */
static bool put_publish(const struct network_publish *p, struct in_addr target,
                        const struct in6_addr *target6, struct nft_data *key,
                        struct nft_data *value)
{
    if (!publish_is_any(p) && p->ipv6)
        nft_put_address6(key, &p->host_address6);
    else if (!publish_is_any(p))
        nft_put_address(key, p->host_address);
    nft_put_protocol(key, p->protocol);
    nft_put_port(key, p->host_port);
    if (p->ipv6)
        nft_put_address6(value, target6);
    else
        nft_put_address(value, target);
    nft_put_port(value, p->port);
    return p->ipv6 ? !IN6_IS_ADDR_UNSPECIFIED(target6) : target.s_addr != 0;
}

static void each_of_publish(struct nft_batch *b, change f, const struct store_port *port,
                            const struct network_publish *p)
{
    static const char *const sets[2][2] = {{"published", "published_any"},
                                           {"published6", "published6_any"}};
    struct nft_data key = {.len = 0}, value = {.len = 0};
    if (put_publish(p, port->address, &port->address6, &key, &value))
        f(b, NFT_INET, sets[p->ipv6][publish_is_any(p)], &key, &value);
}

static void each_of_address6(struct nft_batch *b, change f, const struct store_port *port,
                             const struct link_mac *mac, const struct in6_addr *address)
{
    struct nft_data key = {.len = 0}, target = {.len = 0};
    nft_put_link(&key, port->link);
    nft_put_mac(&key, mac->bytes);
    nft_put_address6(&key, address);
    f(b, NFT_BRIDGE, "ports6", &key, NULL);
    nft_put_link(&target, port->link);
    nft_put_address6(&target, address);
    f(b, NFT_BRIDGE, "targets6", &target, NULL);
}

static void each_of_ipv6(struct nft_batch *b, change f, const struct store_port *port,
                         const struct link_mac *mac)
{
    struct nft_data member = {.len = 0};
    struct in6_addr link_local = link_local_address(mac);
    if (IN6_IS_ADDR_UNSPECIFIED(&port->address6))
        return;
    each_of_address6(b, f, port, mac, &port->address6);
    each_of_address6(b, f, port, mac, &link_local);
    nft_put_address6(&member, &port->address6);
    f(b, NFT_INET, "members6", &member, NULL);
}

static void each_of_priority(struct nft_batch *b, change f, const struct store_port *port)
{
    struct nft_data link = {.len = 0}, address = {.len = 0}, address6 = {.len = 0},
                    value = {.len = 0};
    uint32_t number = priority_number(port->priority);
    if (number == 0)
        return;
    nft_put_bytes(&value, &number, sizeof(number));
    nft_put_link(&link, port->link);
    f(b, NFT_BRIDGE, "preferred", &link, &value);
    nft_put_address(&address, port->address);
    if (port->address.s_addr)
        f(b, NFT_INET, "priorities", &address, &value);
    nft_put_address6(&address6, &port->address6);
    if (!IN6_IS_ADDR_UNSPECIFIED(&port->address6))
        f(b, NFT_INET, "priorities6", &address6, &value);
}

/* Apart from the rest: a port is one for as long as it has a link. */
static void put_port_link(struct nft_batch *b, change f, const struct store_port *port)
{
    struct nft_data link = {.len = 0};
    nft_put_link(&link, port->link);
    f(b, NFT_BRIDGE, "links", &link, NULL);
}

/* What it has counted goes with it. */
static void each_of_connections(struct nft_batch *b, change f, const struct network *n,
                                const struct store_port *port, const struct link_mac *mac)
{
    struct nft_data key = {.len = 0};
    struct connections_count count;
    if (!n || !connections_count(port, &count))
        return;
    nft_put_link(&key, connections_bridge(n));
    nft_put_mac(&key, mac->bytes);
    if (f == add)
        nft_batch_add_goto(b, NFT_INET, "counted", &key, count.chain);
    else
        f(b, NFT_INET, "counted", &key, NULL);
    for (uint32_t k = 0; k < count.lists; k++) {
        struct nft_data list = key;
        if (count.lists > 1)
            nft_put_bytes(&list, &k, sizeof(k));
        if (f == add)
            nft_batch_add_counting(b, NFT_INET, count.chain, &list, count.most);
        else
            f(b, NFT_INET, count.chain, &list, NULL);
    }
}

static void each_of_port(struct nft_batch *b, change f, const struct network *n,
                         const struct store_port *port, const struct network_publish *publish,
                         size_t n_publish)
{
    struct nft_data key = {.len = 0}, own = {.len = 0}, member = {.len = 0};
    struct link_mac mac;
    if (link_mac_parse(port->mac, &mac) < 0)
        return;
    nft_put_link(&own, port->link);
    nft_put_mac(&own, mac.bytes);
    f(b, NFT_BRIDGE, "macs", &own, NULL);
    if (port->address.s_addr) {
        nft_put_link(&key, port->link);
        nft_put_mac(&key, mac.bytes);
        nft_put_address(&key, port->address);
        f(b, NFT_BRIDGE, "ports", &key, NULL);
        nft_put_address(&member, port->address);
        f(b, NFT_INET, "members", &member, NULL);
    } else if (!port->lease) {
        f(b, NFT_BRIDGE, "free", &own, NULL);
    }
    each_of_ipv6(b, f, port, &mac);
    each_of_priority(b, f, port);
    each_of_connections(b, f, n, port, &mac);
    for (size_t i = 0; i < n_publish; i++)
        each_of_publish(b, f, port, &publish[i]);
}

/* --- what the rest of the folder calls --- */

/* A chain of a link that has just gone cannot be made, and need not. */
static int load_walls(struct store *s, struct error *err)
{
    struct store_port *ports;
    int r = store_port_list(s, NULL, &ports, err);
    if (r < 0)
        return r;
    for (struct store_port *p = ports; p->instance_id; p++) {
        _cleanup_network_ struct network *n = NULL;
        if (p->attached && store_network_find(s, p->network, &n, NULL) == 0 && wall_stands_at(n, p))
            (void)!wall_add(s, p, NULL);
    }
    store_port_list_free(ports);
    return 0;
}

static int see_any(void *context, const struct nft_element *e)
{
    bool *there = context;
    (void)e;
    *there = true;
    return 0;
}

static void see_none(void *context)
{
    bool *there = context;
    *there = false;
}

/* Roots of an older program shared one table, which refuses what it does not know. */
static int check_shared(struct error *err)
{
    bool there = false;
    int r = nft_dump_whole(NFT_INET, RULES_TABLE, RULES_SHARED, see_any, see_none, &there, err);
    if (r < 0 || !there)
        return r;
    return error_set(err, ERROR_CONFLICT, EBUSY,
                     "the rules in the kernel are an older proa's, which all roots shared: run "
                     "`proa ps` with the default root, and then with each other one (--root)");
}

static int load(struct store *s, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(RULESET_MAX);
    int r = s->tag ? check_shared(err) : 0;
    if (r == 0)
        r = rules_compose(s, &text, err);
    if (r == 0)
        r = nft_load(text.data, text.len, err);
    return r < 0 ? r : load_walls(s, err);
}

static int put_now(struct store *s, const struct network *n, const struct store_port *port,
                   const struct network_publish *publish, size_t n_publish, struct error *err)
{
    _cleanup_nft_batch_ struct nft_batch *b = new_batch(s);
    struct nft_data version = {.bytes = {0}, .len = 4};
    uint32_t one = 1;
    memcpy(version.bytes, &one, sizeof(one));
    add(b, NFT_INET, RULES_VERSION, &version, NULL);
    if (n && !n->parent)
        each_of_network(b, add, n);
    if (port) {
        put_port_link(b, add, port);
        each_of_port(b, add, n, port, publish, n_publish);
    }
    return nft_batch_commit(b, err);
}

/* A host port that still leads to an instance that was killed: this one holds the socket. */
static void clear_way(struct store *s, const struct store_port *port,
                      const struct network_publish *publish, size_t n_publish)
{
    _cleanup_nft_batch_ struct nft_batch *b = new_batch(s);
    for (size_t i = 0; i < n_publish; i++)
        each_of_publish(b, delete_alone, port, &publish[i]);
}

static void see_table(void *context, const char *name)
{
    char ***names = context;
    if (strncmp(name, RULES_TABLE "-", strlen(RULES_TABLE "-")) == 0 ||
        strcmp(name, RULES_TABLE) == 0)
        strv_add(names, name);
}

/* The same in the tables of other roots, where the instance's end is not known yet. */
static void clear_others(struct store *s, const struct store_port *port,
                         const struct network_publish *publish, size_t n_publish)
{
    _cleanup_strv_ char **names = strv_copy(NULL);
    if (n_publish == 0 || nft_tables(NFT_INET, see_table, &names, NULL) < 0)
        return;
    for (size_t i = 0; names[i]; i++) {
        _cleanup_nft_batch_ struct nft_batch *b = nft_batch_new(names[i]);
        bool own = strcmp(names[i], store_table(s, RULES_TABLE).name) == 0;
        for (size_t p = 0; !own && p < n_publish; p++)
            each_of_publish(b, delete_alone, port, &publish[p]);
    }
}

static int load_special(struct store *s, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(4096);
    int r = rules_put_special(&text, store_table(s, RULES_TABLE).name);
    return r < 0 ? error_errno(err, r, "compose the rules of priorities")
                 : nft_load(text.data, text.len, err);
}

static int change_now(struct store *s, const struct network *n, const struct store_port *port,
                      const struct network_publish *publish, size_t n_publish, struct error *err)
{
    int r = put_now(s, n, port, publish, n_publish, err);
    return r == 0 && port && priority_number(port->priority) ? load_special(s, err) : r;
}

int rules_add(struct store *s, const struct network *n, const struct store_port *port,
              const struct network_publish *publish, size_t n_publish, struct error *err)
{
    _cleanup_close_ int lock = -EBADF;
    clear_others(s, port, publish, n_publish);
    int r = change_now(s, n, port, publish, n_publish, err);
    if (r == -EEXIST || r == -EBUSY) {
        clear_way(s, port, publish, n_publish);
        r = change_now(s, n, port, publish, n_publish, err);
    }
    if (r != -ENOENT)
        return r;
    r = network_lock(s, LOCK_RULES, LOCK_EX, &lock, err);
    if (r < 0)
        return r;
    r = change_now(s, n, port, publish, n_publish, err); /* somebody may have been quicker */
    return r == -ENOENT ? load(s, err) : r;
}

void rules_remove_port(struct store *s, const struct network *n, const struct store_port *port,
                       const struct network_publish *publish, size_t n_publish)
{
    _cleanup_nft_batch_ struct nft_batch *b = new_batch(s);
    each_of_port(b, delete, n, port, publish, n_publish);
    if (nft_batch_commit(b, NULL) < 0)
        each_of_port(b, delete_alone, n, port, publish, n_publish);
}

void rules_remove_link(struct store *s, const struct store_port *port)
{
    _cleanup_nft_batch_ struct nft_batch *b = new_batch(s);
    put_port_link(b, delete_alone, port);
}

void rules_remove_priority(struct store *s, const struct store_port *port)
{
    _cleanup_nft_batch_ struct nft_batch *b = new_batch(s);
    each_of_priority(b, delete_alone, port);
}

void rules_remove_connections(struct store *s, const struct network *n,
                              const struct store_port *port)
{
    _cleanup_nft_batch_ struct nft_batch *b = new_batch(s);
    struct link_mac mac;
    if (link_mac_parse(port->mac, &mac) == 0)
        each_of_connections(b, delete_alone, n, port, &mac);
}

void rules_remove_network(struct store *s, const struct network *n)
{
    if (n->parent)
        return;
    _cleanup_nft_batch_ struct nft_batch *b = new_batch(s);
    each_of_network(b, delete, n);
    if (nft_batch_commit(b, NULL) < 0)
        each_of_network(b, delete_alone, n);
}

static void put_resolver(struct nft_batch *b, change f, struct in_addr address, uint16_t port)
{
    struct nft_data key = {.len = 0}, value = {.len = 0};
    nft_put_address(&key, address);
    nft_put_port(&value, port);
    value.len = sizeof(uint16_t); /* one field alone is not padded */
    f(b, NFT_INET, "resolvers", &key, &value);
}

int rules_add_resolver(struct store *s, struct in_addr address, uint16_t port, struct error *err)
{
    _cleanup_nft_batch_ struct nft_batch *b = new_batch(s);
    put_resolver(b, add, address, port);
    int r = nft_batch_commit(b, err);
    if (r != -EEXIST && r != -EBUSY)
        return r;
    put_resolver(b, delete, address, 0);
    put_resolver(b, add, address, port);
    return nft_batch_commit(b, err);
}

void rules_remove_resolver(struct store *s, struct in_addr address)
{
    _cleanup_nft_batch_ struct nft_batch *b = new_batch(s);
    put_resolver(b, delete_alone, address, 0);
}

int rules_remove_all(struct store *s, struct error *err)
{
    static const enum nft_family families[] = {NFT_INET, NFT_BRIDGE, NFT_NETDEV};
    _cleanup_nft_batch_ struct nft_batch *b = new_batch(s);
    int result = 0;
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        nft_batch_delete_table(b, families[i]);
        int r = nft_batch_commit(b, NULL);
        if (r < 0 && r != -ENOENT && result == 0)
            result = error_errno(err, r, "remove the tables %s", store_table(s, RULES_TABLE).name);
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
