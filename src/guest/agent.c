/*
 * The agent: one poll loop over the port to the host, the children's descriptors and SIGCHLD.
 *
 * A stream is a slot in a table. It ends when its process has ended and what the process wrote has
 * been read: AGENT_EXIT is the last frame of it. Descriptors that grandchildren keep open do not
 * hold a stream: after the process's end they are read until they would block.
 *
 * Output to the host is collected in one buffer. Streams are read only while the buffer is short
 * and they have credit, so it is bounded by the control messages of AGENT_STREAMS_MAX streams.
 */
#include <poll.h>
#include <signal.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "guest/agent-internal.h"

void agent_die(const char *what, const char *why)
{
    fprintf(stderr, "guest: %s: %s\n", what, why);
    sync();
    reboot(RB_AUTOBOOT);
    for (;;)
        pause();
}

void agent_must(int r)
{
    if (r < 0)
        agent_die("output", strerror(-r));
}

static void reap(struct agent *a)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < AGENT_STREAMS_MAX; i++) {
            struct stream *s = &a->streams[i];
            if (s->kind == STREAM_FREE || s->pid != pid)
                continue;
            s->pid = 0;
            s->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        }
}

static void port_read(struct agent *a)
{
    char *space;
    agent_must(buf_reserve(&a->in, 65536, &space));
    ssize_t n = read(a->port, space, 65536);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        agent_die("port", n == 0 ? "the host has gone" : strerror(errno));
    a->in.len += (size_t)n;
    size_t at = 0;
    for (;;) {
        struct agent_frame f;
        struct error err = ERROR_INIT;
        size_t used;
        if (agent_frame_parse(a->in.data + at, a->in.len - at, &f, &used, &err) < 0)
            agent_die("protocol", err.msg);
        if (used == 0)
            break;
        if (agent_handle(a, &f, &err) < 0)
            agent_must(agent_add_error(&a->out, f.stream, &err));
        at += used;
    }
    buf_consume(&a->in, at);
}

static void port_write(struct agent *a)
{
    while (a->out.len > 0) {
        ssize_t n = write(a->port, a->out.data, MIN(a->out.len, (size_t)32768));
        if (n == 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
            return;
        if (n < 0)
            agent_die("port", strerror(errno));
        buf_consume(&a->out, (size_t)n);
    }
}

/* Polls the streams' descriptors; owner[] says whose a slot is. */
static nfds_t poll_set(struct agent *a, struct pollfd *set, struct stream **owner)
{
    nfds_t n = 0;
    set[n++] = (struct pollfd){a->port, (short)(POLLIN | (a->out.len ? POLLOUT : 0)), 0};
    set[n++] = (struct pollfd){a->signals, POLLIN, 0};
    for (size_t i = 0; i < AGENT_STREAMS_MAX; i++) {
        struct stream *s = &a->streams[i];
        if (s->kind == STREAM_FREE || a->settled)
            continue;
        for (int c = 0; c < 3; c++) {
            bool wanted = c == 0 ? s->in.len > 0 || s->close_in
                                 : s->credit[c] > 0 && a->out.len < OUT_SOFT_MAX;
            if (s->fds[c] < 0 || !wanted)
                continue;
            owner[n] = s;
            set[n++] = (struct pollfd){s->fds[c], (short)(c == 0 ? POLLOUT : POLLIN), 0};
        }
    }
    return n;
}

static void turn(struct agent *a)
{
    struct pollfd set[2 + 3 * AGENT_STREAMS_MAX];
    struct stream *owner[2 + 3 * AGENT_STREAMS_MAX];
    nfds_t n = poll_set(a, set, owner);
    if (poll(set, n, -1) < 0)
        return;
    for (nfds_t i = 2; i < n; i++) {
        struct stream *s = owner[i];
        if (!set[i].revents)
            continue;
        if (set[i].events & POLLOUT && set[i].fd == s->fds[0])
            stream_write(a, s);
        else if (set[i].fd == s->fds[1])
            channel_read(a, s, 1);
        else if (set[i].fd == s->fds[2])
            channel_read(a, s, 2);
    }
    if (set[1].revents) {
        struct signalfd_siginfo info;
        (void)!read(a->signals, &info, sizeof(info));
        reap(a);
    }
    if (set[0].revents & (POLLIN | POLLHUP | POLLERR))
        port_read(a);
    for (size_t i = 0; i < AGENT_STREAMS_MAX && !a->settled; i++)
        stream_finish(a, &a->streams[i]);
    port_write(a);
}

void guest_agent(int port)
{
    static struct agent a = {.in = BUF_INIT(2 * AGENT_PAYLOAD_MAX), .out = BUF_INIT(OUT_MAX)};
    sigset_t child;
    a.port = port;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    signal(SIGPIPE, SIG_IGN);
    a.signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    agent_must(agent_add_u32(&a.out, AGENT_HELLO, 0, AGENT_VERSION));
    port_write(&a);
    for (;;)
        turn(&a);
}
