/*
 * Starting a container: three processes.
 *
 *   caller    the monitor, or `proa-oci create`: launch.c. It gets the pid and the terminal, and is
 *             the parent of the first process.
 *   starter   a fork of it that does the work, so that the monitor's memory stays small and the
 *             caller joins nothing: it parses the configuration, makes the control group, clones
 *             the first process as the caller's child (CLONE_PARENT), maps ids, and reports.
 *   init      init.c.
 *
 * Talk: init sends the terminal; HOOKS when its mounts stand and hooks of the caller's are due,
 * which the starter passes on, and waits for GO; then READY (it is set up; a monitor's dies with
 * it). The starter, seeing that the caller lives, answers GO; the end of init's stream is its
 * successful exec, or that it waits to be released (hold.c). Anything that fails sends ERROR
 * instead. The starter undoes what it did outside: it kills init and removes the control group. The
 * caller reaps.
 */
#include <fcntl.h>

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "kernel/ns.h"
#include "runtime/container/internal.h"

#define END_WAIT_MS 10000

/* The command line has parsed the configuration already, and may have moved the group. */
static int take_given(struct container *c, struct error *err)
{
    const struct container_oci *oci = c->start->oci;
    const struct oci_seccomp *profile = oci->config->linux_.seccomp;
    c->config = oci->config;
    c->cgroup_path = oci->cgroup_path ? xstrdup(oci->cgroup_path) : NULL;
    if (!profile)
        return 0;
    c->has_filter = true;
    return container_filter(profile, oci->filter_cache, &c->filter, err);
}

static int load_bundle(struct container *c, struct error *err)
{
    struct stat st;
    if (c->start->oci)
        return take_given(c, err);
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
    if (!c->start->oci && !container_is_new(c, CLONE_NEWNS))
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
        if (!ns->path && ns->type != CLONE_NEWCGROUP && ns->type != CLONE_NEWTIME)
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
    /* An ordinary user could not map the ids of what is hidden; the first process hides itself once
     * they are. */
    bool hide = container_is_privileged() || !oci_config_namespace(c->config, CLONE_NEWUSER);
    if (hide && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return error_errno(err, errno, "hide the process");
    if (!c->config->process.has_oom_score_adj)
        return 0;
    snprintf(text, sizeof(text), "%d", c->config->process.oom_score_adj);
    int r = file_write_kernel(AT_FDCWD, "/proc/self/oom_score_adj", text);
    return r < 0 ? error_errno(err, r, "set oom_score_adj to %s", text) : 0;
}

/* Has the caller run the hooks that are its own; its refusal ends the connection. */
static int ask_caller(int report, pid_t pid)
{
    struct channel_message m = {.type = CHANNEL_HOOKS, .value = (int)pid};
    int r = channel_send(report, &m, -EBADF);
    if (r == 0)
        r = channel_receive(report, &m, NULL);
    return r < 0 ? r : m.type == CHANNEL_GO ? 0 : -ECANCELED;
}

/* The first process as its starter knows it. */
struct birth {
    pid_t pid;
    int pidfd, channel;
};

/* Follows init until it executes. */
static int follow(const struct container *c, const struct birth *b, int *console, struct error *err)
{
    struct channel_message m, go = {.type = CHANNEL_GO};
    int channel = b->channel;
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
        if (m.type == CHANNEL_HOOKS) {
            if ((r = ask_caller(c->report, b->pid)) < 0)
                return error_errno(err, r, "wait for the hooks");
            (void)!channel_send(channel, &go, -EBADF);
        } else if (m.type == CHANNEL_READY && getppid() == c->caller) {
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

static int give_birth(struct container *c, struct birth *b, struct error *err)
{
    int channel[2];
    int r = channel_pair(channel);
    if (r < 0)
        return error_errno(err, r, "make a channel");
    pid_t pid = ns_clone(clone_flags(c), c->cgroup.dirs[CGROUP_UNIFIED], &b->pidfd);
    if (pid == 0) {
        close_fd(channel[0]);
        close_fd(c->report);
        c->channel = channel[1];
        container_init(c);
    }
    close_fd(channel[1]);
    b->channel = channel[0];
    if (pid < 0)
        return error_errno(err, pid, "make the container's first process");
    b->pid = pid;
    return 0;
}

/* The offsets of a time namespace can be written only before a process is in it: the starter makes
 * it for its children. */
static int make_time_namespace(const struct container *c, struct error *err)
{
    const struct oci_time_offset *offsets[] = {&c->config->linux_.time_monotonic,
                                               &c->config->linux_.time_boottime};
    static const int clocks[] = {CLOCK_MONOTONIC, CLOCK_BOOTTIME};
    if (!container_is_new(c, CLONE_NEWTIME))
        return 0;
    if (unshare(CLONE_NEWTIME) < 0)
        return error_errno(err, errno, "make a time namespace");
    for (size_t i = 0; i < ARRAY_SIZE(clocks); i++) {
        char text[64];
        if (!offsets[i]->given)
            continue;
        snprintf(text, sizeof(text), "%d %lld %u", clocks[i], (long long)offsets[i]->secs,
                 offsets[i]->nanosecs);
        int r = file_write_kernel(AT_FDCWD, "/proc/self/timens_offsets", text);
        if (r < 0)
            return error_errno(err, r, "set linux.timeOffsets to %s", text);
    }
    return 0;
}

static int start_outside(struct container *c, struct error *err)
{
    int r;
    if ((r = load_bundle(c, err)) < 0 || (r = check(c, err)) < 0 || (r = set_inherited(c, err)) < 0)
        return r;
    if (c->hold && (r = container_hold(c->start->run_dir, &c->hold_socket, err)) < 0)
        return r;
    if (c->cgroup_path && (r = container_cgroup_create(c, err)) < 0)
        return r;
    if ((r = make_time_namespace(c, err)) < 0)
        return r;
    return join_before_birth(c, err);
}

static void undo(struct container *c, int pidfd)
{
    if (pidfd >= 0 && ns_pidfd_signal(pidfd, SIGKILL) == 0)
        (void)!ns_pidfd_wait(pidfd, END_WAIT_MS);
    /* A scope ends when the starter, which is in it, has gone. */
    if (c->cgroup.path && !(c->start->oci && c->start->oci->scope))
        (void)!cgroup_remove(c->cgroup.path, NULL);
}

static int bring_up(struct container *c, struct birth *b, int *console, struct error *err)
{
    int r;
    if ((r = start_outside(c, err)) < 0 || (r = give_birth(c, b, err)) < 0)
        return r;
    if (container_needs_preparation(c) && (r = container_prepare(c, b->pid, b->channel, err)) < 0)
        return r;
    return follow(c, b, console, err);
}

_noreturn_ void container_starter(const struct runtime_start *s, bool hold, pid_t caller,
                                  int report)
{
    struct error err = ERROR_INIT;
    struct channel_message m = {.type = CHANNEL_STARTED};
    struct birth b = {.pidfd = -EBADF, .channel = -EBADF};
    int console = -EBADF;
    struct container c = {
        .start = s,
        .cgroup = CGROUP_INIT,
        .hold = hold,
        .hold_socket = -EBADF,
        .caller = caller,
        .report = report,
        .channel = -EBADF,
        .root = -EBADF,
        .proc = -EBADF,
        .dev = -EBADF,
        .pts = -EBADF,
        .console = -EBADF,
    };
    int r = bring_up(&c, &b, &console, &err);
    if (r < 0)
        undo(&c, b.pidfd);
    /* The pid is told in any case: it is the caller that reaps. */
    m.value = (int)b.pid;
    if (b.pid > 0)
        (void)!channel_send(report, &m, console);
    if (r < 0)
        channel_send_error(report, &err);
    _exit(0);
}
