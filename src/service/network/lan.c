/*
 * Addresses that the LAN's DHCP gives (a network with a parent and without a subnet). For each port
 * a proa-address asks, renews and in the end gives back (wire/lease/client.h). It has no privilege:
 * what it says is a line on a socket, whose other end the instance's monitor holds. The first line
 * is waited for here; for each later one the monitor calls `proa internal lease`, which ends in
 * network_take_lease.
 *
 * A port is made before it has an address: until then it may send nothing but questions for one.
 * The row's `lease` is what was given last; it stays after the end, as the wish of the next start.
 *
 * Whoever is killed: the end of the monitor, or of the command that has not handed the socket over
 * yet, is the end of proa-address, which gives the address back. One that is killed itself is
 * replaced by `proa internal lease`, because the socket's end is an event, too.
 */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/program.h"
#include "kernel/netns.h"
#include "kernel/packet.h"
#include "service/network/lan.h"
#include "service/network/network-internal.h"
#include "service/network/rules.h"

#define ANSWER_MS 20000

bool lan_gives(const struct network *n, const struct network_request *q)
{
    return n->parent && n->prefix == 0 && n->prefix6 == 0 && !q->asks;
}

bool lan_grant(const struct store_port *port, struct lease_grant *ret)
{
    return port->lease && port->address.s_addr && lease_grant_parse(port->lease, ret) == 0 &&
           ret->address.s_addr == port->address.s_addr;
}

/* --- who asks --- */

static char *mark_of(const struct store_port *row)
{
    return xasprintf("proa-address:%.64s:%u", row->instance_id, row->position);
}

static char *pid_path(struct store *s, const struct store_port *row)
{
    return xasprintf("%s/networks/%s/%.64s.address", s->run, row->network, row->instance_id);
}

struct listening {
    const char *link;
    int fd;
};

static int listen_inside(void *context, struct error *err)
{
    struct listening *l = context;
    return packet_open_answers(l->link, &l->fd, err);
}

/* Of a container inside, where the link is its own; of a machine at the host's end. */
static int listen_to(const struct store_port *row, int namespace_fd, int *ret_fd, struct error *err)
{
    char inside[16];
    snprintf(inside, sizeof(inside), "eth%u", row->position);
    struct listening l = {namespace_fd >= 0 ? inside : row->link, -EBADF};
    int r = namespace_fd >= 0 ? netns_visit(namespace_fd, listen_inside, &l, err)
                              : listen_inside(&l, err);
    *ret_fd = l.fd;
    return r;
}

static void wish_of(const struct store_port *row, char ret[INET_ADDRSTRLEN])
{
    struct lease_grant last = {.prefix = 0};
    if (row->lease && lease_grant_parse(row->lease, &last) < 0)
        last.address.s_addr = 0;
    inet_ntop(AF_INET, &last.address, ret, INET_ADDRSTRLEN);
}

static int start_asking(struct store *s, const struct store_port *row, int namespace_fd, int tap_fd,
                        int *ret_report, struct error *err)
{
    _cleanup_close_ int socket_fd = -EBADF, ours = -EBADF, theirs = -EBADF;
    _cleanup_free_ char *program = NULL, *mark = mark_of(row), *path = pid_path(s, row);
    const char *name = row->hostname ? row->hostname : row->name;
    char wish[INET_ADDRSTRLEN], text[16];
    int pair[2];
    pid_t pid;
    wish_of(row, wish);
    int r = program_find("proa-address", &program, err);
    if (r == 0)
        r = listen_to(row, namespace_fd, &socket_fd, err);
    if (r < 0)
        return r;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(err, errno, "make a pair of sockets");
    ours = pair[0];
    theirs = pair[1];
    char *const argv[] = {mark, row->mac, strlen(name) < LEASE_NAME_MAX ? (char *)name : "-", wish,
                          NULL};
    const struct process_fd fds[] = {{socket_fd, 3}, {theirs, 4}, {tap_fd, 5}};
    struct process_spec spec = {.path = program,
                                .argv = argv,
                                .fds = fds,
                                .n_fds = tap_fd >= 0 ? 3 : 2,
                                .new_session = true,
                                .uid = ADDRESS_UID};
    r = process_start(&spec, &pid, err);
    if (r < 0)
        return r;
    int len = snprintf(text, sizeof(text), "%d", (int)pid);
    r = file_write_atomic(AT_FDCWD, path, text, (size_t)len, 0600);
    if (r < 0)
        return error_errno(err, r, "write %s", path);
    *ret_report = TAKE_FD(ours);
    return 0;
}

void lan_leave(struct store *s, const struct store_port *row)
{
    _cleanup_free_ char *path = pid_path(s, row), *mark = mark_of(row);
    if (!row->lease)
        return;
    pid_t pid = dnsmasq_recorded(path, mark);
    if (pid)
        dnsmasq_stop(pid, mark);
    unlink(path);
}

/* --- what is given --- */

static int check_holder(struct store *s, const struct store_port *row,
                        const struct lease_grant *now, struct error *err)
{
    _cleanup_free_ char *holder = NULL;
    int r = store_port_holder(s, row->network, now->address, &holder, err);
    if (r == 0 && holder && strcmp(holder, row->instance_id) != 0)
        return error_set(err, ERROR_CONFLICT, EADDRINUSE,
                         "the LAN gives %s, which is in use by %.12s", address_text(now->address).s,
                         holder);
    return r;
}

/* The rules of the address go, and come with the other one: what is not the LAN's gift any more is
 * not sent any more. Repeating it does no harm. */
static int change_rules(struct store *s, const struct network *n, struct store_port *row,
                        const struct lease_grant *now, struct error *err)
{
    if (row->address.s_addr && row->address.s_addr != now->address.s_addr) {
        port_leave_policies(s, row);
        rules_remove_port(s, n, row, NULL, 0);
    }
    row->address = now->address;
    int r = n->driver == NETWORK_BRIDGE ? rules_add(s, n, row, NULL, 0, err)
            : wall_stands_at(n, row)    ? wall_add(s, row, err)
                                        : 0;
    return r < 0 ? r : port_join_policies(s, row, row->name, err);
}

static int set_grant(struct store *s, const struct network *n, struct store_port *row,
                     const struct lease_grant *now, int namespace_fd, struct error *err)
{
    struct lease_grant old = {.prefix = 0};
    char text[LEASE_GRANT_MAX];
    if (!lan_grant(row, &old))
        old.address.s_addr = 0;
    lease_grant_format(now, text);
    /* Of one that has ended the wish stays. */
    if (now->address.s_addr) {
        free(row->lease);
        row->lease = xstrdup(text);
    }
    int r = now->address.s_addr ? check_holder(s, row, now, err) : 0;
    if (r == 0)
        r = change_rules(s, n, row, now, err);
    if (r == 0 && namespace_fd >= 0)
        r = inside_grant(namespace_fd, row, &old, now, err);
    return r < 0 ? r
                 : store_port_set_lease(s, row->instance_id, row->network, now->address, row->lease,
                                        err);
}

static int no_answer(const struct network *n, struct error *err)
{
    return error_set(err, ERROR_SYSTEM, ETIMEDOUT,
                     "no DHCP server of the LAN at %s has given an address within %d seconds; "
                     "network %s has none of its own (--subnet)",
                     n->parent, ANSWER_MS / 1000, n->name);
}

static int wait_for_grant(const struct network *n, int report, struct lease_grant *ret,
                          struct error *err)
{
    struct pollfd p = {report, POLLIN, 0};
    char text[LEASE_GRANT_MAX];
    int ready;
    do
        ready = poll(&p, 1, ANSWER_MS);
    while (ready < 0 && errno == EINTR);
    if (ready <= 0)
        return no_answer(n, err);
    ssize_t len = recv(report, text, sizeof(text) - 1, 0);
    if (len <= 0)
        return error_set(err, ERROR_SYSTEM, EIO, "what asks the LAN for an address has ended");
    text[len] = '\0';
    if (lease_grant_parse(text, ret) < 0 || ret->address.s_addr == 0)
        return error_set(err, ERROR_CORRUPT, EPROTO, "the LAN has given no usable address");
    return 0;
}

int lan_join(struct store *s, const struct network *n, struct store_port *row, int namespace_fd,
             int tap_fd, int *ret_report, struct error *err)
{
    _cleanup_close_ int report = -EBADF;
    _cleanup_free_ char *dir = NULL;
    struct lease_grant grant;
    int r = bridge_run_dir(s, n, &dir, err);
    if (r == 0)
        r = start_asking(s, row, namespace_fd, tap_fd, &report, err);
    if (r == 0)
        r = wait_for_grant(n, report, &grant, err);
    if (r == 0)
        r = set_grant(s, n, row, &grant, namespace_fd, err);
    if (r == 0)
        *ret_report = TAKE_FD(report);
    return r;
}

/* --- while it runs --- */

/* The next line, which stays until it has been done: whoever is killed on the way does it again. */
static int peek_grant(int report, bool *ret_gone, struct lease_grant *ret)
{
    char text[LEASE_GRANT_MAX];
    ssize_t len = recv(report, text, sizeof(text) - 1, MSG_PEEK | MSG_DONTWAIT);
    *ret_gone = len == 0;
    if (len <= 0)
        return len == 0 ? 0 : -errno;
    text[len] = '\0';
    return lease_grant_parse(text, ret);
}

static int find_port(struct store *s, const char *instance_id, uint8_t position,
                     struct store_port *ret, struct error *err)
{
    struct store_port *ports;
    int r = store_port_of(s, instance_id, &ports, err);
    if (r < 0)
        return r;
    r = -ENOENT;
    for (struct store_port *p = ports; r < 0 && p->instance_id; p++)
        if (p->attached && p->position == position && p->lease)
            r = store_port_get(s, instance_id, p->network, ret, err);
    store_port_list_free(ports);
    return r;
}

void network_lease_taken(int report_fd)
{
    char text[LEASE_GRANT_MAX];
    (void)!recv(report_fd, text, sizeof(text), MSG_DONTWAIT);
}

int network_take_lease(struct store *s, const char *instance_id, uint8_t position, int namespace_fd,
                       int tap_fd, int report_fd, struct network_lease *ret, struct error *err)
{
    _cleanup_network_ struct network *n = NULL;
    struct store_port row;
    struct lease_grant now;
    bool gone;
    *ret = (struct network_lease){.report_fd = -EBADF};
    int r = find_port(s, instance_id, position, &row, err);
    if (r < 0) /* it has left that network meanwhile */
        return r == -ENOENT ? 0 : r;
    ret->before = row.address;
    r = store_network_find(s, row.network, &n, err);
    int bad = peek_grant(report_fd, &gone, &now);
    if (r == 0 && gone)
        r = start_asking(s, &row, namespace_fd, tap_fd, &ret->report_fd, err);
    else if (r == 0 && bad == 0)
        r = set_grant(s, n, &row, &now, namespace_fd, err);
    else if (bad == -EINVAL) /* it was taken over: it is not listened to any more */
        network_lease_taken(report_fd);
    ret->line = !gone && bad == 0;
    ret->now = row.address;
    store_port_done(&row);
    return r;
}
