/*
 * One buffer per direction. A direction is polled for input while its buffer is empty and for
 * output while it is not, so a side that does not read holds up only its own direction. At most
 * PIPE_BUF bytes are written at a time, which never blocks on a pipe that poll(2) found writable.
 */
#include "runtime/relay.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/fd.h"
#include "base/terminal.h"
#include "base/text.h"

enum { INPUT, OUTPUT, ERRORS, DIRECTIONS };

struct direction {
    int from, to; /* -EBADF: closed */
    char data[PIPE_BUF];
    size_t start, len;
};

struct state {
    struct relay *relay;
    struct direction directions[DIRECTIONS];
    int winch; /* signalfd */
    bool ended;
};

static void direction_init(struct direction *d, int from, int to)
{
    d->from = from;
    d->to = to;
    d->start = d->len = 0;
}

/* The caller's input has ended, or nobody reads it: the process sees the end. */
static void close_input(struct state *s)
{
    struct direction *d = &s->directions[INPUT];
    d->from = -EBADF;
    if (s->relay->in >= 0) {
        s->relay->in = close_fd(s->relay->in);
        d->to = -EBADF;
    }
}

static void fill(struct state *s, int which)
{
    struct direction *d = &s->directions[which];
    ssize_t n = read(d->from, d->data, sizeof(d->data));
    if (n > 0) {
        d->start = 0;
        d->len = (size_t)n;
        return;
    }
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    /* A terminal whose last process has gone gives EIO. */
    if (which == INPUT)
        close_input(s);
    else
        d->from = -EBADF;
}

static void drain(struct state *s, int which)
{
    struct direction *d = &s->directions[which];
    ssize_t n = write(d->to, d->data + d->start, d->len);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n >= 0) {
        d->start += (size_t)n;
        d->len -= (size_t)n;
        return;
    }
    /* Nobody takes it any more. The process goes on; its output is read and thrown away. */
    d->len = 0;
    if (which == INPUT)
        close_input(s);
    else
        d->to = -EBADF;
}

static void copy_size(struct state *s)
{
    struct terminal_size size = terminal_size(s->relay->stdio[0]);
    if (size.rows && size.columns)
        (void)!terminal_set_size(s->relay->console, size);
}

static void follow_size(struct state *s)
{
    struct signalfd_siginfo info;
    if (read(s->winch, &info, sizeof(info)) == sizeof(info))
        copy_size(s);
}

static void serve_direction(struct state *s, int which)
{
    struct direction *d = &s->directions[which];
    if (d->len == 0)
        fill(s, which);
    if (d->len > 0 && d->to < 0)
        d->len = 0;
    if (d->len > 0)
        drain(s, which);
}

/* What each direction waits for now. Input that cannot be delivered is not read. */
static struct pollfd wanted(const struct direction *d)
{
    if (d->len > 0)
        return (struct pollfd){d->to, POLLOUT, 0};
    return (struct pollfd){d->from, POLLIN, 0};
}

/* For poll(2), until a deadline that may be none. */
static int time_left(int64_t deadline_ms)
{
    int64_t left = deadline_ms - time_monotonic_ms();
    return deadline_ms == 0 ? -1 : (int)MIN(MAX(left, (int64_t)0), (int64_t)INT_MAX);
}

static int serve(struct state *s)
{
    for (;;) {
        struct pollfd fds[DIRECTIONS + 2];
        for (int i = 0; i < DIRECTIONS; i++)
            fds[i] = wanted(&s->directions[i]);
        fds[DIRECTIONS] = (struct pollfd){s->ended ? -1 : s->relay->end, POLLIN, 0};
        fds[DIRECTIONS + 1] = (struct pollfd){s->winch, POLLIN, 0};
        if (s->ended) /* what is still in the pipes, but nothing that comes later */
            fds[INPUT].fd = -1;
        int n = poll(fds, ARRAY_SIZE(fds), s->ended ? 0 : time_left(s->relay->deadline_ms));
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return s->ended ? 0 : -ETIMEDOUT;
        for (int i = 0; n > 0 && i < DIRECTIONS; i++)
            if (fds[i].revents)
                serve_direction(s, i);
        if (n > 0 && fds[DIRECTIONS].revents)
            s->ended = true;
        if (n > 0 && fds[DIRECTIONS + 1].revents)
            follow_size(s);
    }
}

/* Blocked output of the caller must not be lost at the end: wait for it. */
static int flush(struct state *s)
{
    for (int i = OUTPUT; i < DIRECTIONS; i++) {
        struct direction *d = &s->directions[i];
        if (d->len == 0 || d->to < 0)
            continue;
        int r = fd_write_all(d->to, d->data + d->start, d->len);
        if (r < 0 && r != -EPIPE)
            return r;
    }
    return 0;
}

int relay_run(struct relay *r, bool interactive, struct error *err)
{
    _cleanup_(terminal_restore) struct terminal terminal = TERMINAL_INIT;
    struct sigaction ignore = {.sa_handler = SIG_IGN}, old;
    struct state s = {.relay = r, .winch = -EBADF};
    sigset_t winch, old_mask;
    bool has_console = r->console >= 0;
    direction_init(&s.directions[INPUT],
                   r->in >= 0 || (has_console && interactive) ? r->stdio[0] : -EBADF,
                   has_console ? r->console : r->in);
    direction_init(&s.directions[OUTPUT], has_console ? r->console : r->out, r->stdio[1]);
    direction_init(&s.directions[ERRORS], has_console ? -EBADF : r->err, r->stdio[2]);
    sigemptyset(&winch);
    sigaddset(&winch, SIGWINCH);
    sigprocmask(SIG_BLOCK, &winch, &old_mask);
    sigaction(SIGPIPE, &ignore, &old);
    int result = 0;
    if (r->in >= 0)
        result = fd_set_nonblock(r->in, true);
    if (has_console) {
        s.winch = signalfd(-1, &winch, SFD_CLOEXEC | SFD_NONBLOCK);
        copy_size(&s); /* changed since it was made, maybe */
        if (interactive)
            result = terminal_raw(&terminal, r->stdio[0]);
    }
    if (result == 0 && (result = serve(&s)) == 0)
        result = flush(&s);
    close_fd(s.winch);
    sigaction(SIGPIPE, &old, NULL);
    sigprocmask(SIG_SETMASK, &old_mask, NULL);
    return result < 0 ? error_errno(err, result, "carry the process's input and output") : 0;
}
