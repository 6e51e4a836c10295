/*
 * Addresses for machines that ask (DHCP, DHCPv6, router advertisements): a disk's system that is
 * told nothing else, and any other. One proa-lease per network, started with its first machine; it
 * reads a file for each machine from /run/proa-names/<network id>-lease, named by the hardware
 * address. That the sender is who it says is the bridge table's business.
 *
 * Its pid is in RUN/networks/NAME/lease.pid, as dnsmasq's is; where that is left of one that was
 * killed, the next start of any instance there starts it again. Two of its arguments are marks: the
 * network, and the bridge's index, because its socket knows no other bridge of that name.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/program.h"
#include "base/text.h"
#include "kernel/packet.h"
#include "service/network/network-internal.h"
#include "wire/lease/lease.h"

static char *directory(const struct network *n)
{
    _cleanup_free_ char *names = names_dir(n);
    return xasprintf("%s-lease", names);
}

static char *pid_path(struct store *s, const struct network *n)
{
    return xasprintf("%s/networks/%s/lease.pid", s->run, n->name);
}

static char *mark_of(const struct network *n)
{
    return xasprintf("proa-lease:%.16s", n->id);
}

static char *bridge_mark(uint32_t bridge)
{
    return xasprintf("bridge:%u", bridge);
}

static int make_directory(const char *path, struct error *err)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return error_errno(err, errno, "create %s", path);
    /* setgid: the files inside belong to the group that may read them. */
    if (chown(path, 0, LEASE_UID) < 0 || chmod(path, 02750) < 0)
        return error_errno(err, errno, "set the owner of %s", path);
    return 0;
}

static struct lease_place place_of(const struct network *n, const struct store_port *port)
{
    const char *name = port->hostname ? port->hostname : port->name;
    struct lease_place p = {
        .address = port->address,
        .gateway = n->gateway,
        .prefix = n->prefix,
        .address6 = port->address6,
        .gateway6 = n->gateway6,
        .prefix6 = n->prefix6,
        .mtu = n->mtu,
        .way_out = !n->internal,
    };
    if (strlen(name) < sizeof(p.name))
        memcpy(p.name, name, strlen(name));
    return p;
}

static int write_place(const char *dir, const struct network *n, const struct store_port *port,
                       struct error *err)
{
    struct lease_place place = place_of(n, port);
    char text[LEASE_PLACE_MAX];
    _cleanup_free_ char *path = path_join(dir, port->mac);
    lease_place_format(&place, text);
    int r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0640);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

static int start(struct store *s, const struct network *n, const char *dir, uint32_t bridge,
                 struct error *err)
{
    _cleanup_free_ char *program = NULL, *mark = mark_of(n), *which = bridge_mark(bridge),
                        *path = pid_path(s, n);
    _cleanup_close_ int fd = -EBADF;
    struct link_mac mac = bridge_mac(n);
    char mac_text[18], text[16];
    pid_t pid;
    link_mac_format(&mac, mac_text);
    int r = program_find("proa-lease", &program, err);
    if (r == 0)
        r = packet_open_questions(n->bridge, &fd, err);
    if (r < 0)
        return r;
    char *const argv[] = {mark, (char *)dir, mac_text, which, NULL};
    const struct process_fd fds[] = {{fd, 3}};
    struct process_spec spec = {.path = program,
                                .argv = argv,
                                .fds = fds,
                                .n_fds = ARRAY_SIZE(fds),
                                .new_session = true,
                                .uid = LEASE_UID};
    r = process_start(&spec, &pid, err);
    if (r < 0)
        return r;
    int len = snprintf(text, sizeof(text), "%d", (int)pid);
    r = file_write_atomic(AT_FDCWD, path, text, (size_t)len, 0600);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

static void stop(struct store *s, const struct network *n)
{
    _cleanup_free_ char *path = pid_path(s, n), *mark = mark_of(n);
    pid_t pid = dnsmasq_recorded(path, mark);
    if (!pid)
        pid = dnsmasq_searched(mark);
    if (pid)
        dnsmasq_stop(pid, mark);
}

static bool runs_on(struct store *s, const struct network *n, uint32_t bridge)
{
    _cleanup_free_ char *path = pid_path(s, n), *mark = mark_of(n), *which = bridge_mark(bridge);
    return dnsmasq_recorded(path, mark) && dnsmasq_recorded(path, which);
}

/* Under the network's lock. */
static int ensure(struct store *s, const struct network *n, const char *dir, uint32_t bridge,
                  struct error *err)
{
    if (runs_on(s, n, bridge))
        return 0;
    stop(s, n); /* another bridge's, or of a command that was killed before it said so */
    return start(s, n, dir, bridge, err);
}

int lease_add(struct store *s, const struct network *n, const struct store_port *port,
              uint32_t bridge, struct error *err)
{
    _cleanup_free_ char *dir = directory(n), *lock_name = xasprintf("%s/lock", n->name);
    _cleanup_close_ int lock = -EBADF;
    int r = network_lock(s, lock_name, LOCK_EX, &lock, err);
    if (r == 0)
        r = make_directory(dir, err);
    if (r == 0)
        r = write_place(dir, n, port, err);
    return r < 0 ? r : ensure(s, n, dir, bridge, err);
}

static bool is_wanted(struct store *s, const struct network *n)
{
    _cleanup_free_ char *path = pid_path(s, n);
    return access(path, F_OK) == 0;
}

bool lease_was_killed(struct store *s, const struct network *n, uint32_t bridge)
{
    return is_wanted(s, n) && !runs_on(s, n, bridge);
}

int lease_up(struct store *s, const struct network *n, uint32_t bridge, struct error *err)
{
    _cleanup_free_ char *dir = directory(n);
    if (!is_wanted(s, n))
        return 0;
    int r = make_directory(dir, err);
    return r < 0 ? r : ensure(s, n, dir, bridge, err);
}

void lease_remove(const struct network *n, const struct store_port *port)
{
    _cleanup_free_ char *dir = directory(n);
    _cleanup_free_ char *path = path_join(dir, port->mac);
    unlink(path);
}

void lease_down(struct store *s, const struct network *n)
{
    _cleanup_free_ char *dir = directory(n), *path = pid_path(s, n);
    stop(s, n);
    unlink(path);
    (void)!path_remove_tree(AT_FDCWD, dir);
}
