/* exec: one more process, made as runtime/container/enter.h says; this program is its parent. */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "kernel/ns.h"
#include "runtime/container/enter.h"
#include "runtime/container/filter.h"
#include "runtime/container/notify.h"
#include "runtime/container/ops.h"
#include "runtime/oci/container.h"

struct execution {
    struct oci_container *container;
    const struct oci_exec *asked;
    struct seccomp_filter filter;
    struct cgroup cgroup;
    int pidfd;
    pid_t helper, pid;
    int console;
};

static void execution_done(struct execution *x)
{
    seccomp_filter_done(&x->filter);
    cgroup_done(&x->cgroup);
    close_fd(x->pidfd);
    close_fd(x->console);
}

static int prepare(struct execution *x, struct error *err)
{
    struct oci_container *c = x->container;
    struct runtime_target t = oci_container_target(c);
    enum oci_status status = oci_container_status(c);
    if (status == OCI_PAUSED)
        return error_set(err, ERROR_CONFLICT, EBUSY, "cannot exec in a paused container");
    if (status != OCI_RUNNING && status != OCI_CREATED)
        return error_set(err, ERROR_CONFLICT, ESRCH, "cannot exec in a stopped container");
    x->pidfd = container_target_pidfd(&t, err);
    if (x->pidfd < 0)
        return x->pidfd;
    if (c->cgroup_path) {
        int r = cgroup_open(c->cgroup_path, &x->cgroup, err);
        if (r < 0)
            return r;
    }
    if (!x->asked->seccomp)
        return 0;
    return container_filter(x->asked->seccomp, c->filter_cache, &x->filter, err);
}

static int pass_listener(struct execution *x, int fd, struct error *err)
{
    const struct oci_seccomp *s = x->asked->seccomp;
    if (!s->listener_path)
        return error_invalid(err, "the seccomp profile notifies, and names no listener");
    _cleanup_free_ char *state = oci_container_state_json(x->container, OCI_RUNNING, false);
    return notify_send(s->listener_path, fd, x->pid, s->listener_metadata, state, err);
}

/* The new process holds the other end until it executes, and a container that may trace it could
 * write there: a pid is believed only of a child of this program, which no other process is. */
static int take_pid(struct execution *x, pid_t pid, struct error *err)
{
    siginfo_t info;
    if (pid <= 0 || x->pid > 0 || waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return error_set(err, ERROR_DENIED, EPERM, "the new process is not what was made");
    x->pid = pid;
    return 0;
}

static int take(struct execution *x, const struct channel_message *m, int *fd, struct error *err)
{
    switch (m->type) {
    case CHANNEL_CONSOLE:
        close_fd(x->console);
        x->console = TAKE_FD(*fd);
        if (!x->asked->console_socket)
            return 0;
        int r = oci_console_send(x->asked->console_socket, x->console, err);
        x->console = close_fd(x->console);
        return r;
    case CHANNEL_STARTED:
        return take_pid(x, m->value, err);
    case CHANNEL_LISTENER:
        return pass_listener(x, *fd, err);
    case CHANNEL_ERROR:
        if (err)
            *err = m->err;
        return m->err.code ? -m->err.code : -EIO;
    default:
        return 0;
    }
}

/* Until it has executed, or the error that prevented it. */
static int hear(struct execution *x, int channel, struct error *err)
{
    struct channel_message m;
    int r;
    do {
        _cleanup_close_ int fd = -EBADF;
        r = channel_receive(channel, &m, &fd);
        r = r < 0 ? error_errno(err, r, "hear from the new process") : take(x, &m, &fd, err);
    } while (r == 0 && m.type != CHANNEL_END);
    if (r == 0 && x->pid == 0)
        return error_set(err, ERROR_SYSTEM, ECHILD, "the new process was killed");
    return r;
}

static int make(struct execution *x, struct error *err)
{
    const struct oci_exec *asked = x->asked;
    int channel[2], ignored;
    int r = channel_pair(channel);
    if (r < 0)
        return error_errno(err, r, "make a channel");
    const struct container_enter e = {
        .process = asked->process,
        .linux_ = &x->container->config->linux_,
        .user = asked->user,
        .filter = x->filter.instructions ? &x->filter : NULL,
        .cgroup = &x->cgroup,
        .scope = x->container->scope,
        .pidfd = x->pidfd,
        .pid = x->container->pid,
        .own_user_namespace = container_has_user_namespace(x->container->pid),
        .terminal = asked->process->terminal,
        .size = terminal_size(asked->console_socket ? -1 : 0),
        .preserve_fds = asked->preserve_fds,
        .channel = channel[1],
    };
    r = container_enter(&e, &x->helper, err);
    close_fd(channel[1]);
    if (r == 0) {
        r = hear(x, channel[0], err);
        (void)!process_wait(x->helper, &ignored);
    }
    close_fd(channel[0]);
    if (r < 0 && x->pid > 0) {
        kill(x->pid, SIGKILL);
        (void)!process_wait(x->pid, &ignored);
    }
    return r;
}

int oci_container_exec(struct oci_container *c, const struct oci_exec *e, int *ret_status,
                       struct error *err)
{
    _cleanup_(execution_done) struct execution x = {
        .container = c,
        .asked = e,
        .cgroup = CGROUP_INIT,
        .pidfd = -EBADF,
        .console = -EBADF,
    };
    int r;
    if ((r = prepare(&x, err)) < 0 || (r = make(&x, err)) < 0 ||
        (r = oci_write_pid_file(e->pid_file, x.pid, err)) < 0)
        return r;
    *ret_status = 0;
    return e->detach ? 0 : oci_foreground(x.pid, x.console, ret_status, err);
}
