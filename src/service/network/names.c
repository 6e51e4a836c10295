/*
 * Names: one dnsmasq per network.
 *
 * It runs without any privilege from its first instruction on: a user id that owns nothing, no
 * capability, a port above 1024 on the bridge's address (the rules lead port 53 of the gateway
 * there, so neither a resolver on the host nor a published port 53 is in its way). It reads one
 * file per instance from a directory that it watches, so adding and removing a name needs no
 * signal.
 *
 * The files are not below RUN, which may be closed to every other user, but in /run/proa-names, as
 * /run/proa-names/<network id>/hosts/<instance id>; they hold names and addresses only.
 *
 * Its pid is in RUN/networks/NAME/dnsmasq.pid; whether that process is still the one is told by its
 * command line, since pids are used again.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/network/network-internal.h"
#include "service/network/rules.h"
#include "service/network/span-internal.h"

#define NAMES_ROOT      "/run/proa-names"
#define NAME_LENGTH_MAX 253

char *names_dir(const struct network *n)
{
    return xasprintf(NAMES_ROOT "/%.16s", n->id);
}

static char *pid_path(struct store *s, const struct network *n)
{
    return xasprintf("%s/networks/%s/dnsmasq.pid", s->run, n->name);
}

bool names_valid(const char *name)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    size_t len = strlen(name);
    return len > 0 && len <= NAME_LENGTH_MAX && strspn(name, good) == len && name[0] != '.' &&
           name[0] != '-' && !strstr(name, "..");
}

char *names_text(const struct store_port *port)
{
    _cleanup_strv_ char **names = strv_copy(NULL);
    strv_add(&names, port->name);
    if (port->hostname && !strv_has(names, port->hostname))
        strv_add(&names, port->hostname);
    for (size_t i = 0; port->aliases && port->aliases[i]; i++)
        if (!strv_has(names, port->aliases[i]))
            strv_add(&names, port->aliases[i]);
    _cleanup_free_ char *short_id = xstrndup(port->instance_id, 12);
    if (!strv_has(names, short_id))
        strv_add(&names, short_id);
    _cleanup_free_ char *joined = strv_join(names, " ");
    _cleanup_free_ char *ipv4 =
        port->address.s_addr ? xasprintf("%s %s\n", address_text(port->address).s, joined) : NULL;
    return IN6_IS_ADDR_UNSPECIFIED(&port->address6)
               ? xstrdup(ipv4 ? ipv4 : "")
               : xasprintf("%s%s %s\n", ipv4 ? ipv4 : "", address6_text(&port->address6).s, joined);
}

/* Written beside the watched directory and moved in, so that dnsmasq never sees a half file. */
int names_add(const struct network *n, const struct store_port *port, struct error *err)
{
    _cleanup_free_ char *dir = names_dir(n), *text = names_text(port);
    _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, "open %s", dir);
    _cleanup_free_ char *target = path_join("hosts", port->instance_id);
    int r = file_write_atomic(fd, port->instance_id, text, strlen(text), 0640);
    if (r == 0 && renameat(fd, port->instance_id, fd, target) < 0)
        r = -errno;
    if (r < 0)
        return error_errno(err, r, "write the names of %s", port->name);
    return 0;
}

void names_remove(const struct network *n, const char *instance_id)
{
    _cleanup_free_ char *dir = names_dir(n);
    _cleanup_free_ char *path = xasprintf("%s/hosts/%s", dir, instance_id);
    unlink(path);
}

/* --- the process --- */

static char *hosts_argument(const struct network *n)
{
    _cleanup_free_ char *dir = names_dir(n);
    return xasprintf("--hostsdir=%s/hosts", dir);
}

bool names_running(struct store *s, const struct network *n)
{
    _cleanup_free_ char *path = pid_path(s, n), *mark = hosts_argument(n);
    return dnsmasq_recorded(path, mark) != 0;
}

static int make_dir(const char *path, mode_t mode, gid_t group, struct error *err)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return error_errno(err, errno, "create %s", path);
    if (chown(path, 0, group) < 0 || chmod(path, mode) < 0)
        return error_errno(err, errno, "set the owner of %s", path);
    return 0;
}

static int make_dirs(const struct network *n, struct error *err)
{
    _cleanup_free_ char *dir = names_dir(n);
    _cleanup_free_ char *hosts = path_join(dir, "hosts");
    int r = make_dir(NAMES_ROOT, 0711, 0, err);
    /* setgid: the files inside belong to the group that may read them. */
    if (r == 0)
        r = make_dir(dir, 02710, DNSMASQ_UID, err);
    /* What an earlier life left is not trusted: the store says who is attached. */
    if (r == 0 && (r = path_remove_tree(AT_FDCWD, hosts)) < 0)
        return error_errno(err, r, "remove %s", hosts);
    if (r == 0)
        r = make_dir(hosts, 02750, DNSMASQ_UID, err);
    return r;
}

/* Names of instances that were attached while nothing stood here (a reboot, a cleaned /run). */
static int write_all(struct store *s, const struct network *n, struct error *err)
{
    struct store_port *ports = NULL;
    int r = store_port_list(s, n->name, &ports, err);
    for (struct store_port *p = ports; r == 0 && p->instance_id; p++)
        if (p->attached)
            r = names_add(n, p, err);
    store_port_list_free(ports);
    return r < 0 || !n->vxlan_id ? r : heard_write_names(s, n, err);
}

static char **command_line(const struct network *n)
{
    _cleanup_free_ char *mark = hosts_argument(n);
    char **argv = dnsmasq_arguments("dnsmasq", n->gateway, NAMES_PORT);
    strv_add(&argv, mark);
    if (n->internal)
        strv_add(&argv, "--no-resolv");
    return argv;
}

/* One that was killed a moment ago may still hold the port. */
static int wait_port_free(const struct network *n, struct error *err)
{
    int64_t end = time_monotonic_ms() + DNSMASQ_READY_MS;
    while (dnsmasq_listening(n->gateway, NAMES_PORT)) {
        if (time_monotonic_ms() > end)
            return error_set(err, ERROR_CONFLICT, EADDRINUSE,
                             "port %d/udp of %s is in use by another program", NAMES_PORT,
                             address_text(n->gateway).s);
        usleep(1000);
    }
    return 0;
}

static int start(struct store *s, const struct network *n, pid_t *ret_pid, struct error *err)
{
    _cleanup_strv_ char **argv = command_line(n);
    _cleanup_free_ char *path = pid_path(s, n);
    return dnsmasq_start(argv, path, ret_pid, err);
}

int names_wait(const struct network *n, pid_t pid, struct error *err)
{
    return pid ? dnsmasq_wait(pid, n->gateway, NAMES_PORT, err) : 0;
}

int names_up(struct store *s, const struct network *n, pid_t *ret_pid, struct error *err)
{
    _cleanup_free_ char *mark = hosts_argument(n);
    *ret_pid = 0;
    if (names_running(s, n))
        return 0;
    pid_t lost = dnsmasq_searched(mark);
    if (lost)
        kill(lost, SIGKILL);
    int r = make_dirs(n, err);
    if (r == 0)
        r = write_all(s, n, err);
    if (r == 0)
        r = wait_port_free(n, err);
    if (r == 0)
        r = start(s, n, ret_pid, err);
    return r;
}

void names_down(struct store *s, const struct network *n)
{
    _cleanup_free_ char *path = pid_path(s, n), *dir = names_dir(n), *mark = hosts_argument(n);
    pid_t pid = dnsmasq_recorded(path, mark);
    if (!pid)
        pid = dnsmasq_searched(mark);
    if (pid)
        dnsmasq_stop(pid, mark);
    unlink(path);
    (void)!path_remove_tree(AT_FDCWD, dir);
    rmdir(NAMES_ROOT); /* stays while another network has names */
}
