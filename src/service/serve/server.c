/*
 * The loop: requests of proa-serve, outputs of children, a tick each second, and the signal that
 * ends it. One thread, no request waits for another: what takes long is a child's job. The loop
 * ends too when proa-serve does, whatever ended that.
 */
#include "service/serve/serve.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/program.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/serve/server-internal.h"
#include "wire/serve/packet.h"

#define TICK_MS  1000
#define POLL_MAX 256

void server_note(struct server *s, const char *fmt, ...)
{
    va_list ap;
    if (!s->options->note)
        return;
    va_start(ap, fmt);
    _cleanup_free_ char *line = xvasprintf(fmt, ap);
    va_end(ap);
    s->options->note(s->options->context, line);
}

static void reap_streams(struct server *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->n_streams; i++)
        if (waitpid(s->streams[i], NULL, WNOHANG) == 0)
            s->streams[kept++] = s->streams[i];
    s->n_streams = kept;
}

bool server_can_stream(struct server *s)
{
    if (s->n_streams >= s->options->connections)
        reap_streams(s);
    return s->n_streams < s->options->connections;
}

void server_add_stream(struct server *s, pid_t pid)
{
    s->streams = xreallocarray(s->streams, s->n_streams + 1, sizeof(*s->streams));
    s->streams[s->n_streams++] = pid;
}

/* --- requests --- */

static enum call_state run_call(struct call *c)
{
    struct server *s = c->server;
    unsigned int needed = serve_op_role(c->q.op);
    unsigned int offered = SERVE_ROLE_PULL | (s->options->push ? SERVE_ROLE_PUSH : 0) |
                           (s->options->remove ? SERVE_ROLE_DELETE : 0);
    unsigned int role = login_role(s, c->q.session);
    if (needed & ~offered)
        return call_refuse(c, PROBLEM_UNSUPPORTED);
    if (needed & ~role) /* a session that has run out is as none */
        return call_refuse(c, c->q.session && role ? PROBLEM_DENIED : PROBLEM_UNAUTHORIZED);
    return call_handlers[c->q.op](c);
}

/* 1 to go on, 0 when proa-serve has ended. */
static int take_request(struct server *s)
{
    char text[SERVE_MESSAGE_MAX + 1];
    struct error err = ERROR_INIT;
    int reply = -EBADF;
    ssize_t n = packet_receive(s->channel, text, sizeof(text), &reply);
    if (n == 0 || (n < 0 && n != -EMSGSIZE && n != -EBADMSG)) {
        close_fd(reply);
        return 0;
    }
    struct call *c = xnew(struct call);
    *c = (struct call){.server = s, .reply_fd = reply, .fd = -EBADF};
    if (n < 0 || serve_request_decode(text, (size_t)n, &c->q, &err) < 0) {
        server_note(s, "a request of proa-serve is refused: %s", n < 0 ? "its form" : err.msg);
        c->a.problem = PROBLEM_INTERNAL;
        call_answer(c);
    } else if (run_call(c) == CALL_DONE) {
        call_answer(c);
    }
    return 1;
}

/* --- the loop --- */

/* One event of a child at most: what its end does may change the list. */
static void read_children(struct server *s, const struct pollfd *fds, size_t n)
{
    struct child *c = s->children;
    for (size_t i = 0; i < n && c; i++, c = c->next) {
        if (fds[i].revents) {
            child_read(c);
            return;
        }
    }
}

/* Taken, so that it is not delivered when signals are as before again. */
static int take_signal(int signals, struct error *err)
{
    struct signalfd_siginfo info;
    ssize_t n = read(signals, &info, sizeof(info));
    return n < 0 ? error_errno(err, errno, "read a signal") : 0;
}

static int loop(struct server *s, int signals, struct error *err)
{
    int64_t tick = time_monotonic_ms() + TICK_MS;
    for (;;) {
        struct pollfd fds[POLL_MAX] = {{s->channel, POLLIN, 0}, {signals, POLLIN, 0}};
        size_t n = 2;
        for (struct child *c = s->children; c && n < POLL_MAX; c = c->next)
            fds[n++] = (struct pollfd){c->out, POLLIN, 0};
        int64_t now = time_monotonic_ms();
        if (poll(fds, n, (int)MAX((int64_t)0, tick - now)) < 0 && errno != EINTR)
            return error_errno(err, errno, "poll");
        if (fds[1].revents)
            return take_signal(signals, err);
        read_children(s, fds + 2, n - 2);
        if (fds[0].revents && take_request(s) == 0)
            return error_set(err, ERROR_SYSTEM, EIO, "proa-serve has ended");
        if ((now = time_monotonic_ms()) >= tick) {
            tick = now + TICK_MS;
            reap_streams(s);
            uploads_tick(s, now);
        }
    }
}

/* --- begin and end --- */

static int open_file(const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return fd < 0 ? error_errno(err, errno, "open %s", path) : fd;
}

/* proa-serve's descriptors: 3 the channel, 4 the socket that clients come to, 5 certificate, 6 key,
 * 7 the clients' authority. */
static int start_http(struct server *s, int channel, int listening, struct error *err)
{
    const struct serve_options *o = s->options;
    const char *const files[] = {o->tls_cert, o->tls_key, o->tls_client_ca};
    struct process_fd fds[6] = {{STDERR_FILENO, STDERR_FILENO}, {channel, 3}, {listening, 4}};
    int opened[ARRAY_SIZE(files)] = {-EBADF, -EBADF, -EBADF};
    size_t n = 3;
    int r = 0;
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(files); i++) {
        if (!files[i])
            continue;
        r = opened[i] = open_file(files[i], err);
        fds[n++] = (struct process_fd){opened[i], 5 + (int)i};
    }
    _cleanup_strv_ char **argv = NULL;
    strv_add(&argv, s->program);
    strv_add(&argv, "http");
    strv_addf(&argv, "%u", o->connections);
    strv_addf(&argv, "%llu", (unsigned long long)(o->timeout_ms + 999) / 1000);
    strv_add(&argv, o->tls_cert ? (o->tls_client_ca ? "mutual" : "tls") : "plain");
    strv_add(&argv, o->anonymous ? "token" : "basic");
    const struct process_spec spec = {
        .path = s->program, .argv = argv, .fds = fds, .n_fds = n, .new_session = true};
    if (r >= 0)
        r = process_start(&spec, &s->http, err);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        close_fd(opened[i]);
    return r < 0 ? r : 0;
}

/* proa-serve says one empty-handed message when it is ready; until then it may still find a
 * certificate that is none. */
static int wait_ready(struct server *s, struct error *err)
{
    char text[512];
    int fd = -EBADF;
    ssize_t n = packet_receive(s->channel, text, sizeof(text) - 1, &fd);
    close_fd(fd);
    if (n <= 0)
        return error_set(err, ERROR_SYSTEM, EIO, "proa-serve did not start");
    text[n] = '\0';
    if (strcmp(text, "ready") != 0)
        return error_invalid(err, "proa-serve: %s", text);
    return 0;
}

static int start(struct server *s, struct error *err)
{
    _cleanup_free_ char *shown = NULL;
    _cleanup_close_ int listening = -EBADF;
    int pair[2];
    int r = listen_open(s->options, &listening, &shown, err);
    if (r < 0)
        return r;
    s->listening = true;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(err, errno, "make a socket pair");
    s->channel = pair[0];
    r = start_http(s, pair[1], listening, err);
    close_fd(pair[1]);
    if (r < 0 || (r = wait_ready(s, err)) < 0)
        return r;
    if (s->options->ready)
        s->options->ready(s->options->context, shown);
    return 0;
}

static void stop(struct server *s)
{
    s->channel = close_fd(s->channel);
    if (s->http > 0) {
        kill(s->http, SIGKILL);
        waitpid(s->http, NULL, 0);
    }
    uploads_free(s);
    while (s->children)
        child_end(s->children);
    for (size_t i = 0; i < s->n_streams; i++) {
        kill(s->streams[i], SIGKILL);
        waitpid(s->streams[i], NULL, 0);
    }
    free(s->streams);
    free(s->program);
    image_work_end(&s->work);
    if (s->listening)
        listen_close(s->options);
}

/* sha512 digests have a folder of their own, made by the first server. */
static int make_folder(struct store *store, struct error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/blobs/sha512", store->root);
    return mkdir(path, 0700) < 0 && errno != EEXIST ? error_errno(err, errno, "create %s", path)
                                                    : 0;
}

static int run(struct server *s, int signals, struct error *err)
{
    int r;
    if ((r = program_find("proa-serve", &s->program, err)) < 0 ||
        (r = make_folder(s->store, err)) < 0 ||
        (r = image_work_begin(s->store, &s->work, err)) < 0 || (r = start(s, err)) < 0)
        return r;
    return loop(s, signals, err);
}

int serve_run(struct store *store, const struct serve_options *o, struct error *err)
{
    struct server *s = xnew(struct server);
    sigset_t set, old;
    s->store = store;
    s->options = o;
    s->channel = -EBADF;
    s->work.fd = -EBADF;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, &old);
    _cleanup_close_ int signals = signalfd(-1, &set, SFD_CLOEXEC);
    int r = signals < 0 ? error_errno(err, errno, "wait for signals") : run(s, signals, err);
    stop(s);
    sigprocmask(SIG_SETMASK, &old, NULL);
    free(s);
    return r;
}
