/*
 * The default network of an ordinary user, who may touch neither the host's links nor its rules:
 * each instance has a network namespace of its own, and the program pasta carries its packets out
 * of that and connections to published ports in, as sockets of the user's.
 *
 *   container   eth0 of its namespace is a tap that pasta serves.
 *   machine     the same namespace, in which nothing runs but the program passt: it serves QEMU's
 * card over a socket. So what a machine may reach is what a container may.
 *
 * The store says what it says of any port: address, published ports. Instances do not reach each
 * other but by published ports; their names are not resolved.
 *
 * Before anything runs in the namespace its link gets a filter that nobody inside can take off
 * (kernel/tap_filter.h). Host ports are bound by pasta; to choose free ones, and to tell a conflict
 * in our words, they are bound here first and let go.
 *
 * pasta is started when the port is attached and ended when it is detached;
 * RUN/networks/pasta/ID.pid is written by itself, and the path among its arguments tells it from a
 * later process of that number. passt ends with QEMU.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <netinet/if_ether.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "kernel/netns.h"
#include "kernel/tap_filter.h"
#include "service/network/network-internal.h"

#define PASST_FD 3
#define LINK     "eth0"
#define TAP_MTU  65520 /* nothing of it is ever on a wire: the more at once, the faster */

static char *pid_path(struct store *s, const char *instance_id)
{
    return xasprintf("%s/networks/pasta/%s.pid", s->run, instance_id);
}

/* --- what is refused --- */

int pasta_check(const struct network_request *q, struct error *err)
{
    if (q->rate.in || q->rate.out)
        return error_set(err, ERROR_DENIED, EPERM, "--network-rate needs root");
    if (q->connections != NETWORK_CONNECTIONS_USUAL)
        return error_set(err, ERROR_DENIED, EPERM, "--network-connections needs root");
    if (q->more)
        return error_set(err, ERROR_DENIED, EPERM, "more networks than one need root");
    for (size_t i = 0; i < q->n_publish; i++) {
        if (q->publish[i].ipv6)
            return error_set(err, ERROR_UNSUPPORTED, EAFNOSUPPORT,
                             "a port of an IPv6 address cannot be published without root");
        /* UDP: the filter on the tap cannot tell an answer from a question (kernel/tap_filter.h).
         */
        if (q->publish[i].protocol != IPPROTO_TCP)
            return error_set(err, ERROR_UNSUPPORTED, EPROTONOSUPPORT,
                             "a port of %s cannot be published without root",
                             q->publish[i].protocol == IPPROTO_UDP ? "UDP" : "SCTP");
    }
    return 0;
}

/* --- arguments --- */

static bool is_first(const struct network_port *port, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (port->publish[k].port == port->publish[i].port &&
            port->publish[k].protocol == port->publish[i].protocol)
            return false;
    return true;
}

/* -t for TCP, -u for UDP: from the host's port into the namespace, or, within, to the same port of
 * the machine. Without any of a kind the programs would forward whatever is bound. */
static void add_ports(char ***argv, const struct network_port *port, bool within)
{
    static const struct {
        uint8_t protocol;
        const char *option;
    } kinds[] = {{IPPROTO_TCP, "-t"}, {IPPROTO_UDP, "-u"}};
    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
        bool any = false;
        for (size_t i = 0; i < port->n_publish; i++) {
            const struct network_publish *p = &port->publish[i];
            if (p->protocol != kinds[k].protocol || (within && !is_first(port, i)))
                continue;
            any = true;
            strv_add(argv, kinds[k].option);
            if (within)
                strv_addf(argv, "%u", p->port);
            else if (p->host_address.s_addr)
                strv_addf(argv, "%s/%u:%u", address_text(p->host_address).s, p->host_port, p->port);
            else
                strv_addf(argv, "%u:%u", p->host_port, p->port);
        }
        if (!any) {
            strv_add(argv, kinds[k].option);
            strv_add(argv, "none");
        }
    }
}

/* What both programs are told: this address and no other, no way to the host's loopback. */
static char **common_arguments(const char *program, const struct network *n,
                               const struct store_port *row)
{
    static const char *const fixed[] = {"--ipv4-only", "--quiet",  "--no-map-gw",
                                        "--no-ra",     "--no-ndp", "--no-dhcpv6"};
    char **argv = strv_copy(NULL);
    strv_add(&argv, program);
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
        strv_add(&argv, fixed[i]);
    strv_addf(&argv, "--address=%s", address_text(row->address).s);
    strv_addf(&argv, "--netmask=%u", n->prefix);
    strv_addf(&argv, "--gateway=%s", address_text(n->gateway).s);
    return argv;
}

/* The complaint is the last line; what a log that is not there could not take stands around it. */
static int run_program(char *const *argv, const struct process_fd *fds, size_t n_fds,
                       struct error *err)
{
    _cleanup_buf_ struct buf said = BUF_INIT(16384);
    const struct process_spec spec = {.path = argv[0], .argv = argv, .fds = fds, .n_fds = n_fds};
    const struct process_capture capture = {.err = &said};
    int status = 0;
    int r = process_capture(&spec, &capture, &status, err);
    if (r == -ENOENT)
        return error_set(err, ERROR_NOT_FOUND, ENOENT,
                         "%s is missing, which an ordinary user's network needs: install the "
                         "package passt, or run with --network none or host",
                         argv[0]);
    if (r < 0 || status == 0)
        return r;
    while (said.len > 0 && said.data[said.len - 1] == '\n')
        said.data[--said.len] = '\0';
    const char *line = said.len > 0 ? strrchr(said.data, '\n') : NULL;
    return error_set(err, ERROR_SYSTEM, EIO, "%s: %.300s", argv[0],
                     line           ? line + 1
                     : said.len > 0 ? said.data
                                    : "it ended at once");
}

/* --- the namespace's link --- */

/* Until here they were reserved: whoever takes one in this moment is in pasta's way, which says so.
 */
static void let_go(struct network_port *port)
{
    for (size_t i = 0; i < port->n_hold_fds; i++)
        port->hold_fds[i] = close_fd(port->hold_fds[i]);
    port->n_hold_fds = 0;
}

static int start_pasta(struct store *s, const struct network *n, const struct store_port *row,
                       int namespace, struct network_port *port, struct error *err)
{
    _cleanup_strv_ char **argv = common_arguments("pasta", n, row);
    _cleanup_free_ char *pid_file = pid_path(s, row->instance_id);
    _cleanup_free_ char *dir = xasprintf("%s/networks/pasta", s->run);
    const struct process_fd fds[] = {{namespace, PASST_FD}};
    static const char *const fixed[] = {"--config-net", "--no-dhcp", "-T", "none",
                                        "-U",           "none",      "-I", LINK};
    int r = path_make_dirs(dir, 0700);
    if (r < 0)
        return error_errno(err, r, "create %s", dir);
    pasta_down(s, row->instance_id); /* one that a killed command has left */
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
        strv_add(&argv, fixed[i]);
    strv_addf(&argv, "--ns-mac-addr=%s", row->mac);
    strv_addf(&argv, "--mtu=%d", TAP_MTU);
    strv_addf(&argv, "--dns-forward=%s", address_text(n->gateway).s);
    add_ports(&argv, port, false);
    strv_add(&argv, "--pid");
    strv_add(&argv, pid_file);
    strv_addf(&argv, "--netns=/proc/self/fd/%d", PASST_FD);
    let_go(port);
    return run_program(argv, fds, ARRAY_SIZE(fds), err);
}

/* --- a machine's card --- */

struct card {
    char *const *argv;
    int socket;
};

/* It goes into the background when it is ready, and ends with the socket's other side. */
static int start_inside(void *context, struct error *err)
{
    const struct card *c = context;
    const struct process_fd fds[] = {{c->socket, PASST_FD}};
    return run_program(c->argv, fds, ARRAY_SIZE(fds), err);
}

/* passt sends nothing to a machine that it has not heard of: what comes in would wait for what goes
 * out. The machine is announced, by the frame (an ARP request for its own address) that it could
 * send. */
static int announce(int fd, const struct store_port *row, struct error *err)
{
    struct {
        uint32_t length;
        struct ether_header ether;
        struct ether_arp arp;
    } __attribute__((packed)) f = {
        .length = htonl(sizeof(struct ether_header) + sizeof(struct ether_arp)),
        .ether.ether_type = htons(ETHERTYPE_ARP),
        .arp.ea_hdr = {htons(ARPHRD_ETHER), htons(ETHERTYPE_IP), 6, 4, htons(ARPOP_REQUEST)},
    };
    struct link_mac mac;
    if (link_mac_parse(row->mac, &mac) < 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the store has %s as a hardware address",
                         row->mac);
    memset(f.ether.ether_dhost, 0xff, sizeof(f.ether.ether_dhost));
    memcpy(f.ether.ether_shost, mac.bytes, sizeof(mac.bytes));
    memcpy(f.arp.arp_sha, mac.bytes, sizeof(mac.bytes));
    memcpy(f.arp.arp_spa, &row->address, sizeof(f.arp.arp_spa));
    memcpy(f.arp.arp_tpa, &row->address, sizeof(f.arp.arp_tpa));
    int r = fd_write_all(fd, &f, sizeof(f));
    return r < 0 ? error_errno(err, r, "announce the machine to passt") : 0;
}

static int start_passt(const struct network *n, const struct store_port *row, int namespace,
                       struct network_port *port, int *ret_fd, struct error *err)
{
    _cleanup_strv_ char **argv = common_arguments("passt", n, row);
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return error_errno(err, errno, "make a socket pair");
    _cleanup_close_ int ours = ends[0], theirs = ends[1];
    strv_addf(&argv, "--mtu=%u", n->mtu);
    strv_addf(&argv, "--dns=%s", address_text(n->gateway).s);
    add_ports(&argv, port, true);
    strv_addf(&argv, "--fd=%d", PASST_FD);
    struct card card = {argv, theirs};
    int r = netns_visit(namespace, start_inside, &card, err);
    if (r == 0)
        r = announce(ours, row, err);
    if (r == 0)
        *ret_fd = TAKE_FD(ours);
    return r;
}

/* The namespace is there as long as the monitor holds it. */
static int add_card(const struct network *n, const struct store_port *row, int *namespace,
                    struct network_port *port, struct error *err)
{
    int r = start_passt(n, row, *namespace, port, &port->fd, err);
    if (r < 0)
        return r;
    port->hold_fds = xreallocarray(port->hold_fds, port->n_hold_fds + 1, sizeof(int));
    port->hold_fds[port->n_hold_fds++] = TAKE_FD(*namespace);
    return 0;
}

static int filter_link(struct store *s, const struct network *n, const struct store_port *row,
                       struct error *err)
{
    struct tap_filter filter = {.address = row->address, .gateway = n->gateway};
    _cleanup_free_ char *path = pid_path(s, row->instance_id);
    pid_t pid = dnsmasq_recorded(path, path);
    if (!pid)
        return error_set(err, ERROR_SYSTEM, ECHILD, "pasta ended at once");
    int r = tap_filter_hosts(&filter, err);
    return r < 0 ? r : tap_filter_attach(pid, &filter, err);
}

int pasta_up(struct store *s, const struct network_request *q, const struct network *n,
             const struct store_port *row, struct network_port *port, struct error *err)
{
    _cleanup_close_ int namespace = -EBADF;
    int r = netns_create(&namespace, NULL, err);
    if (r == 0)
        r = start_pasta(s, n, row, namespace, port, err);
    if (r == 0)
        r = filter_link(s, n, row, err);
    if (r == 0 && q->machine)
        r = add_card(n, row, &namespace, port, err);
    else if (r == 0)
        port->fd = TAKE_FD(namespace);
    if (r < 0)
        pasta_down(s, row->instance_id);
    return r;
}

void pasta_down(struct store *s, const char *instance_id)
{
    _cleanup_free_ char *path = pid_path(s, instance_id);
    pid_t pid = dnsmasq_recorded(path, path);
    if (pid)
        dnsmasq_stop(pid, path);
    unlink(path);
}
