/*
 * The relay between the caller's terminal (or pipes) and a monitor. Output is written before more
 * is received, so a slow reader of ours slows the workload. Input that the monitor does not take
 * now is held, one piece of it, and no more is read meanwhile; output goes on.
 */
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/terminal.h"
#include "runtime/monitor/client.h"
#include "runtime/monitor/detach.h"
#include "wire/attach.h"

struct relay {
    int fd, signal_fd;
    const struct monitor_attach *how;
    struct monitor_end end;
    bool done;
    bool stdin_open;
    bool deaf[2]; /* our stdout or stderr has no reader any more */
    struct detach detach;
    struct terminal terminal;
    sigset_t old_mask;
    enum attach_type held_type; /* a message that did not fit into the socket; 0: none */
    size_t held_len;
    unsigned char held[ATTACH_MAX_DATA];
    unsigned char message[ATTACH_MAX_MESSAGE];
};

static void lost(struct relay *r)
{
    r->end.detached = r->end.lost = r->done = true;
}

static int out_write(int fd, const unsigned char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EAGAIN) { /* somebody made the terminal non-blocking */
            struct pollfd wait = {fd, POLLOUT, 0};
            poll(&wait, 1, -1);
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int try_held(struct relay *r, struct error *err)
{
    struct attach_message m = {.type = r->held_type, .data = r->held, .len = r->held_len};
    int result = attach_send(r->fd, &m, MSG_DONTWAIT);
    if (result == -EAGAIN)
        return 0;
    r->held_type = 0;
    r->held_len = 0;
    if (result == -EPIPE || result == -ECONNRESET)
        return 0; /* the end of the socket is seen by reading, after what it still holds */
    return result < 0 ? error_errno(err, result, "send to the instance") : 0;
}

static int hold(struct relay *r, enum attach_type type, size_t len, struct error *err)
{
    r->held_type = type;
    r->held_len = len;
    return try_held(r, err);
}

static int read_stdin(struct relay *r, struct error *err)
{
    unsigned char typed[ATTACH_MAX_DATA - DETACH_MAX_KEYS];
    ssize_t n = read(0, typed, sizeof(typed));
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n <= 0) {
        r->stdin_open = false;
        return hold(r, ATTACH_STDIN_CLOSE, 0, err);
    }
    size_t len;
    if (detach_filter(&r->detach, typed, (size_t)n, r->held, &len))
        r->end.detached = r->done = true;
    return len > 0 ? hold(r, ATTACH_STDIN, len, err) : 0;
}

static int send_size(struct relay *r)
{
    struct terminal_size size = terminal_callers_size();
    struct attach_message m = {.type = ATTACH_RESIZE, .rows = size.rows, .columns = size.columns};
    return size.rows > 0 ? attach_send(r->fd, &m, MSG_DONTWAIT) : 0;
}

static void read_signal(struct relay *r)
{
    struct signalfd_siginfo info;
    if (read(r->signal_fd, &info, sizeof(info)) != sizeof(info))
        return;
    if (info.ssi_signo == SIGWINCH)
        (void)!send_size(r); /* the next change says it again */
    else if (r->how->signal)
        (void)r->how->signal(r->how->context, (int)info.ssi_signo);
}

static void take_exit(struct relay *r, const struct attach_message *m)
{
    static const struct attach_message ack = {.type = ATTACH_ACK};
    r->end.exit_code = m->exit_code;
    /* Ours only if the monitor hears so: otherwise it does it itself. */
    r->end.finish = m->duty && attach_send(r->fd, &ack, 0) == 0;
    r->done = true;
}

static int read_message(struct relay *r, struct error *err)
{
    struct attach_message m;
    int result = attach_receive(r->fd, r->message, MSG_DONTWAIT, &m);
    if (result == -EAGAIN)
        return 0;
    if (result == -ECONNRESET) {
        lost(r);
        return 0;
    }
    if (result < 0)
        return error_errno(err, result, "read from the instance");
    int which = m.type == ATTACH_STDERR;
    if (m.type == ATTACH_EXIT)
        take_exit(r, &m);
    else if ((m.type == ATTACH_STDOUT || which) && !r->deaf[which])
        r->deaf[which] = out_write(1 + which, m.data, m.len) < 0;
    return 0;
}

static int set_signals(struct relay *r, struct error *err)
{
    static const int proxied[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
    sigset_t mask;
    sigemptyset(&mask);
    if (r->how->terminal)
        sigaddset(&mask, SIGWINCH);
    for (size_t i = 0; r->how->proxy_signals && i < ARRAY_SIZE(proxied); i++)
        sigaddset(&mask, proxied[i]);
    sigprocmask(SIG_BLOCK, &mask, &r->old_mask);
    r->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    return r->signal_fd < 0 ? error_errno(err, errno, "watch signals") : 0;
}

static int greet(struct relay *r, struct error *err)
{
    struct attach_message hello = {.type = ATTACH_HELLO, .flags = ATTACH_WANTS_OUTPUT};
    if (r->how->finish)
        hello.flags |= ATTACH_WANTS_FINISH;
    int result = attach_send(r->fd, &hello, 0);
    /* It may have ended already: then what it said before is there to be read. */
    if (result == -EPIPE || result == -ECONNRESET)
        return 0;
    if (result == 0 && r->how->terminal) {
        result = terminal_raw(&r->terminal, 0);
        if (result < 0)
            return error_errno(err, result, "set the terminal to raw mode");
        (void)!send_size(r);
    }
    return result < 0 ? error_errno(err, result, "attach to the instance") : 0;
}

static int relay_loop(struct relay *r, struct error *err)
{
    int result = 0;
    while (result == 0 && !r->done) {
        bool listen_stdin = r->stdin_open && r->held_type == 0;
        struct pollfd fds[] = {
            {r->fd, (short)(POLLIN | (r->held_type ? POLLOUT : 0)), 0},
            {r->signal_fd, POLLIN, 0},
            {listen_stdin ? 0 : -1, POLLIN, 0},
        };
        if (poll(fds, ARRAY_SIZE(fds), -1) < 0) {
            if (errno != EINTR)
                return error_errno(err, errno, "wait for the instance");
            continue;
        }
        if (fds[1].revents)
            read_signal(r);
        if ((fds[0].revents & (POLLOUT | POLLHUP)) && r->held_type)
            result = try_held(r, err);
        if (result == 0 && (fds[0].revents & ~POLLOUT))
            result = read_message(r, err);
        if (result == 0 && fds[2].revents && !r->done)
            result = read_stdin(r, err);
    }
    return result;
}

int monitor_attach(int fd, const struct monitor_attach *how, struct monitor_end *ret,
                   struct error *err)
{
    static const struct terminal no_terminal = TERMINAL_INIT;
    _cleanup_close_ int owned = fd;
    _cleanup_free_ struct relay *r = xnew(struct relay);
    const char *keys = how->detach_keys ? how->detach_keys : "ctrl-p,ctrl-q";
    r->fd = owned;
    r->signal_fd = -EBADF;
    r->how = how;
    r->terminal = no_terminal;
    r->stdin_open = how->forward_stdin;
    int result = detach_parse(how->terminal ? keys : "", &r->detach, err);
    if (result < 0)
        return result;
    result = set_signals(r, err);
    if (result == 0)
        result = greet(r, err);
    if (result == 0)
        result = relay_loop(r, err);
    terminal_restore(&r->terminal);
    sigprocmask(SIG_SETMASK, &r->old_mask, NULL);
    close_fd(r->signal_fd);
    if (result == 0)
        *ret = r->end;
    return result;
}
