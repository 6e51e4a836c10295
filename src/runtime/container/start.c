/*
 * Starting a container: three processes.
 *
 *   monitor   calls container_start(), gets the pid and the terminal, and waits for the pid.
 *   starter   a fork of it that does the work, so that the monitor's memory stays small: it parses
 *             the configuration, makes the control group, clones the first process as the
 *             monitor's child (CLONE_PARENT), maps ids, and reports.
 *   init      init.c.
 *
 * Talk: init sends the terminal, then READY (it is set up and will die with the monitor); the
 * starter, seeing that the monitor lives, answers GO; the end of init's stream is its successful
 * exec. Anything that fails sends ERROR instead. The starter undoes what it did outside: it kills
 * init and removes the control group. The monitor reaps.
 */
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "kernel/ns.h"
#include "runtime/container/internal.h"

#define END_WAIT_MS 10000

static int load_bundle(struct container *c, struct error *err)
{
    struct stat st;
    _cleanup_free_ char *config = path_join(c->start->bundle, "config.json");
    _cleanup_free_ char *proa = path_join(c->start->bundle, "proa.json");
    int r = oci_config_load(config, &c->config, err);
    if (r < 0)
        return r;
    if (stat(proa, &st) == 0) {
        if ((r = bundle_load(c->start->bundle, &c->bundle, err)) < 0)
            return r;
        c->has_bundle = true;
    }
    if (c->bundle.seccomp_filter) {
        if ((r = seccomp_filter_read(c->bundle.seccomp_filter, &c->filter, err)) < 0)
            return r;
        c->has_filter = true;
    }
    c->cgroup_path = container_cgroup_path(c->config, c->start->id);
    return 0;
}

/* What must hold before anything is done. */
static int check(const struct container *c, struct error *err)
{
    const struct oci_linux *l = &c->config->linux_;
    if (!c->config->has_process)
        return error_invalid(err, "config.json: \"process\" is missing");
    if (!container_is_new(c, CLONE_NEWNS))
        return error_invalid(err, "config.json: a container needs a new mount namespace");
    if (c->config->process.terminal != c->start->terminal)
        return error_invalid(err, "config.json: process.terminal is not what was asked for");
    if (container_is_new(c, CLONE_NEWUSER) != (l->n_uid_maps > 0 && l->n_gid_maps > 0))
        return error_invalid(err, "config.json: id mappings and a new user namespace go together");
    /* Only what the engine compiled is loaded here; to run without the filter that the caller
     * asked for would be worse than not to run. */
    if (l->seccomp && !c->has_filter)
        return error_invalid(err, "linux.seccomp was not compiled for this bundle");
    return 0;
}

static uint64_t clone_flags(const struct container *c)
{
    uint64_t flags = CLONE_PARENT;
    for (size_t i = 0; i < c->config->linux_.n_namespaces; i++) {
        const struct oci_namespace *ns = &c->config->linux_.namespaces[i];
        /* The control group namespace is made once the process is in its groups. */
        if (!ns->path && ns->type != CLONE_NEWCGROUP)
            flags |= (uint64_t)ns->type;
    }
    return c->start->network_fd >= 0 ? flags & ~(uint64_t)CLONE_NEWNET : flags;
}

/* Namespaces that a process can only be born into; and those of the host that one in a user
 * namespace could not join. The user namespace is the last: it takes away the right to join. */
static int join_before_birth(const struct container *c, struct error *err)
{
    static const int types[] = {CLONE_NEWPID, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWNET,
                                CLONE_NEWUSER};
    bool user = oci_config_namespace(c->config, CLONE_NEWUSER);
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        const struct oci_namespace *ns = oci_config_namespace(c->config, types[i]);
        bool given = types[i] == CLONE_NEWNET && c->start->network_fd >= 0;
        if (user && given) {
            int r = ns_enter(c->start->network_fd, CLONE_NEWNET);
            if (r < 0)
                return error_errno(err, r, "join the network namespace");
        }
        if (given || !ns || !ns->path || (!user && types[i] != CLONE_NEWPID))
            continue;
        _cleanup_close_ int fd = ns_open(ns->path, types[i]);
        int r = fd < 0 ? fd : ns_enter(fd, types[i]);
        if (r < 0)
            return error_errno(err, r, "join the %s namespace %s", oci_namespace_name(types[i]),
                               ns->path);
    }
    return 0;
}

/* Inherited by the first process; the starter itself is gone in a moment. */
static int set_inherited(const struct container *c, struct error *err)
{
    char text[16];
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return error_errno(err, errno, "hide the process");
    if (!c->config->process.has_oom_score_adj)
        return 0;
    snprintf(text, sizeof(text), "%d", c->config->process.oom_score_adj);
    int r = file_write_kernel(AT_FDCWD, "/proc/self/oom_score_adj", text);
    return r < 0 ? error_errno(err, r, "set oom_score_adj to %s", text) : 0;
}

static int hold_address(const char *run_dir, struct sockaddr_un *ret, struct error *err)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/init.sock", run_dir);
    if (n >= (int)sizeof(ret->sun_path))
        return error_set(err, ERROR_LIMIT, ENAMETOOLONG, "the path %s is too long for a socket",
                         run_dir);
    return 0;
}

static int make_hold_socket(struct container *c, struct error *err)
{
    struct sockaddr_un address;
    int r = hold_address(c->start->run_dir, &address, err);
    if (r < 0)
        return r;
    unlink(address.sun_path);
    c->hold_socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    mode_t old = umask(0177);
    r = c->hold_socket < 0 ||
                bind(c->hold_socket, (struct sockaddr *)&address, sizeof(address)) < 0 ||
                listen(c->hold_socket, 1) < 0
            ? -errno
            : 0;
    umask(old);
    return r < 0 ? error_errno(err, r, "make %s", address.sun_path) : 0;
}

/* Follows init until it executes. */
static int follow(int channel, pid_t monitor, int *console, struct error *err)
{
    struct channel_message m, go = {.type = CHANNEL_GO};
    bool ready = false;
    for (;;) {
        int fd = -EBADF;
        int r = channel_receive(channel, &m, &fd);
        if (r < 0)
            return error_errno(err, r, "hear from the first process");
        if (m.type == CHANNEL_CONSOLE) {
            close_fd(*console);
            *console = fd;
            continue;
        }
        close_fd(fd);
        if (m.type == CHANNEL_ERROR) {
            if (err)
                *err = m.err;
            return m.err.code ? -m.err.code : -EIO;
        }
        if (m.type == CHANNEL_READY && getppid() == monitor) {
            (void)!channel_send(channel, &go, -EBADF);
            ready = true;
        } else if (m.type == CHANNEL_END && ready) {
            return 0;
        } else {
            return error_set(err, ERROR_SYSTEM, ECHILD,
                             "the first process was killed before it could execute");
        }
    }
}

static int give_birth(struct container *c, int channel[2], pid_t *ret_pid, int *ret_pidfd,
                      struct error *err)
{
    pid_t pid = ns_clone(clone_flags(c), c->cgroup.dirs[CGROUP_UNIFIED], ret_pidfd);
    if (pid < 0)
        return error_errno(err, pid, "make the container's first process");
    if (pid == 0) {
        close_fd(channel[0]);
        close_fd(c->report);
        c->channel = channel[1];
        container_init(c);
    }
    *ret_pid = pid;
    return 0;
}

static int start_outside(struct container *c, struct error *err)
{
    int r;
    if ((r = load_bundle(c, err)) < 0 || (r = check(c, err)) < 0 || (r = set_inherited(c, err)) < 0)
        return r;
    if (c->hold && (r = make_hold_socket(c, err)) < 0)
        return r;
    if ((r = container_cgroup_create(c, err)) < 0)
        return r;
    return join_before_birth(c, err);
}

static void undo(struct container *c, int pidfd)
{
    if (pidfd >= 0 && ns_pidfd_signal(pidfd, SIGKILL) == 0)
        (void)!ns_pidfd_wait(pidfd, END_WAIT_MS);
    if (c->cgroup.path)
        (void)!cgroup_remove(c->cgroup.path, NULL);
}

/* The starter's whole life. Reports to the monitor; *pid is the child it has to reap, or 0. */
static int run_starter(struct container *c, pid_t monitor, struct error *err)
{
    struct channel_message m = {.type = CHANNEL_STARTED};
    int channel[2];
    _cleanup_close_ int pidfd = -EBADF, console = -EBADF;
    pid_t pid = 0;
    int r = start_outside(c, err);
    if (r == 0 && (r = channel_pair(channel)) < 0)
        r = error_errno(err, r, "make a channel");
    if (r == 0 && (r = give_birth(c, channel, &pid, &pidfd, err)) == 0) {
        close_fd(channel[1]);
        if (oci_config_namespace(c->config, CLONE_NEWUSER))
            r = container_prepare_for_user(c, pid, channel[0], err);
        if (r == 0)
            r = follow(channel[0], monitor, &console, err);
    }
    if (r < 0)
        undo(c, pidfd);
    /* The pid is told in any case: it is the monitor that reaps. */
    m.value = (int)pid;
    if (pid > 0)
        (void)!channel_send(c->report, &m, console);
    return r;
}

static _noreturn_ void starter(const struct runtime_start *s, bool hold, pid_t monitor, int report)
{
    struct error err = ERROR_INIT;
    struct container c = {
        .start = s,
        .cgroup = CGROUP_INIT,
        .hold = hold,
        .hold_socket = -EBADF,
        .report = report,
        .channel = -EBADF,
        .root = -EBADF,
        .proc = -EBADF,
        .dev = -EBADF,
        .pts = -EBADF,
        .console = -EBADF,
    };
    if (run_starter(&c, monitor, &err) < 0)
        channel_send_error(report, &err);
    _exit(0);
}

/* The monitor's side: what the starter says until it ends. */
static int hear(int report, struct runtime_started *ret, struct error *err)
{
    struct channel_message m;
    for (;;) {
        int fd = -EBADF;
        int r = channel_receive(report, &m, &fd);
        if (r < 0)
            return error_errno(err, r, "hear from the starter");
        if (m.type == CHANNEL_STARTED) {
            ret->pid = m.value;
            ret->console = fd;
            continue;
        }
        close_fd(fd);
        if (m.type == CHANNEL_ERROR) {
            if (err)
                *err = m.err;
            return m.err.code ? -m.err.code : -EIO;
        }
        if (ret->pid > 0)
            return 0;
        return error_set(err, ERROR_SYSTEM, ECHILD, "the starter was killed");
    }
}

static void reap(pid_t pid)
{
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

static int launch(const struct runtime_start *s, bool hold, struct runtime_started *ret,
                  struct error *err)
{
    struct runtime_started started = {.pid = 0, .console = -EBADF};
    int ends[2];
    pid_t monitor = getpid();
    int r = channel_pair(ends);
    if (r < 0)
        return error_errno(err, r, "make a channel");
    pid_t pid = fork();
    if (pid == 0) {
        close_fd(ends[0]);
        starter(s, hold, monitor, ends[1]);
    }
    close_fd(ends[1]);
    r = pid < 0 ? error_errno(err, errno, "start the container") : hear(ends[0], &started, err);
    close_fd(ends[0]);
    reap(pid);
    if (r < 0) {
        close_fd(started.console);
        if (started.pid > 0)
            kill(started.pid, SIGKILL);
        reap(started.pid);
        return r;
    }
    *ret = started;
    return 0;
}

int container_start(const struct runtime_start *s, struct runtime_started *ret, struct error *err)
{
    return launch(s, false, ret, err);
}

int container_create(const struct runtime_start *s, struct runtime_started *ret, struct error *err)
{
    return launch(s, true, ret, err);
}

int container_release(const char *run_dir, struct error *err)
{
    struct channel_message m;
    struct sockaddr_un address;
    int r = hold_address(run_dir, &address, err);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return error_errno(err, errno, "start: connect to %s", address.sun_path);
    unlink(address.sun_path);
    if ((r = channel_receive(fd, &m, NULL)) < 0)
        return error_errno(err, r, "start: hear from the first process");
    if (m.type != CHANNEL_ERROR)
        return 0;
    if (err)
        *err = m.err;
    return m.err.code ? -m.err.code : -EIO;
}
