/*
 * A running machine joins and leaves networks. What it has at a position is in several places: the
 * store's port, the bundle, which says what the next run's tap there is for, and
 *
 *   one that boots a disk   the monitor's tap and QEMU's card, which is plugged in and pulled out;
 *                           the system inside asks for its address by DHCP
 *   a light one             a card that it has had from the start (service/network/card.c): its
 *                           agent brings that up and takes it down, and knows names
 *
 * The port comes first and goes last: so whatever is killed in between leaves a port that the
 * options do not name, and the next command takes all of it down (connect_repair).
 */
#include "engine/connect-machine.h"

#include <fcntl.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "engine/start-network.h"

#define RESOLV_MAX ((size_t)16 << 10)

static bool is_light(const struct subject *s)
{
    return !s->options.firmware;
}

/* port NULL: none is there any more. */
static int note_card(const struct subject *s, uint8_t position, const struct network_port *port,
                     struct bundle *b, struct error *err)
{
    int r = bundle_load(s->bundle, b, err);
    if (r < 0 || position >= BUNDLE_NETWORKS_MAX)
        return r;
    b->networks[position] = (struct bundle_network){0};
    if (port)
        bundle_describe_network(&b->networks[position], port);
    b->n_networks = MAX(b->n_networks, (size_t)position + 1);
    while (b->n_networks > 0 && !*b->networks[b->n_networks - 1].mac)
        b->n_networks--;
    return bundle_save(b, s->bundle, err);
}

/* In the bundle's files, for the next run, and in the machine. */
static int change_names(struct engine *e, const struct subject *s, char *const *gone,
                        char *const *addresses, struct error *err)
{
    _cleanup_free_ char *lines = hosts_lines(s, addresses), *resolv_conf = NULL;
    _cleanup_free_ char *path = path_join(s->bundle, "resolv.conf");
    int r = s->options.no_hosts ? 0 : hosts_edit(s, gone, lines, err);
    if (r == 0)
        r = resolver_update(e, s, err);
    if (r < 0)
        return r;
    r = file_read(AT_FDCWD, path, RESOLV_MAX, &resolv_conf);
    return r < 0 ? error_errno(err, r, "read %s", path)
                 : vm_set_names(&s->target, gone, lines, resolv_conf, err);
}

/* --- joining --- */

static int bring_up(struct engine *e, const struct subject *s, const struct network_port *port,
                    const struct bundle *b, struct error *err)
{
    _cleanup_strv_ char **addresses = strv_copy(NULL);
    port_addresses(port, &addresses);
    int r = vm_set_networks(&s->target, b, err);
    return r < 0 ? r : change_names(e, s, addresses, addresses, err);
}

static int plug_in(const struct subject *s, const struct network_port *port, struct error *err)
{
    int r = monitor_put_tap(s->run_dir, port->position, port->fd, err);
    return r < 0 ? r : vm_plug_card(&s->target, port->position, port->mac, port->fd, err);
}

static int take_port(struct engine *e, const struct subject *s, const struct network_port *port,
                     struct error *err)
{
    _cleanup_(bundle_done) struct bundle b;
    bundle_init(&b);
    int r = port->lease_fd >= 0 ? monitor_put_lease(s->run_dir, port->position, port->lease_fd, err)
                                : 0;
    if (r == 0)
        r = note_card(s, port->position, port, &b, err);
    if (r == 0)
        r = is_light(s) ? bring_up(e, s, port, &b, err) : plug_in(s, port, err);
    return r;
}

int machine_join(struct engine *e, struct subject *s, const struct place *place, struct error *err)
{
    struct network_request request;
    struct network_port port;
    int r = start_network_request(s, place, -EBADF, &request, err);
    request.more = true;
    if (r == 0)
        r = network_attach(e->store, &request, &port, err);
    if (r < 0)
        return r;
    r = take_port(e, s, &port, err);
    network_port_done(&port);
    return r;
}

/* --- leaving --- */

static int pull_out(const struct subject *s, uint8_t position, struct error *err)
{
    int r = vm_unplug_card(&s->target, position, err);
    return r < 0 ? r : monitor_put_tap(s->run_dir, position, -EBADF, err);
}

/* One that has ended has nothing that could be told. */
static int let_go(const struct subject *s, uint8_t position, const struct bundle *b,
                  struct error *err)
{
    struct error why = ERROR_INIT;
    int r = is_light(s) ? vm_set_networks(&s->target, b, &why) : pull_out(s, position, &why);
    if (r == 0 || why.kind == ERROR_NOT_FOUND)
        return 0;
    *err = why;
    return r;
}

/* A light machine that does not answer loses its network all the same. */
static int leave_light(struct engine *e, const struct subject *s, const struct network_member *port,
                       int told, struct error *err)
{
    _cleanup_strv_ char **gone = strv_copy(NULL), **none = strv_copy(NULL);
    struct error why = ERROR_INIT;
    member_addresses(port, &gone);
    int r =
        network_leave(e->store, s->record.id, port->network, -EBADF, true, told < 0 ? &why : err);
    if (r < 0 || told < 0)
        return told < 0 ? told : r;
    r = change_names(e, s, gone, none, &why);
    if (r == 0 || why.kind == ERROR_NOT_FOUND)
        return 0;
    *err = why;
    return r;
}

int machine_leave(struct engine *e, struct subject *s, const struct network_member *port,
                  struct error *err)
{
    _cleanup_(bundle_done) struct bundle b;
    bundle_init(&b);
    if (!port->attached)
        return network_leave(e->store, s->record.id, port->network, -EBADF, false, err);
    int r = note_card(s, port->position, NULL, &b, err);
    if (r < 0)
        return r;
    r = let_go(s, port->position, &b, err);
    if (is_light(s))
        return leave_light(e, s, port, r, err);
    return r < 0 ? r : network_leave(e->store, s->record.id, port->network, -EBADF, false, err);
}
