#include "engine/start-network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "runtime/vm/settings.h"
#include "service/network/card.h"
#include "wire/qmp/shape.h"

void start_network_done(struct start_network *n)
{
    for (size_t i = 0; i < n->n_ports; i++) {
        if (n->ports[i].fd == n->namespace_fd)
            n->ports[i].fd = -EBADF;
        network_port_done(&n->ports[i]);
    }
    for (size_t i = n->n_ports; i < n->n_taps; i++)
        n->tap_fds[i] = close_fd(n->tap_fds[i]);
    n->n_ports = n->n_taps = 0;
    n->namespace_fd = close_fd(n->namespace_fd);
    free(n->shared_hosts);
    free(n->shared_resolv);
    n->shared_hosts = n->shared_resolv = NULL;
    places_done(&n->places);
}

static int read_publish(const struct create_options *o, const struct image *image,
                        struct network_publish **list, size_t *n, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && o->publish && o->publish[i]; i++)
        r = network_publish_parse(o->publish[i], list, n, err);
    for (size_t i = 0; r == 0 && o->publish_all && image->exposed_ports && image->exposed_ports[i];
         i++)
        r = network_publish_parse(image->exposed_ports[i], list, n, err);
    for (size_t i = 0; r == 0 && o->publish_all && o->expose && o->expose[i]; i++)
        r = network_publish_parse(o->expose[i], list, n, err);
    return r;
}

static void take_port(struct start_network *n, const struct network_port *port, bool machine)
{
    n->ports[n->n_ports] = *port;
    if (machine)
        n->tap_fds[n->n_taps++] = port->fd;
    else if (port->fd >= 0)
        n->namespace_fd = port->fd;
    n->n_ports++;
}

int start_network_request(const struct subject *s, const struct place *p, int namespace_fd,
                          struct network_request *ret, struct error *err)
{
    *ret = (struct network_request){
        .instance_id = s->record.id,
        .instance_name = s->record.name,
        .hostname = s->options.hostname,
        .aliases = p->aliases,
        .network = p->network,
        .address = p->ip,
        .address6 = p->ip6,
        .mac = p->mac,
        .machine = s->record.kind == RUNTIME_VM,
        .asks = s->options.firmware != NULL,
        .more = s->record.kind != RUNTIME_VM && namespace_fd >= 0,
        .netns_fd = namespace_fd,
    };
    int r =
        s->options.network_rate ? network_rate_parse(s->options.network_rate, &ret->rate, err) : 0;
    if (r == 0 && s->options.network_priority)
        r = network_priority_parse(s->options.network_priority, &ret->priority, err);
    if (r == 0 && s->options.network_connections)
        r = network_connections_parse(s->options.network_connections, &ret->connections, err);
    return r;
}

static int attach_one(struct engine *e, struct subject *s, const struct place *p,
                      const struct network_publish *publish, size_t n_publish,
                      struct start_network *n, struct error *err)
{
    struct network_port port;
    struct network_request request;
    int r = start_network_request(s, p, n->namespace_fd, &request, err);
    request.publish = publish;
    request.n_publish = n_publish;
    if (r == 0)
        r = network_attach(e->store, &request, &port, err);
    if (r == 0)
        take_port(n, &port, request.machine);
    return r;
}

/* The network that published ports belong to: the first one with a way out. */
static int publishing_place(struct engine *e, const struct places *p, size_t *ret,
                            struct error *err)
{
    *ret = 0;
    for (size_t i = 0; i < p->n; i++) {
        _cleanup_network_ struct network *network = NULL;
        int r = network_find(e->store, p->list[i].network, &network, err);
        if (r < 0)
            return r;
        if (!network->internal && !network->parent) {
            *ret = i;
            return 0;
        }
    }
    return 0;
}

/* Addresses on networks that it is not on any more are free again. */
static int release_others(struct engine *e, struct subject *s, const struct places *p,
                          struct error *err)
{
    struct network_member *ports;
    int r = network_ports_of(e->store, s->record.id, &ports, err);
    if (r < 0)
        return r;
    for (struct network_member *m = ports; r == 0 && m->instance_id; m++) {
        bool wanted = false;
        for (size_t i = 0; i < p->n; i++)
            wanted |= strcmp(p->list[i].network, m->network) == 0;
        if (!wanted)
            r = network_leave(e->store, s->record.id, m->network, -EBADF, false, err);
    }
    network_members_free(ports);
    return r;
}

static int attach_networks(struct engine *e, struct subject *s, const struct image *image,
                           struct start_network *n, struct error *err)
{
    _cleanup_free_ struct network_publish *publish = NULL;
    size_t n_publish = 0, publishing = 0;
    int r = read_publish(&s->options, image, &publish, &n_publish, err);
    if (r == 0)
        r = release_others(e, s, &n->places, err);
    if (r == 0 && n_publish > 0)
        r = publishing_place(e, &n->places, &publishing, err);
    for (size_t i = 0; r == 0 && i < n->places.n; i++)
        r = attach_one(e, s, &n->places.list[i], i == publishing ? publish : NULL,
                       i == publishing ? n_publish : 0, n, err);
    if (r < 0 && n->n_ports > 0)
        (void)!network_detach(e->store, s->record.id, NULL);
    return r;
}

/* --- in another container's namespace --- */

static int read_shared(const char *bundle, const char *name, char **ret, struct error *err)
{
    _cleanup_free_ char *path = path_join(bundle, name);
    int r = file_read(AT_FDCWD, path, 1u << 20, ret);
    return r < 0 ? error_errno(err, r, "read %s", path) : 0;
}

static int share(struct engine *e, struct start_network *n, struct error *err)
{
    _cleanup_subject_ struct subject other = SUBJECT_INIT;
    char path[64];
    int r = subject_open(e, n->places.container, SUBJECT_UNLOCKED, &other, err);
    if (r == 0)
        r = subject_status(&other, err);
    if (r < 0)
        return r;
    if (other.record.kind == RUNTIME_VM)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "%s is a machine: its network is inside it and cannot be shared",
                         other.record.name);
    if (subject_state(&other) != STATE_RUNNING && subject_state(&other) != STATE_PAUSED)
        return error_set(err, ERROR_CONFLICT, ENOTCONN,
                         "%s does not run: there is no network of its to share", other.record.name);
    snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)other.target.pid);
    n->namespace_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (n->namespace_fd < 0)
        return error_errno(err, errno, "open the network of %s", other.record.name);
    r = read_shared(other.bundle, "hosts", &n->shared_hosts, err);
    return r < 0 ? r : read_shared(other.bundle, "resolv.conf", &n->shared_resolv, err);
}

/* --- a light machine's cards --- */

/* Memory goes on with the cards that there were. Before they were counted there were as many as
 * networks. */
static int cards_of_memory(const char *path, size_t n_ports, size_t *ret, struct error *err)
{
    char head[VM_SHAPE_BYTES];
    struct vm_shape shape = {.cards = -1};
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 ? -errno : fd_read_full(fd, head, sizeof(head));
    if (n < 0)
        return error_errno(err, (int)n, "read %s", path);
    int r = vm_shape_is(head, (size_t)n) ? vm_shape_read(head, (size_t)n, &shape, err) : 0;
    *ret = shape.cards < 0 ? n_ports : (size_t)shape.cards;
    return r;
}

/* As many as it has networks, and those for networks that it joins while it runs. */
static int make_cards(struct engine *e, const struct subject *s, struct start_network *n,
                      struct error *err)
{
    _cleanup_free_ char *memory = machine_memory(s);
    struct vm_settings settings;
    size_t cards = 0;
    if (s->record.kind != RUNTIME_VM || s->options.firmware || !process_is_host_root())
        return 0;
    int r = vm_settings_load(e->store->run, &settings, err);
    if (r == 0 && memory)
        r = cards_of_memory(memory, n->n_ports, &cards, err);
    else if (r == 0)
        cards = MIN(n->n_ports + settings.cards, (size_t)BUNDLE_NETWORKS_MAX);
    while (r == 0 && n->n_taps < cards) {
        r = network_card_make(s->record.id, (uint8_t)n->n_taps, &n->tap_fds[n->n_taps], err);
        n->n_taps += r == 0;
    }
    return r;
}

int start_network_attach(struct engine *e, struct subject *s, const struct image *image,
                         struct start_network *ret, struct error *err)
{
    int r = places_parse(&s->options, &ret->places, err);
    if (r < 0)
        return r;
    if (ret->places.mode == PLACE_CONTAINER)
        return share(e, ret, err);
    /* none: the runtime makes an empty namespace of its own; a machine is on no network */
    r = ret->places.mode == PLACE_NETWORKS ? attach_networks(e, s, image, ret, err) : 0;
    return r < 0 ? r : make_cards(e, s, ret, err);
}

void start_network_leases(const struct start_network *n, int ret_fds[static BUNDLE_NETWORKS_MAX])
{
    for (size_t i = 0; i < BUNDLE_NETWORKS_MAX; i++)
        ret_fds[i] = -EBADF;
    for (size_t i = 0; i < n->n_ports; i++)
        ret_fds[n->ports[i].position] = n->ports[i].lease_fd;
}

/* --- files --- */

void bundle_describe_network(struct bundle_network *n, const struct network_port *p)
{
    if (p->prefix) {
        inet_ntop(AF_INET, &p->address, n->address, sizeof(n->address));
        if (p->gateway.s_addr)
            inet_ntop(AF_INET, &p->gateway, n->gateway, sizeof(n->gateway));
        if (!p->lan)
            memcpy(n->dns, n->gateway, sizeof(n->dns));
        if (p->internal)
            *n->gateway = '\0';
    }
    if (p->prefix6) {
        inet_ntop(AF_INET6, &p->address6, n->address6, sizeof(n->address6));
        if (!p->internal)
            inet_ntop(AF_INET6, &p->gateway6, n->gateway6, sizeof(n->gateway6));
    }
    snprintf(n->mac, sizeof(n->mac), "%s", p->mac);
    n->prefix = p->prefix;
    n->prefix6 = p->prefix6;
    n->mtu = p->mtu;
}

void bundle_add_network(struct bundle *b, const struct network_port *p)
{
    bundle_describe_network(&b->networks[b->n_networks++], p);
}

static char *own_hosts(const struct start_network *n, const struct subject *s, const char *hostname)
{
    static const char loopback[] = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n";
    if (n->shared_hosts)
        return xstrdup(n->shared_hosts);
    return n->n_ports > 0 ? network_hosts(n->ports, n->n_ports, hostname, s->record.name)
                          : xasprintf("%s127.0.1.1\t%s\n", loopback, hostname);
}

char *hosts_extend(char *text, char *const *add_hosts)
{
    for (size_t i = 0; add_hosts && add_hosts[i]; i++) {
        const char *colon = strchr(add_hosts[i], ':');
        if (!colon)
            continue;
        char *longer =
            xasprintf("%s%s\t%.*s\n", text, colon + 1, (int)(colon - add_hosts[i]), add_hosts[i]);
        free(text);
        text = longer;
    }
    return text;
}

char *start_network_hosts(const struct start_network *n, const struct subject *s,
                          const char *hostname)
{
    return hosts_extend(own_hosts(n, s, hostname), s->options.add_hosts);
}

/* "WORD a b c"; the last line of a kind is the one that counts for a resolver. */
static void append_line(char **text, const char *word, char *const *values, size_t n)
{
    _cleanup_free_ char *line = xstrdup(word);
    for (size_t i = 0; i < n; i++) {
        char *longer = xasprintf("%s %s", line, values[i]);
        free(line);
        line = longer;
    }
    if (n == 0)
        return;
    char *longer = xasprintf("%s%s\n", *text, line);
    free(*text);
    *text = longer;
}

static char *own_resolv(const struct start_network *n, const struct create_options *o)
{
    char *text = NULL;
    if (strv_len(o->dns) > 0) {
        text = xstrdup("");
        for (size_t i = 0; o->dns[i]; i++)
            append_line(&text, "nameserver", &o->dns[i], 1);
        return text;
    }
    if (n->shared_resolv)
        return xstrdup(n->shared_resolv);
    if (n->n_ports > 0)
        return network_resolv_conf(n->ports, n->n_ports);
    if (n->places.mode == PLACE_HOST && file_read(AT_FDCWD, "/etc/resolv.conf", 65536, &text) == 0)
        return text;
    return xstrdup("");
}

char *start_network_resolv(const struct start_network *n, const struct subject *s)
{
    const struct create_options *o = &s->options;
    char *text = own_resolv(n, o);
    if (strv_len(o->dns_search) > 0 && strcmp(o->dns_search[0], ".") != 0)
        append_line(&text, "search", o->dns_search, strv_len(o->dns_search));
    append_line(&text, "options", o->dns_options, strv_len(o->dns_options));
    return text;
}
