/*
 * The caller's side of a start: a starter (start.c) is forked and does the work; what it says is
 * heard until it ends. What has to happen in the caller's own namespaces, whatever the container
 * joins, is done here when the starter asks for it (struct container_oci).
 */
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "runtime/container/internal.h"

struct heard {
    struct runtime_started started;
    bool ended;
};

static int received_error(const struct channel_message *m, struct error *err)
{
    if (err)
        *err = m->err;
    return m->err.code ? -m->err.code : -EIO;
}

/* The starter waits for the answer: go, or the end of the connection. */
static int serve_hooks(const struct container_oci *oci, int report, pid_t pid, struct error *err)
{
    struct channel_message go = {.type = CHANNEL_GO};
    int r = oci && oci->environment ? oci->environment(oci->context, pid, err) : 0;
    if (r < 0)
        return r;
    r = channel_send(report, &go, -EBADF);
    return r < 0 ? error_errno(err, r, "answer the starter") : 0;
}

static int serve(const struct runtime_start *s, int report, const struct channel_message *m,
                 int *fd, struct heard *h, struct error *err)
{
    switch (m->type) {
    case CHANNEL_STARTED:
        h->started.pid = m->value;
        close_fd(h->started.console);
        h->started.console = TAKE_FD(*fd);
        return 0;
    case CHANNEL_HOOKS:
        return serve_hooks(s->oci, report, m->value, err);
    case CHANNEL_ERROR:
        return received_error(m, err);
    default:
        h->ended = true;
        if (h->started.pid > 0)
            return 0;
        return error_set(err, ERROR_SYSTEM, ECHILD, "the starter was killed");
    }
}

static int hear(const struct runtime_start *s, int report, struct heard *h, struct error *err)
{
    int r = 0;
    while (r == 0 && !h->ended) {
        struct channel_message m;
        _cleanup_close_ int fd = -EBADF;
        r = channel_receive(report, &m, &fd);
        r = r < 0 ? error_errno(err, r, "hear from the starter")
                  : serve(s, report, &m, &fd, h, err);
    }
    return r;
}

static void reap(pid_t pid)
{
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* After a failure of our own the starter sees the connection end and undoes; what it says then is
 * only the pid to reap. */
static void hear_undone(int report, struct heard *h)
{
    struct channel_message m;
    int fd;
    shutdown(report, SHUT_WR);
    while (channel_receive(report, &m, &fd) == 0 && m.type != CHANNEL_END) {
        close_fd(fd);
        if (m.type == CHANNEL_STARTED)
            h->started.pid = m.value;
    }
}

static int launch(const struct runtime_start *s, bool hold, struct runtime_started *ret,
                  struct error *err)
{
    struct heard h = {.started = {.pid = 0, .console = -EBADF}};
    int ends[2];
    pid_t caller = getpid();
    int r = channel_pair(ends);
    if (r < 0)
        return error_errno(err, r, "make a channel");
    pid_t pid = fork();
    if (pid == 0) {
        close_fd(ends[0]);
        container_starter(s, hold, caller, ends[1]);
    }
    close_fd(ends[1]);
    r = pid < 0 ? error_errno(err, errno, "start the container") : hear(s, ends[0], &h, err);
    if (r < 0)
        hear_undone(ends[0], &h);
    close_fd(ends[0]);
    reap(pid);
    if (r < 0) {
        close_fd(h.started.console);
        if (h.started.pid > 0)
            kill(h.started.pid, SIGKILL);
        reap(h.started.pid);
        return r;
    }
    *ret = h.started;
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
