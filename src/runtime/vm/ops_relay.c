/*
 * Operations that carry bytes both ways: exec and the two copies. One loop serves all three: local
 * descriptor 0 is read while the machine gives credit, what comes on channels 1 and 2 is written
 * and given back as credit.
 */
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/fd.h"
#include "base/terminal.h"
#include "base/text.h"
#include "runtime/vm/client.h"
#include "runtime/vm/ops-internal.h"
#include "wire/agent/forms.h"

struct carry {
    struct agent_client client;
    int fds[3]; /* -EBADF: not used */
    int winch_fd;
    uint32_t credit;
    bool copies; /* else it executes */
    bool started, detach, done;
    int status;
    int64_t deadline_ms; /* monotonic; 0: none */
};

#define CARRY_INIT                                                                                 \
    {                                                                                              \
        .client = AGENT_CLIENT_INIT, .fds = {-EBADF, -EBADF, -EBADF}, .winch_fd = -EBADF,          \
        .credit = AGENT_WINDOW                                                                     \
    }

static int talk(int r, struct error *err)
{
    return r < 0 ? error_errno(err, r, "talk to the machine") : 0;
}

static int on_data(struct carry *c, const struct agent_frame *f, struct error *err)
{
    uint8_t channel;
    const char *data;
    size_t len;
    int r = agent_get_data(f, &channel, &data, &len, err);
    if (r < 0)
        return r;
    int fd = channel > 0 ? c->fds[channel] : -EBADF;
    r = fd < 0 ? 0 : fd_write_all(fd, data, len);
    if (r < 0)
        return error_errno(err, r, "write");
    return talk(agent_add_credit(&c->client.out, 1, channel, (uint32_t)len), err);
}

static int on_frame(struct carry *c, const struct agent_frame *f, struct error *err)
{
    uint8_t channel;
    uint32_t value;
    int r = 0;
    switch (f->type) {
    case AGENT_STARTED:
        c->started = true;
        c->done = c->detach;
        break;
    case AGENT_DATA:
        return on_data(c, f, err);
    case AGENT_CREDIT:
        r = agent_get_credit(f, &channel, &value, err);
        if (r == 0)
            c->credit = MIN(c->credit + value, AGENT_WINDOW);
        break;
    case AGENT_EXIT:
        r = agent_get_u32(f, &value, err);
        c->status = (int)(value & 0xff);
        c->done = r == 0;
        break;
    case AGENT_OK:
        c->done = true;
        break;
    case AGENT_ERROR:
        return agent_get_error(f, err);
    default:
        break;
    }
    return r;
}

static int read_frames(struct carry *c, struct error *err)
{
    size_t used = 0;
    bool got = true;
    int r = agent_client_fill(&c->client, err);
    while (r == 0 && got && !c->done) {
        struct agent_frame f;
        r = agent_client_next(&c->client, &used, &f, &got, err);
        if (r == 0 && got)
            r = on_frame(c, &f, err);
    }
    return r;
}

static int read_local(struct carry *c, struct error *err)
{
    char data[16384];
    ssize_t n = read(c->fds[0], data, MIN(sizeof(data), (size_t)c->credit));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        c->fds[0] = -EBADF; /* the caller's, not ours to close */
        return talk(agent_add_close(&c->client.out, 1, 0), err);
    }
    c->credit -= (uint32_t)n;
    return talk(agent_add_data(&c->client.out, 1, 0, data, (size_t)n), err);
}

static int follow_size(struct carry *c, struct error *err)
{
    struct signalfd_siginfo info;
    (void)!read(c->winch_fd, &info, sizeof(info));
    struct terminal_size size = terminal_size(c->fds[0] >= 0 ? c->fds[0] : c->fds[1]);
    if (size.rows == 0)
        return 0;
    return talk(agent_add_resize(&c->client.out, 1, size.rows, size.columns), err);
}

static int time_left(int64_t deadline_ms)
{
    int64_t left = deadline_ms - time_monotonic_ms();
    return deadline_ms == 0 ? -1 : (int)MIN(MAX(left, (int64_t)0), (int64_t)INT_MAX);
}

static int end_late(struct carry *c, struct error *err)
{
    int r = talk(agent_add_u32(&c->client.out, AGENT_SIGNAL, 1, SIGKILL), err);
    if (r == 0)
        r = agent_client_flush(&c->client, err);
    return r < 0 ? r : error_errno(err, ETIMEDOUT, "wait for the process");
}

/* How long the machine may say nothing: a command that runs as long as it likes, but its start and
 * each step of a copy are answered, unless the next step is ours. */
static int patience(const struct carry *c)
{
    bool ours = c->copies ? c->fds[0] >= 0 && c->credit > 0 : c->started;
    return ours ? -1 : AGENT_ANSWER_MS;
}

/* Of two waits for poll(2); -1 is for ever. */
static int shorter(int a, int b)
{
    return a < 0 ? b : b < 0 ? a : MIN(a, b);
}

static int carry_run(struct carry *c, struct error *err)
{
    int r = agent_client_flush(&c->client, err);
    while (r == 0 && !c->done) {
        struct pollfd set[] = {
            {c->client.fd, POLLIN, 0},
            {c->credit ? c->fds[0] : -1, POLLIN, 0},
            {c->winch_fd, POLLIN, 0},
        };
        int wait = shorter(time_left(c->deadline_ms), patience(c));
        int n = poll(set, ARRAY_SIZE(set), wait);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, errno, "wait for the machine");
        if (n == 0)
            return time_left(c->deadline_ms) == 0 ? end_late(c, err) : agent_client_silent(err);
        if (set[0].revents)
            r = read_frames(c, err);
        if (r == 0 && set[1].revents && !c->done)
            r = read_local(c, err);
        if (r == 0 && set[2].revents && !c->done)
            r = follow_size(c, err);
        if (r == 0)
            r = c->done ? 0 : agent_client_flush(&c->client, err);
    }
    return r;
}

static int exec_run(struct carry *c, const struct runtime_exec *e, const int stdio[3],
                    struct error *err)
{
    struct terminal raw = TERMINAL_INIT;
    sigset_t winch, old;
    bool terminal = e->terminal && !e->detach;
    int r = 0;
    sigemptyset(&winch);
    sigaddset(&winch, SIGWINCH);
    sigprocmask(terminal ? SIG_BLOCK : SIG_UNBLOCK, &winch, &old);
    if (terminal) {
        c->winch_fd = signalfd(-1, &winch, SFD_CLOEXEC | SFD_NONBLOCK);
        r = e->interactive ? terminal_raw(&raw, stdio[0]) : 0;
        if (r < 0)
            error_errno(err, r, "set the terminal");
    }
    if (r == 0)
        r = carry_run(c, err);
    terminal_restore(&raw);
    c->winch_fd = close_fd(c->winch_fd);
    sigprocmask(SIG_SETMASK, &old, NULL);
    return r;
}

int vm_ops_exec(const struct runtime_target *t, const struct runtime_exec *e, const int stdio[3],
                int *ret_status, struct error *err)
{
    struct carry c = CARRY_INIT;
    struct terminal_size size = terminal_size(e->terminal && !e->detach ? stdio[0] : -1);
    struct agent_exec request = {
        .argv = (char **)e->argv,
        .env = (char **)e->env,
        .cwd = e->cwd,
        .user = e->user,
        .terminal = e->terminal && !e->detach,
        .stdin_open = e->interactive && !e->detach,
        .detach = e->detach,
        .privileged = e->privileged,
        .rows = size.rows,
        .columns = size.columns,
    };
    for (int i = 0; i < 3; i++)
        c.fds[i] = e->detach || (i == 0 && !e->interactive) ? -EBADF : stdio[i];
    c.detach = e->detach;
    c.deadline_ms = e->timeout_ms ? time_monotonic_ms() + e->timeout_ms : 0;
    int r = agent_client_open(&c.client, t, err);
    if (r == 0) {
        r = agent_exec_add(&c.client.out, 1, &request);
        if (r < 0)
            error_set(err, ERROR_LIMIT, E2BIG, "the command is too long for a machine");
    }
    if (r == 0)
        r = exec_run(&c, e, stdio, err);
    agent_client_done(&c.client);
    if (r == 0)
        *ret_status = c.status;
    return r;
}

static int copy(const struct runtime_target *t, enum agent_type type, const char *path, int in,
                int out, struct error *err)
{
    struct carry c = CARRY_INIT;
    c.copies = true;
    c.fds[0] = in;
    c.fds[1] = out;
    int r = agent_client_open(&c.client, t, err);
    if (r == 0)
        r = talk(agent_add_string(&c.client.out, type, 1, path), err);
    if (r == 0)
        r = carry_run(&c, err);
    agent_client_done(&c.client);
    return r;
}

int vm_ops_copy_out(const struct runtime_target *t, const char *path, bool follow, int out_fd,
                    struct error *err)
{
    return copy(t, follow ? AGENT_TREE_FOLLOW : AGENT_TREE_OUT, path, -EBADF, out_fd, err);
}

int vm_ops_copy_in(const struct runtime_target *t, const char *path, int in_fd, struct error *err)
{
    return copy(t, AGENT_TREE_IN, path, in_fd, -EBADF, err);
}

int vm_ops_send_tree(const struct runtime_target *t, enum tree_form form, int out_fd,
                     struct error *err)
{
    return copy(t, AGENT_TREE_WHOLE, agent_tree_forms[form], -EBADF, out_fd, err);
}

int vm_screenshot(const struct runtime_target *t, int out_fd, struct error *err)
{
    struct carry c = CARRY_INIT;
    c.fds[1] = out_fd;
    int r = agent_client_open(&c.client, t, err);
    if (r == 0)
        r = talk(agent_frame_add(&c.client.out, AGENT_SCREENSHOT, 1, NULL, 0), err);
    if (r == 0)
        r = carry_run(&c, err);
    agent_client_done(&c.client);
    return r;
}
