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
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/network/network-internal.h"
#include "service/network/rules.h"

#define NAMES_ROOT "/run/proa-names"
/* Above every range that distributions, user namespaces and systemd hand out. */
#define NAMES_UID       2000000053u
#define NAME_LENGTH_MAX 253
#define READY_MS        5000

static char *names_dir(const struct network *n)
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

static bool is_ours(pid_t pid, const struct network *n)
{
    _cleanup_free_ char *dir = names_dir(n), *path = xasprintf("/proc/%d/cmdline", (int)pid);
    _cleanup_free_ char *wanted = xasprintf("--hostsdir=%s/hosts", dir);
    char line[4096];
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t len = fd_read_full(fd, line, sizeof(line) - 1);
    if (len <= 0)
        return false;
    line[len] = '\0';
    for (const char *arg = line; arg < line + len; arg += strlen(arg) + 1)
        if (strcmp(arg, wanted) == 0)
            return true;
    return false;
}

static pid_t recorded_pid(struct store *s, const struct network *n)
{
    _cleanup_free_ char *path = pid_path(s, n), *text = NULL;
    uint32_t pid;
    if (file_read(AT_FDCWD, path, 32, &text) < 0 || parse_u32(text, &pid) < 0)
        return 0;
    if (is_ours((pid_t)pid, n))
        return (pid_t)pid;
    waitpid((pid_t)pid, NULL, WNOHANG); /* it may have been a child of this very process */
    return 0;
}

/* For a command that was killed between starting dnsmasq and recording it. */
static pid_t searched_pid(const struct network *n)
{
    DIR *proc = opendir("/proc");
    pid_t found = 0;
    struct dirent *entry;
    while (proc && !found && (entry = readdir(proc))) {
        struct stat st;
        uint32_t pid;
        if (parse_u32(entry->d_name, &pid) == 0 &&
            fstatat(dirfd(proc), entry->d_name, &st, 0) == 0 && st.st_uid == NAMES_UID &&
            is_ours((pid_t)pid, n))
            found = (pid_t)pid;
    }
    if (proc)
        closedir(proc);
    return found;
}

bool names_running(struct store *s, const struct network *n)
{
    return recorded_pid(s, n) != 0;
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
        r = make_dir(dir, 02710, NAMES_UID, err);
    /* What an earlier life left is not trusted: the store says who is attached. */
    if (r == 0 && (r = path_remove_tree(AT_FDCWD, hosts)) < 0)
        return error_errno(err, r, "remove %s", hosts);
    if (r == 0)
        r = make_dir(hosts, 02750, NAMES_UID, err);
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
    return r;
}

static const char *find_program(void)
{
    static const char *const places[] = {"/usr/sbin/dnsmasq", "/usr/bin/dnsmasq",
                                         "/usr/local/sbin/dnsmasq"};
    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    return NULL;
}

static char **command_line(const struct network *n)
{
    _cleanup_free_ char *dir = names_dir(n);
    char **argv = strv_copy(NULL);
    static const char *const fixed[] = {
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=",
        "--pid-file=",
        "--user=",
        "--group=",
        "--no-hosts",
        "--bind-interfaces",
        "--domain-needed", /* a bare name is an instance or nothing: it is not asked outside */
        "--bogus-priv",
        "--cache-size=1000",
        "--dns-forward-max=300",
    };
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
        strv_add(&argv, fixed[i]);
    strv_addf(&argv, "--port=%d", NAMES_PORT);
    strv_addf(&argv, "--listen-address=%s", address_text(n->gateway).s);
    strv_addf(&argv, "--hostsdir=%s/hosts", dir);
    if (n->internal)
        strv_add(&argv, "--no-resolv");
    return argv;
}

/* Whether its socket is bound, in the form the kernel prints it. */
static bool is_listening(const struct network *n)
{
    char wanted[32];
    _cleanup_free_ char *table = NULL;
    snprintf(wanted, sizeof(wanted), ": %08X:%04X ", n->gateway.s_addr, NAMES_PORT);
    return file_read_kernel(AT_FDCWD, "/proc/net/udp", (size_t)4 << 20, &table) == 0 &&
           strstr(table, wanted);
}

/* One that was killed a moment ago may still hold the port. */
static int wait_port_free(const struct network *n, struct error *err)
{
    int64_t end = time_monotonic_ms() + READY_MS;
    while (is_listening(n)) {
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
    const char *program = find_program();
    if (!program)
        return error_set(err, ERROR_NOT_FOUND, ENOENT,
                         "the dnsmasq program is missing; install the package dnsmasq-base");
    _cleanup_strv_ char **argv = command_line(n);
    struct process_spec spec = {
        .path = program, .argv = argv, .new_session = true, .uid = NAMES_UID};
    pid_t pid;
    int r = process_start(&spec, &pid, err);
    if (r < 0)
        return r;
    char text[16];
    int len = snprintf(text, sizeof(text), "%d", (int)pid);
    _cleanup_free_ char *path = pid_path(s, n);
    r = file_write_atomic(AT_FDCWD, path, text, (size_t)len, 0600);
    if (r < 0)
        return error_errno(err, r, "write %s", path);
    *ret_pid = pid;
    return 0;
}

int names_wait(const struct network *n, pid_t pid, struct error *err)
{
    int64_t end = time_monotonic_ms() + READY_MS;
    while (pid && !is_listening(n)) {
        int status;
        if (waitpid(pid, &status, WNOHANG) == pid)
            return error_set(err, ERROR_SYSTEM, EIO,
                             "dnsmasq ended at once; is port %d/tcp of %s in use?", NAMES_PORT,
                             address_text(n->gateway).s);
        if (time_monotonic_ms() > end)
            return error_set(err, ERROR_SYSTEM, ETIMEDOUT, "dnsmasq is not ready after %d ms",
                             READY_MS);
        usleep(500);
    }
    return 0;
}

int names_up(struct store *s, const struct network *n, pid_t *ret_pid, struct error *err)
{
    *ret_pid = 0;
    if (names_running(s, n))
        return 0;
    pid_t lost = searched_pid(n);
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

/* Waits until it is gone, so that its port is free and its files can go. */
static void stop(pid_t pid, const struct network *n)
{
    _cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0 || !is_ours(pid, n))
        return; /* looked at again: from here on the descriptor means this very process */
    struct pollfd gone = {fd, POLLIN, 0};
    syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0);
    if (poll(&gone, 1, 1000) == 0) {
        syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
        poll(&gone, 1, 1000);
    }
    waitpid(pid, NULL, WNOHANG); /* when it was this very command that started it */
}

void names_down(struct store *s, const struct network *n)
{
    _cleanup_free_ char *path = pid_path(s, n), *dir = names_dir(n);
    pid_t pid = recorded_pid(s, n);
    if (!pid)
        pid = searched_pid(n);
    if (pid)
        stop(pid, n);
    unlink(path);
    (void)!path_remove_tree(AT_FDCWD, dir);
    rmdir(NAMES_ROOT); /* stays while another network has names */
}
