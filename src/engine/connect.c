/*
 * Joining and leaving a network.
 *
 * The instance's options say where it is to be; the store's ports say where it is. Joining makes
 * the port first and then writes the options, leaving writes the options first: so whatever is
 * killed in between leaves a port that the options do not name. RUN/instances/ID/network, there
 * from before the first step to after the last, says that this may be so, and the next command
 * takes such a port down (connect_repair).
 *
 * A running container's new link is put into its network namespace. Its two files are written in
 * place, because they are mounted inside. A running machine gets a card (connect-machine.c).
 */
#include "engine/connect.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/hosts.h"
#include "base/json.h"
#include "base/path.h"
#include "base/strv.h"
#include "engine/connect-machine.h"
#include "engine/engine-internal.h"
#include "engine/rootless.h"
#include "engine/start-network.h"
#include "service/network/network.h"

#define HOSTS_MAX (1u << 20)

/* --- the mark --- */

static char *mark_path(const struct subject *s)
{
    return path_join(s->run_dir, "network");
}

static int set_mark(const struct subject *s, struct error *err)
{
    _cleanup_free_ char *path = mark_path(s);
    int r = file_write_atomic(AT_FDCWD, path, "", 0, 0600);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

static void clear_mark(const struct subject *s)
{
    _cleanup_free_ char *path = mark_path(s);
    unlink(path);
}

/* A link that has no end at the host's side is taken out of the namespace of one that runs. */
static int leave_network(struct engine *e, const struct subject *s, const char *network,
                         struct error *err)
{
    _cleanup_close_ int namespace_fd = -EBADF;
    if (s->record.kind == RUNTIME_CONTAINER && s->target.pid > 0)
        (void)!subject_open_network(s, &namespace_fd, NULL); /* it may have ended just now */
    return network_leave(e->store, s->record.id, network, namespace_fd, false, err);
}

static int leave_port(struct engine *e, struct subject *s, const struct network_member *m,
                      struct error *err)
{
    return s->record.kind == RUNTIME_VM ? machine_leave(e, s, m, err)
                                        : leave_network(e, s, m->network, err);
}

int connect_repair(struct engine *e, struct subject *s, struct error *err)
{
    _cleanup_places_ struct places places = {.mode = PLACE_NETWORKS};
    struct network_member *ports = NULL;
    int r = places_parse(&s->options, &places, err);
    if (r == 0)
        r = network_ports_of(e->store, s->record.id, &ports, err);
    for (struct network_member *m = ports; r == 0 && m && m->instance_id; m++)
        if (!places_has(&places, m->network))
            r = leave_port(e, s, m, err);
    network_members_free(ports);
    if (r == 0)
        clear_mark(s);
    return r;
}

/* --- the options --- */

/* Of an instance that is on no network they say so. */
static int save_places(struct engine *e, struct subject *s, const struct places *p,
                       struct error *err)
{
    char **networks = strv_copy(NULL);
    for (size_t i = 0; i < p->n; i++)
        strv_take(&networks, place_text(&p->list[i]));
    if (p->n == 0)
        strv_add(&networks, "none");
    strv_free(s->options.networks);
    s->options.networks = networks;
    /* What --ip and the like said of the one network is in the places by now. */
    xreplace(&s->options.ip, NULL);
    xreplace(&s->options.ip6, NULL);
    xreplace(&s->options.mac, NULL);
    strv_free(s->options.network_aliases);
    s->options.network_aliases = NULL;
    _cleanup_json_ json_t *json = create_options_to_json(&s->options);
    _cleanup_free_ char *text = json_to_text(json);
    return store_instance_set_options(e->store, s->record.id, s->record.image_id,
                                      s->record.image_name, text, err);
}

/* --- a running container --- */

static bool runs(const struct subject *s)
{
    enum instance_state state = subject_state(s);
    return state == STATE_RUNNING || state == STATE_PAUSED;
}

static int write_in_place(const char *path, const char *text, struct error *err)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
    int r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

/* Lines that begin with one of the addresses go; new lines come. */
int hosts_edit(const struct subject *s, char *const *gone, const char *more, struct error *err)
{
    _cleanup_free_ char *path = path_join(s->bundle, "hosts"), *text = NULL;
    _cleanup_buf_ struct buf out = BUF_INIT(HOSTS_MAX);
    int r = file_read(AT_FDCWD, path, HOSTS_MAX / 2, &text);
    if (r < 0)
        return error_errno(err, r, "read %s", path);
    if (hosts_text_edit(text, gone, more, &out) < 0)
        return error_set(err, ERROR_LIMIT, EFBIG, "%s is too long", path);
    return write_in_place(path, out.data ? out.data : "", err);
}

char *hosts_lines(const struct subject *s, char *const *addresses)
{
    const char *given = s->options.hostname;
    _cleanup_free_ char *hostname = given ? xstrdup(given) : xasprintf("%.12s", s->record.id);
    char *lines = xstrdup("");
    for (size_t i = 0; addresses[i]; i++) {
        char *longer = xasprintf("%s%s\t%s %s\n", lines, addresses[i], hostname, s->record.name);
        free(lines);
        lines = longer;
    }
    return lines;
}

int hosts_add(const struct subject *s, char *const *gone, char *const *addresses, struct error *err)
{
    _cleanup_free_ char *lines = hosts_lines(s, addresses);
    return hosts_edit(s, gone, lines, err);
}

int resolver_update(struct engine *e, const struct subject *s, struct error *err)
{
    _cleanup_free_ char *path = path_join(s->bundle, "resolv.conf"), *text = NULL;
    if (strv_len(s->options.dns) > 0)
        return 0;
    int r = network_resolv_conf_of(e->store, s->record.id, &text, err);
    return r < 0 ? r : write_in_place(path, text, err);
}

void port_addresses(const struct network_port *p, char ***list)
{
    char text[INET6_ADDRSTRLEN];
    if (p->prefix)
        strv_add(list, inet_ntop(AF_INET, &p->address, text, sizeof(text)));
    if (p->prefix6)
        strv_add(list, inet_ntop(AF_INET6, &p->address6, text, sizeof(text)));
}

void member_addresses(const struct network_member *m, char ***list)
{
    const struct network_port port = {.prefix = m->address.s_addr != 0,
                                      .prefix6 = !IN6_IS_ADDR_UNSPECIFIED(&m->address6),
                                      .address = m->address,
                                      .address6 = m->address6};
    port_addresses(&port, list);
}

static int join_container(struct engine *e, struct subject *s, const struct place *place,
                          struct error *err)
{
    _cleanup_close_ int namespace_fd = -EBADF;
    _cleanup_strv_ char **addresses = strv_copy(NULL);
    struct network_request request;
    struct network_port port;
    int r = subject_open_network(s, &namespace_fd, err);
    if (r == 0)
        r = start_network_request(s, place, namespace_fd, &request, err);
    if (r == 0)
        r = network_attach(e->store, &request, &port, err);
    if (r < 0)
        return r;
    port_addresses(&port, &addresses);
    if (port.lease_fd >= 0)
        r = monitor_put_lease(s->run_dir, port.position, port.lease_fd, err);
    if (r == 0)
        r = hosts_add(s, addresses, addresses, err);
    if (r == 0)
        r = resolver_update(e, s, err);
    network_port_done(&port);
    return r;
}

static int join(struct engine *e, struct subject *s, const struct place *place, struct error *err)
{
    return s->record.kind == RUNTIME_VM ? machine_join(e, s, place, err)
                                        : join_container(e, s, place, err);
}

static int leave_container(struct engine *e, struct subject *s, const struct network_member *m,
                           struct error *err)
{
    _cleanup_close_ int namespace_fd = -EBADF;
    _cleanup_strv_ char **addresses = strv_copy(NULL);
    member_addresses(m, &addresses);
    int r = leave_network(e, s, m->network, err);
    if (r == 0)
        r = subject_open_network(s, &namespace_fd, err);
    if (r == 0)
        r = network_find_way(e->store, s->record.id, namespace_fd, err);
    if (r == 0)
        r = hosts_edit(s, addresses, "", err);
    return r < 0 ? r : resolver_update(e, s, err);
}

/* --- the two use cases --- */

static int check_running(const struct subject *s, struct error *err)
{
    if (s->record.kind == RUNTIME_VM && subject_state(s) == STATE_PAUSED)
        return error_set(err, ERROR_CONFLICT, EBUSY, "machine %s is paused: unpause it first",
                         s->record.name);
    if (subject_state(s) == STATE_RESTARTING)
        return error_set(err, ERROR_CONFLICT, EBUSY, "%s is restarting: try again, or stop it",
                         s->record.name);
    return 0;
}

static int open_places(struct engine *e, const char *instance, struct subject *s,
                       struct places *places, struct error *err)
{
    int r = subject_open(e, instance, SUBJECT_LOCKED, s, err);
    if (r == 0)
        r = subject_status(s, err);
    if (r == 0)
        r = places_parse(&s->options, places, err);
    if (r == 0 && (places->mode == PLACE_HOST || places->mode == PLACE_CONTAINER))
        return error_set(err, ERROR_CONFLICT, EBUSY,
                         "%s uses another's network (%s): it has none of its own to connect",
                         s->record.name, s->options.networks[0]);
    return r < 0 ? r : check_running(s, err);
}

int engine_network_connect(struct engine *e, const char *instance, const struct place *place,
                           struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    _cleanup_places_ struct places places = {.mode = PLACE_NETWORKS};
    _cleanup_network_ struct network *network = NULL;
    struct place wanted = *place;
    struct network_request request;
    struct error ignored = ERROR_INIT;
    int r = rootless_refuse("network connect", err);
    if (r == 0)
        r = open_places(e, instance, &s, &places, err);
    if (r == 0)
        r = network_find(e->store, place->network, &network, err);
    if (r < 0)
        return r;
    wanted.network = network->name; /* it may have been named by its id */
    if (places_has(&places, wanted.network))
        return error_set(err, ERROR_CONFLICT, EEXIST, "%s is on network %s already", s.record.name,
                         wanted.network);
    r = places_add(&places, &wanted, err);
    if (r == 0)
        r = start_network_request(&s, &wanted, -EBADF, &request, err);
    if (r == 0)
        r = network_check(e->store, &request, err);
    if (r == 0 && runs(&s)) {
        r = set_mark(&s, err);
        if (r == 0)
            r = join(e, &s, &wanted, err);
        if (r < 0)
            (void)!connect_repair(e, &s, &ignored);
    }
    places.mode = PLACE_NETWORKS;
    if (r == 0)
        r = save_places(e, &s, &places, err);
    if (r == 0 && runs(&s))
        clear_mark(&s);
    return r < 0 ? error_prefix(err, "connect %s", s.record.name) : 0;
}

static int find_port(struct engine *e, const struct subject *s, const char *network,
                     struct network_member **ret_ports, const struct network_member **ret,
                     struct error *err)
{
    *ret = NULL;
    int r = network_ports_of(e->store, s->record.id, ret_ports, err);
    for (const struct network_member *m = *ret_ports; r == 0 && m->instance_id; m++)
        if (strcmp(m->network, network) == 0)
            *ret = m;
    return r;
}

static int disconnect(struct engine *e, struct subject *s, struct places *places,
                      const char *network, struct error *err)
{
    struct network_member *ports = NULL;
    const struct network_member *port;
    int r = find_port(e, s, network, &ports, &port, err);
    if (r == 0 && runs(s))
        r = set_mark(s, err);
    if (r == 0) {
        places_remove(places, network);
        r = save_places(e, s, places, err);
    }
    if (r == 0 && port)
        r = runs(s) && port->attached && s->record.kind == RUNTIME_CONTAINER
                ? leave_container(e, s, port, err)
                : leave_port(e, s, port, err);
    if (r == 0 && runs(s))
        clear_mark(s);
    network_members_free(ports);
    return r;
}

int engine_network_disconnect(struct engine *e, const char *instance, const char *name, bool force,
                              struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    _cleanup_places_ struct places places = {.mode = PLACE_NETWORKS};
    _cleanup_network_ struct network *network = NULL;
    int r = rootless_refuse("network disconnect", err);
    if (r == 0)
        r = open_places(e, instance, &s, &places, err);
    if (r == 0)
        r = network_find(e->store, name, &network, err);
    if (r < 0)
        return r;
    if (!places_has(&places, network->name))
        return force ? 0
                     : error_set(err, ERROR_CONFLICT, ENOTCONN, "%s is not on network %s",
                                 s.record.name, network->name);
    r = disconnect(e, &s, &places, network->name, err);
    return r < 0 ? error_prefix(err, "disconnect %s", s.record.name) : 0;
}
