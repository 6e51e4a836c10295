/*
 * The first process: born by the starter into all new namespaces, it builds its world in the named
 * phases below, becomes the workload's user and executes. Any failure is sent to the starter as an
 * error and ends it; there is nothing to undo, because all it did is in its own namespaces.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
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
#include "runtime/container/hooks.h"
#include "runtime/container/internal.h"
#include "wire/oci/state.h"

int container_join_groups(struct container *c, struct error *err)
{
    /* In a user namespace it may not: the starter has done it. */
    return oci_config_namespace(c->config, CLONE_NEWUSER) ? 0 : cgroup_join(&c->cgroup, err);
}

/* In a new user namespace this process is nobody until its ids are mapped. */
static int phase_user_namespace(struct container *c, struct error *err)
{
    int r = container_needs_preparation(c) ? container_take_prepared(c, err) : 0;
    if (r < 0 || !oci_config_namespace(c->config, CLONE_NEWUSER))
        return r;
    r = container_namespace_root(c->config->linux_.keep_groups);
    if (r < 0)
        return error_errno(err, r, "become root of the user namespace");
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

static int run_hooks(const struct container *c, enum oci_hook_kind kind, const char *status,
                     struct error *err)
{
    const struct oci_hook_list *hooks = &c->config->hooks[kind];
    if (hooks->n == 0)
        return 0;
    struct oci_state state = *c->start->oci->state;
    state.status = status;
    state.pid = getpid();
    _cleanup_free_ char *text = oci_state_to_json(&state, false);
    return hooks_run(hooks, oci_hook_name(kind), text, err);
}

/* Hooks of the caller's run in its own namespaces, and those of the container in this one, while
 * both the host's files and the container's are there. */
static int phase_hooks(struct container *c, struct error *err)
{
    struct channel_message m = {.type = CHANNEL_HOOKS};
    const struct oci_hook_list *hooks = c->config->hooks;
    if (!c->start->oci)
        return 0;
    if (hooks[OCI_HOOK_PRESTART].n + hooks[OCI_HOOK_CREATE_RUNTIME].n > 0) {
        int r = channel_send(c->channel, &m, -EBADF);
        if (r == 0)
            r = channel_receive(c->channel, &m, NULL);
        if (r < 0 || m.type != CHANNEL_GO)
            return error_errno(err, r < 0 ? r : EPIPE, "wait for the hooks");
    }
    return run_hooks(c, OCI_HOOK_CREATE_CONTAINER, "created", err);
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

/* The hooks are over: what is executed next is the workload. */
static int phase_labels(struct container *c, struct error *err)
{
    return container_exec_labels(&c->config->process, err);
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
    {"hooks", phase_hooks},
    {"working directory", phase_work_directory},
    {"user", phase_user},
    {"labels", phase_labels},
    {"masked paths", container_masked_paths},
    {"read-only paths", container_readonly_paths},
    {"change of root", container_pivot},
};

/* The starter is done with this process, and what the caller holds is not its to keep while it
 * waits. */
static int wait_release(struct container *c)
{
    unsigned int preserved = c->start->oci ? c->start->oci->preserve_fds : 0;
    _cleanup_free_ int *keep = xcalloc(preserved + 2, sizeof(int));
    for (unsigned int i = 0; i < preserved; i++)
        keep[i] = 3 + (int)i;
    keep[preserved] = c->hold_socket;
    keep[preserved + 1] = c->console;
    fd_close_others(keep, preserved + 2);
    c->channel = c->root = c->proc = -EBADF;
    return container_hold_wait(c->hold_socket, &c->channel);
}

/* A key that the caller has must not be the workload's. */
static int new_keyring(const struct container *c, struct error *err)
{
    if (!c->start->oci || !c->start->oci->keyring)
        return 0;
    _cleanup_free_ char *name = xasprintf("_ses.%s", c->start->id);
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name) < 0 && errno != ENOSYS)
        return error_errno(err, errno, "make a session keyring");
    return 0;
}

/* A container of the engine's dies with its monitor; the starter answers only while that one lives.
 * One of the command line's outlives its caller. */
static int report_ready(const struct container *c, struct error *err)
{
    if (!c->start->oci && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return error_errno(err, errno, "ask for the monitor's death");
    if (!channel_wait_go(c->channel))
        return error_set(err, ERROR_SYSTEM, EPIPE, "the caller has gone");
    return 0;
}

/* What was created waits to be started, and loads its filter only then: a profile need not allow
 * what the wait takes. */
static int hold(struct container *c, struct container_process *become, struct error *err)
{
    int r = wait_release(c);
    if (r < 0)
        return error_errno(err, r, "wait to be started");
    become->channel = c->channel;
    r = run_hooks(c, OCI_HOOK_START_CONTAINER, "created", err);
    return r < 0 ? r : container_seal(become, err);
}

static int become_workload(struct container *c, struct error *err)
{
    const struct oci_process *p = &c->config->process;
    struct container_process become = {
        .channel = c->channel,
        .oci = p,
        .linux_ = &c->config->linux_,
        .user = &c->user,
        .filter = c->has_filter ? &c->filter : NULL,
        .seal_later = c->hold,
    };
    _cleanup_strv_ char **env = container_environment(p->env, &c->user);
    _cleanup_free_ char *file = NULL;
    int r;
    if ((r = container_chdir(c->root, p->cwd, err)) < 0 || (r = new_keyring(c, err)) < 0)
        return r;
    if (c->console >= 0)
        (void)!fchown(c->console, c->user.uid, (gid_t)-1);
    /* The reaper's child makes a session of its own; everybody else has it before the wait. */
    if (!c->bundle.init && (r = container_session(c->console, err)) < 0)
        return r;
    if ((r = container_become(&become, err)) < 0 ||
        (c->hold && (r = container_find_executable(p->args[0], env, &file, err)) < 0) ||
        (r = report_ready(c, err)) < 0 || (c->hold && (r = hold(c, &become, err)) < 0))
        return r;
    if (c->bundle.init &&
        ((r = container_reaper(err)) < 0 || (r = container_session(c->console, err)) < 0))
        return r;
    return container_execute(file, p->args, env, err);
}

_noreturn_ void container_init(struct container *c)
{
    struct error err = ERROR_INIT;
    unsigned int preserved = c->start->oci ? c->start->oci->preserve_fds : 0;
    int r = 0;
    umask(0);
    /* Every descriptor of the caller's goes at exec, whoever forgot to say so. */
    if (syscall(SYS_close_range, 3 + preserved, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
        r = error_errno(&err, errno, "mark the descriptors");
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(phases); i++)
        r = phases[i].run(c, &err);
    if (r == 0)
        (void)!become_workload(c, &err);
    channel_send_error(c->channel, &err);
    _exit(127);
}
