/*
 * The first process: born by the starter into all new namespaces, it builds its world in the named
 * phases below, becomes the workload's user and executes. Any failure is sent to the starter as an
 * error and ends it; there is nothing to undo, because all it did is in its own namespaces.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "kernel/ns.h"
#include "runtime/container/internal.h"

int container_join_groups(struct container *c, struct error *err)
{
    /* In a user namespace it may not: the starter has done it. */
    return oci_config_namespace(c->config, CLONE_NEWUSER) ? 0 : cgroup_join(&c->cgroup, err);
}

/* In a new user namespace this process is nobody until its ids are mapped. */
static int phase_user_namespace(struct container *c, struct error *err)
{
    if (!oci_config_namespace(c->config, CLONE_NEWUSER))
        return 0;
    int r = container_take_prepared(c, err);
    if (r < 0)
        return r;
    if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, 0, 0, 0) < 0 ||
        syscall(SYS_setresuid, 0, 0, 0) < 0)
        return error_errno(err, errno, "become root of the user namespace");
    /* Changing ids made it what the starter had made sure it is not. */
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? error_errno(err, errno, "hide the process") : 0;
}

static int phase_join(struct container *c, struct error *err)
{
    const struct oci_linux *l = &c->config->linux_;
    /* From inside a user namespace nothing can be joined: the starter did it. */
    if (oci_config_namespace(c->config, CLONE_NEWUSER))
        return 0;
    for (size_t i = 0; i < l->n_namespaces; i++) {
        const struct oci_namespace *ns = &l->namespaces[i];
        /* The pid namespace was joined by the starter: it is for children. */
        if (!ns->path || ns->type == CLONE_NEWPID ||
            (ns->type == CLONE_NEWNET && c->start->network_fd >= 0))
            continue;
        _cleanup_close_ int fd = ns_open(ns->path, ns->type);
        int r = fd < 0 ? fd : ns_enter(fd, ns->type);
        if (r < 0)
            return error_errno(err, r, "join the %s namespace %s", oci_namespace_name(ns->type),
                               ns->path);
    }
    if (c->start->network_fd >= 0) {
        int r = ns_enter(c->start->network_fd, CLONE_NEWNET);
        if (r < 0)
            return error_errno(err, r, "join the network namespace");
    }
    return 0;
}

/* A new network namespace has a loopback device that is down. */
static int phase_loopback(struct container *c, struct error *err)
{
    if (!container_is_new(c, CLONE_NEWNET) || c->start->network_fd >= 0)
        return 0;
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
        return error_errno(err, errno, "bring up the loopback device");
    return 0;
}

static int phase_stdio(struct container *c, struct error *err)
{
    int high[3];
    if (c->start->terminal)
        return 0;
    for (int i = 0; i < 3; i++) {
        int fd = c->start->stdio[i];
        high[i] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
            high[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (high[i] < 0)
            return error_errno(err, errno, "use the descriptors given");
    }
    for (int i = 0; i < 3; i++)
        if (dup2(high[i], i) < 0)
            return error_errno(err, errno, "use the descriptors given");
    return 0;
}

static int phase_hostname(struct container *c, struct error *err)
{
    const char *host = c->config->hostname, *domain = c->config->domainname;
    if ((!host && !domain) || !oci_config_namespace(c->config, CLONE_NEWUTS))
        return 0;
    if (host && sethostname(host, strlen(host)) < 0)
        return error_errno(err, errno, "set the host name");
    if (domain && setdomainname(domain, strlen(domain)) < 0)
        return error_errno(err, errno, "set the domain name");
    return 0;
}

/* While the root is still writable: the working directory is made when the image has none. */
static int phase_work_directory(struct container *c, struct error *err)
{
    const char *cwd = c->config->process.cwd;
    _cleanup_close_ int fd = path_open_in_root(c->root, cwd, O_PATH | O_DIRECTORY, 0);
    if (fd != -ENOENT)
        return 0;
    fd = path_make_dirs_in_root(c->root, cwd, 0755);
    return fd < 0 ? error_errno(err, fd, "make the working directory %s", cwd) : 0;
}

static int phase_user(struct container *c, struct error *err)
{
    return container_user(c->root, &c->config->process.user, NULL, &c->user, err);
}

static const struct phase {
    const char *name;
    int (*run)(struct container *c, struct error *err);
} phases[] = {
    {"user namespace", phase_user_namespace},
    {"namespaces", phase_join},
    {"standard descriptors", phase_stdio},
    {"loopback", phase_loopback},
    {"root", container_root},
    {"mounts", container_mounts},
    {"devices", container_devices},
    {"terminal", container_console},
    {"host name", phase_hostname},
    {"sysctl", container_sysctls},
    {"control groups", container_cgroup_mounts},
    {"working directory", phase_work_directory},
    {"user", phase_user},
    {"masked paths", container_masked_paths},
    {"read-only paths", container_readonly_paths},
    {"change of root", container_pivot},
};

/* RUN_DIR/init.sock: the connection that comes says go, and gets the error when there is one. */
static int wait_release(struct container *c)
{
    int fd, keep[] = {c->hold_socket, c->console};
    /* The starter is done with this process, and what the monitor holds is not its to keep while
     * it waits. */
    fd_close_others(keep, ARRAY_SIZE(keep));
    c->channel = -EBADF;
    while ((fd = accept4(c->hold_socket, NULL, NULL, SOCK_CLOEXEC)) < 0)
        if (errno != EINTR)
            return -errno;
    c->channel = fd;
    return 0;
}

static int become_workload(struct container *c, struct error *err)
{
    const struct oci_process *p = &c->config->process;
    const struct container_process become = {
        .oci = p,
        .user = &c->user,
        .filter = c->has_filter ? &c->filter : NULL,
    };
    _cleanup_strv_ char **env = container_environment(p->env, &c->user);
    int r;
    if ((r = container_chdir(c->root, p->cwd, err)) < 0)
        return r;
    if (c->console >= 0)
        (void)!fchown(c->console, c->user.uid, (gid_t)-1);
    if ((r = container_become(&become, err)) < 0)
        return r;
    /* From here on it dies with the monitor. The starter answers only while that one lives. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return error_errno(err, errno, "ask for the monitor's death");
    if (!channel_wait_go(c->channel))
        return error_set(err, ERROR_SYSTEM, EPIPE, "the monitor has gone");
    if (c->hold && (r = wait_release(c)) < 0)
        return error_errno(err, r, "wait to be started");
    if (c->bundle.init && (r = container_reaper(err)) < 0)
        return r;
    if ((r = container_session(c->console, err)) < 0)
        return r;
    return container_execute(p->args, env, err);
}

_noreturn_ void container_init(struct container *c)
{
    struct error err = ERROR_INIT;
    int r = 0;
    umask(0);
    /* Every descriptor of the monitor's goes at exec, whoever forgot to say so. */
    if (syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
        r = error_errno(&err, errno, "mark the descriptors");
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(phases); i++)
        r = phases[i].run(c, &err);
    if (r == 0)
        (void)!become_workload(c, &err);
    channel_send_error(c->channel, &err);
    _exit(127);
}
