/*
 * The LAN's DHCP has given a running instance another address, or none, or who asks for it was
 * killed and is replaced (service/network/lan.c). The instance's monitor calls this with the socket
 * that says so; the line stays in it until everything has the address, so that a kill on the way
 * means only that it is done again.
 */
#include "engine/lease.h"

#include <arpa/inet.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "engine/engine-internal.h"
#include "service/network/lan.h"

static char **address_list(struct in_addr a)
{
    char text[INET_ADDRSTRLEN];
    char **list = strv_copy(NULL);
    if (a.s_addr)
        strv_add(&list, inet_ntop(AF_INET, &a, text, sizeof(text)));
    return list;
}

static int tell_container(struct engine *e, const struct subject *s, const struct network_lease *l,
                          struct error *err)
{
    _cleanup_strv_ char **before = address_list(l->before), **now = address_list(l->now);
    int r = hosts_add(s, before, now, err);
    return r < 0 ? r : resolver_update(e, s, err);
}

static int describe(struct engine *e, const struct subject *s, uint8_t position,
                    struct bundle_network *n, struct error *err)
{
    struct network_member *ports;
    int r = network_ports_of(e->store, s->record.id, &ports, err);
    if (r < 0)
        return r;
    *n->address = *n->gateway = '\0';
    n->prefix = 0;
    for (struct network_member *m = ports; m->instance_id; m++) {
        if (m->position != position || !m->prefix)
            continue;
        inet_ntop(AF_INET, &m->address, n->address, sizeof(n->address));
        if (m->gateway.s_addr)
            inet_ntop(AF_INET, &m->gateway, n->gateway, sizeof(n->gateway));
        n->prefix = m->prefix;
    }
    network_members_free(ports);
    return 0;
}

/* In the bundle for when it is started again, and in the machine if that is there just now. */
static int tell_machine(struct engine *e, const struct subject *s, uint8_t position,
                        struct error *err)
{
    _cleanup_(bundle_done) struct bundle b;
    struct error why = ERROR_INIT;
    bundle_init(&b);
    int r = bundle_load(s->bundle, &b, err);
    if (r < 0 || position >= b.n_networks)
        return r;
    r = describe(e, s, position, &b.networks[position], err);
    if (r == 0)
        r = bundle_save(&b, s->bundle, err);
    if (r < 0)
        return r;
    r = vm_set_networks(&s->target, &b, &why);
    if (r < 0 && why.kind != ERROR_NOT_FOUND) {
        *err = why;
        return r;
    }
    return 0;
}

int engine_lease(struct engine *e, const char *id, uint8_t position, int report_fd, int place_fd,
                 struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    _cleanup_close_ int replaced = -EBADF;
    struct network_lease lease;
    int r = subject_open(e, id, SUBJECT_LOCKED, &s, err);
    if (r == 0)
        r = subject_status(&s, err);
    if (r < 0 || !s.status.alive)
        return r;
    bool machine = s.record.kind == RUNTIME_VM;
    r = network_take_lease(e->store, s.record.id, position, machine ? -EBADF : place_fd,
                           machine ? place_fd : -EBADF, report_fd, &lease, err);
    if (r < 0)
        return r;
    replaced = lease.report_fd;
    if (replaced >= 0)
        return monitor_put_lease(s.run_dir, position, replaced, err);
    if (!lease.line)
        return 0;
    r = machine ? tell_machine(e, &s, position, err) : tell_container(e, &s, &lease, err);
    if (r == 0)
        network_lease_taken(report_fd);
    return r;
}
