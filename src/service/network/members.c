/* Who is on a network, putting right what killed processes left, and what instances are told. */
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "service/network/network-internal.h"
#include "service/network/rules.h"

void network_members_free(struct network_member *list)
{
    for (struct network_member *m = list; m && m->instance_id; m++) {
        free(m->instance_id);
        free(m->network);
        strv_free(m->aliases);
    }
    free(list);
}

static struct network_member member_of(const struct store_port *p)
{
    struct network_member m = {
        .instance_id = xstrdup(p->instance_id),
        .network = xstrdup(p->network),
        .position = p->position,
        .address = p->address,
        .address6 = p->address6,
        .aliases = strv_copy(p->aliases),
        .attached = p->attached,
    };
    struct lease_grant grant;
    if (lan_grant(p, &grant)) {
        m.gateway = grant.gateway;
        m.prefix = grant.prefix;
    }
    snprintf(m.mac, sizeof(m.mac), "%s", p->mac);
    snprintf(m.link, sizeof(m.link), "%s", p->link);
    return m;
}

/* Takes the rows. */
static struct network_member *members_of(struct store_port *ports)
{
    size_t count = 0;
    while (ports[count].instance_id)
        count++;
    struct network_member *list = xcalloc(count + 1, sizeof(*list));
    for (size_t i = 0; i < count; i++)
        list[i] = member_of(&ports[i]);
    store_port_list_free(ports);
    return list;
}

int network_members(struct store *s, const char *network, struct network_member **ret,
                    struct error *err)
{
    _cleanup_network_ struct network *n = NULL;
    struct store_port *ports = NULL;
    int r = network_find(s, network, &n, err);
    if (r == 0)
        r = store_port_list(s, n->name, &ports, err);
    if (r == 0)
        *ret = members_of(ports);
    return r;
}

int network_ports_of(struct store *s, const char *instance_id, struct network_member **ret,
                     struct error *err)
{
    struct store_port *ports = NULL;
    int r = store_port_of(s, instance_id, &ports, err);
    if (r == 0)
        *ret = members_of(ports);
    return r;
}

/* network NULL: of all. */
static int list_published(struct store *s, const char *instance_id, const char *network,
                          struct network_publish **ret, size_t *ret_n, struct error *err)
{
    struct store_publish *rows;
    int r = store_publish_list(s, instance_id, &rows, err);
    if (r < 0)
        return r;
    struct network_publish *list = NULL;
    size_t n = 0;
    for (struct store_publish *p = rows; p->instance_id; p++) {
        if (network && strcmp(p->network, network) != 0)
            continue;
        list = xreallocarray(list, n + 1, sizeof(*list));
        list[n++] = p->publish;
    }
    store_publish_list_free(rows);
    *ret = list;
    *ret_n = n;
    return 0;
}

int published_on(struct store *s, const char *instance_id, const char *network,
                 struct network_publish **ret, size_t *ret_n, struct error *err)
{
    return list_published(s, instance_id, network, ret, ret_n, err);
}

int network_published(struct store *s, const char *instance_id, struct network_publish **ret,
                      size_t *ret_n, struct error *err)
{
    return list_published(s, instance_id, NULL, ret, ret_n, err);
}

/* --- repair --- */

int network_repair(struct store *s, bool (*alive)(void *context, const char *instance_id),
                   void *context, struct error *err)
{
    struct store_port *ports;
    bool any = false;
    int r = store_port_list(s, NULL, &ports, err);
    if (r < 0)
        return r;
    for (struct store_port *p = ports; r == 0 && p->instance_id; p++) {
        if (p->attached && !alive(context, p->instance_id))
            r = port_take_down(s, p, LINK_GOES, err);
        else if (p->attached)
            any = true;
    }
    store_port_list_free(ports);
    /* Somebody may have flushed the ruleset under running instances. */
    return r == 0 && any && process_is_host_root() ? rules_repair(s, err) : r;
}

struct bridge_ports {
    uint32_t bridge;
    const struct store_port *ports;
    bool busy;
};

/* A link on the bridge keeps it up, unless it belongs to nobody who is attached: then the kernel is
 * about to remove it with its namespace. */
static int see_link(void *context, const struct netlink_link *link)
{
    struct bridge_ports *b = context;
    if (link->master != b->bridge)
        return 0;
    for (const struct store_port *p = b->ports; p->instance_id; p++)
        if (p->attached && strcmp(p->link, link->name) == 0)
            b->busy = true;
    return 0;
}

static int is_idle(struct store *s, struct netlink *nl, const struct network *n,
                   bool (*alive)(void *context, const char *instance_id), void *context,
                   bool *ret_idle, struct error *err)
{
    struct bridge_ports b = {.busy = false};
    struct store_port *ports;
    int r = store_port_list(s, n->name, &ports, err);
    if (r < 0)
        return r;
    for (struct store_port *p = ports; p->instance_id; p++)
        if (p->attached && alive(context, p->instance_id))
            b.busy = true;
    b.ports = ports;
    if (!b.busy && netlink_link_index(nl, n->bridge, &b.bridge, NULL) == 0)
        r = netlink_links(nl, see_link, &b, err);
    store_port_list_free(ports);
    *ret_idle = !b.busy;
    return r;
}

int network_down_idle(struct store *s, bool (*alive)(void *context, const char *instance_id),
                      void *context, struct error *err)
{
    _cleanup_netlink_ struct netlink *nl = NULL;
    _cleanup_close_ int lock = -EBADF;
    struct network **networks = NULL;
    if (!process_is_host_root()) /* it has nothing that is up without an instance */
        return 0;
    int r = network_lock(s, LOCK_PLACES, LOCK_EX, &lock, err);
    if (r == 0)
        r = netlink_open(&nl, err);
    if (r == 0) /* first: one of the store's may have the name of one */
        r = strays_down(s, nl, err);
    if (r == 0)
        r = store_network_list(s, &networks, err);
    for (size_t i = 0; r == 0 && networks[i]; i++) {
        bool idle = false;
        r = is_idle(s, nl, networks[i], alive, context, &idle, err);
        if (r == 0 && idle)
            r = bridge_down(s, nl, networks[i], err);
    }
    network_list_free(networks);
    return r < 0 ? r : bridge_tables_down(s, nl, err);
}

/* --- what instances are told --- */

void port_take_dns(struct network_port *port, const struct lease_grant *grant)
{
    _Static_assert(sizeof(port->dns) == sizeof(grant->dns), "both have room for as many");
    memcpy(port->dns, grant->dns, sizeof(port->dns));
    port->n_dns = grant->n_dns;
}

static char *name_servers(const struct network_port *port)
{
    char *text = xstrdup("");
    for (size_t i = 0; i < port->n_dns; i++) {
        char *longer = xasprintf("%snameserver %s\n", text, address_text(port->dns[i]).s);
        free(text);
        text = longer;
    }
    return text;
}

char *network_resolv_conf(const struct network_port *ports, size_t n)
{
    char *text = NULL;
    bool lan = false;
    /* ndots:0: a bare name is an instance's, and is not tried with suffixes first. */
    for (size_t i = 0; i < n; i++) {
        if (ports[i].prefix && !ports[i].lan)
            return xasprintf("nameserver %s\noptions ndots:0\n", address_text(ports[i].gateway).s);
        lan |= ports[i].lan;
    }
    for (size_t i = 0; i < n; i++)
        if (ports[i].n_dns > 0)
            return name_servers(&ports[i]);
    /* Of what asks on the LAN's wire, the host knows best whom. */
    return lan && file_read(AT_FDCWD, "/etc/resolv.conf", 65536, &text) == 0 ? text : xstrdup("");
}

int network_resolv_conf_of(struct store *s, const char *instance_id, char **ret, struct error *err)
{
    struct network_port ports[NETWORK_PORTS_MAX] = {{.fd = -EBADF}};
    struct store_port *rows;
    size_t n_ports = 0;
    int r = store_port_of(s, instance_id, &rows, err);
    if (r < 0)
        return r;
    for (struct store_port *p = rows; r == 0 && p->instance_id && n_ports < NETWORK_PORTS_MAX;
         p++) {
        _cleanup_network_ struct network *n = NULL;
        r = store_network_find(s, p->network, &n, err);
        if (r < 0 || !p->attached)
            continue;
        struct lease_grant grant;
        if (lan_grant(p, &grant))
            port_take_dns(&ports[n_ports], &grant);
        ports[n_ports].prefix = n->prefix;
        ports[n_ports].lan = n->parent != NULL;
        ports[n_ports++].gateway = n->gateway;
    }
    store_port_list_free(rows);
    if (r == 0)
        *ret = network_resolv_conf(ports, n_ports);
    return r;
}

char *network_hosts(const struct network_port *ports, size_t n, const char *hostname,
                    const char *name)
{
    bool same = !name || strcmp(hostname, name) == 0;
    _cleanup_free_ char *names = xasprintf("%s%s%s", hostname, same ? "" : " ", same ? "" : name);
    _cleanup_buf_ struct buf b = BUF_INIT(65536);
    bool failed = buf_addf(&b, "127.0.0.1\tlocalhost\n"
                               "::1\tlocalhost ip6-localhost ip6-loopback\n") < 0;
    for (size_t i = 0; i < n; i++) {
        if (ports[i].prefix)
            failed |= buf_addf(&b, "%s\t%s\n", address_text(ports[i].address).s, names) < 0;
        if (ports[i].prefix6)
            failed |= buf_addf(&b, "%s\t%s\n", address6_text(&ports[i].address6).s, names) < 0;
    }
    return xstrdup(failed ? "" : b.data);
}
