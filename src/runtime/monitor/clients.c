/*
 * The attach socket and its clients.
 *
 * Output goes to clients in chunks that all must take before the next is read (streams.c); what a
 * client has not read yet is in its socket's buffer, which the kernel bounds. The foreground client
 * may wait for as long as it likes. One that attached later may hold the workload up for SLOW_MS at
 * a time, then it is dropped: somebody's stopped `attach` must not stop a service.
 *
 * Input goes the other way with the same rule: one message at a time, and while the workload does
 * not take it, clients that have more of it are not read.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/fd.h"
#include "base/text.h"
#include "runtime/monitor/monitor-internal.h"

#define SLOW_MS 2000
#define TELL_MS 5000 /* for the exit message and its acknowledgement */

int clients_listen(struct monitor *m, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "monitor.sock"};
    m->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (m->listen_fd < 0)
        return error_errno(err, errno, "make the attach socket");
    /* The name is relative: a run directory may be longer than an address can hold. The lock is
     * ours, so what is there is a killed predecessor's. */
    if (chdir(m->o->run_dir) < 0)
        return error_errno(err, errno, "enter %s", m->o->run_dir);
    unlink(address.sun_path);
    mode_t mask = umask(0177);
    int bound = bind(m->listen_fd, (struct sockaddr *)&address, sizeof(address));
    int saved = errno;
    umask(mask);
    if (chdir("/") < 0)
        return error_errno(err, errno, "enter /");
    if (bound < 0)
        return error_errno(err, saved, "bind %s/monitor.sock", m->o->run_dir);
    if (listen(m->listen_fd, MAX_CLIENTS) < 0)
        return error_errno(err, errno, "listen on %s/monitor.sock", m->o->run_dir);
    return 0;
}

void clients_add(struct monitor *m, int fd, bool foreground)
{
    for (size_t i = 0; i < MAX_CLIENTS; i++)
        if (m->clients[i].fd < 0) {
            m->clients[i] =
                (struct attached){.fd = fd, .foreground = foreground, .output = foreground};
            return;
        }
    close_fd(fd);
}

void clients_accept(struct monitor *m)
{
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);
    int fd = accept4(m->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
        (peer.uid != 0 && peer.uid != geteuid())) {
        close_fd(fd);
        return;
    }
    clients_add(m, fd, false);
}

void clients_drop(struct monitor *m, struct attached *c)
{
    bool foreground = c->foreground;
    c->fd = close_fd(c->fd);
    if (c->beginning && m->status.pid > 0 && m->phase == PHASE_RUNNING)
        kill(m->status.pid, SIGKILL);
    /* Its duty, when it had one that it did not acknowledge, is the monitor's again. */
    *c = (struct attached){.fd = -EBADF};
    if (foreground && !m->o->terminal)
        streams_end_input(m); /* as when the writer of a pipe has gone */
}

/* --- to the client --- */

static int send_exit(struct monitor *m, struct attached *c)
{
    bool duty = c->wants_finish && !m->finish_taken;
    struct attach_message exit = {
        .type = ATTACH_EXIT, .exit_code = m->status.exit_code, .duty = duty};
    for (size_t i = 0; i < MAX_CLIENTS; i++)
        exit.duty &= !(m->clients[i].fd >= 0 && m->clients[i].duty);
    int r = attach_send(c->fd, &exit, MSG_DONTWAIT);
    if (r == 0) {
        c->told = true;
        c->duty = exit.duty;
    }
    return r;
}

void clients_push(struct monitor *m, struct attached *c)
{
    struct attach_message chunk = {.type = m->chunk_type, .data = m->chunk, .len = m->chunk_len};
    int r = m->phase == PHASE_TELLING ? send_exit(m, c) : attach_send(c->fd, &chunk, MSG_DONTWAIT);
    if (r == -EAGAIN || r == -ENOBUFS) {
        int64_t limit = m->phase == PHASE_TELLING ? TELL_MS : SLOW_MS;
        bool patient = c->foreground && m->phase != PHASE_TELLING;
        if (!c->pending)
            c->deadline_ms = patient ? 0 : time_monotonic_ms() + limit;
        c->pending = true;
        return;
    }
    c->pending = false;
    c->deadline_ms = 0;
    if (r < 0)
        clients_drop(m, c);
    else if (m->phase == PHASE_TELLING && c->duty)
        c->deadline_ms = time_monotonic_ms() + TELL_MS;
}

void clients_broadcast(struct monitor *m, enum attach_type type, size_t len)
{
    m->chunk_type = type;
    m->chunk_len = len;
    for (size_t i = 0; i < MAX_CLIENTS; i++)
        if (m->clients[i].fd >= 0 && m->clients[i].output)
            clients_push(m, &m->clients[i]);
}

bool clients_pending(const struct monitor *m, bool *ret_foreground)
{
    bool pending = false;
    *ret_foreground = false;
    for (size_t i = 0; i < MAX_CLIENTS; i++)
        if (m->clients[i].fd >= 0 && m->clients[i].pending) {
            pending = true;
            *ret_foreground |= m->clients[i].foreground;
        }
    return pending;
}

void clients_drop_late(struct monitor *m, int64_t now_ms)
{
    for (size_t i = 0; i < MAX_CLIENTS; i++)
        if (m->clients[i].fd >= 0 && m->clients[i].deadline_ms &&
            m->clients[i].deadline_ms <= now_ms)
            clients_drop(m, &m->clients[i]);
}

void clients_tell_exit(struct monitor *m)
{
    for (size_t i = 0; i < MAX_CLIENTS; i++) {
        struct attached *c = &m->clients[i];
        if (c->fd < 0 || c->told || c->pending)
            continue;
        if (c->greeted)
            clients_push(m, c);
        else if (c->foreground && c->deadline_ms == 0) /* its wishes are still on the way */
            c->deadline_ms = time_monotonic_ms() + TELL_MS;
    }
}

bool clients_all_told(const struct monitor *m)
{
    for (size_t i = 0; i < MAX_CLIENTS; i++) {
        const struct attached *c = &m->clients[i];
        if (c->fd >= 0 && (c->greeted || c->foreground) && (!c->told || c->duty))
            return false;
    }
    return true;
}

/* --- from the client --- */

void clients_unstall(struct monitor *m)
{
    for (size_t i = 0; i < MAX_CLIENTS; i++)
        m->clients[i].stalled = false;
}

static void take_stdin(struct monitor *m, const struct attach_message *message)
{
    if (m->input < 0 || !m->o->open_stdin || message->len == 0)
        return;
    memcpy(m->stdin_data + 1, message->data, message->len);
    m->stdin_len = message->len;
    m->stdin_done = 0;
    streams_write_input(m);
}

/* What has been counted goes on being counted. */
static bool take_policy(struct monitor *m, const struct attach_message *message)
{
    char text[64];
    struct restart policy;
    if (message->len >= sizeof(text))
        return false;
    memcpy(text, message->data, message->len);
    text[message->len] = '\0';
    if (restart_parse(text, &policy) < 0)
        return false;
    m->restart.policy = policy.policy;
    m->restart.max = policy.max;
    return true;
}

static bool take_lease(struct monitor *m, const struct attach_message *message, int *fd)
{
    if (*fd < 0 || message->position >= BUNDLE_NETWORKS_MAX || m->phase == PHASE_TELLING)
        return false;
    leases_put(&m->leases, message->position, TAKE_FD(*fd));
    return true;
}

static bool take_tap(struct monitor *m, const struct attach_message *message, int *fd)
{
    if (message->position >= BUNDLE_NETWORKS_MAX || m->phase == PHASE_TELLING)
        return false;
    close_fd(m->tap_fds[message->position]);
    m->tap_fds[message->position] = TAKE_FD(*fd);
    return true;
}

static void handle(struct monitor *m, struct attached *c, const struct attach_message *message,
                   int *fd)
{
    static const struct attach_message ok = {.type = ATTACH_OK};
    switch (message->type) {
    case ATTACH_HELLO:
        c->greeted = true;
        c->output |= (message->flags & ATTACH_WANTS_OUTPUT) != 0;
        c->wants_finish = (message->flags & ATTACH_WANTS_FINISH) != 0;
        return;
    case ATTACH_STDIN:
        take_stdin(m, message);
        return;
    case ATTACH_STDIN_CLOSE:
        if (c->foreground)
            streams_end_input(m);
        return;
    case ATTACH_RESIZE:
        streams_resize(m, message->rows, message->columns);
        return;
    case ATTACH_STOPPING:
        monitor_stop_wanted(m);
        if (attach_send(c->fd, &ok, MSG_DONTWAIT) < 0)
            clients_drop(m, c);
        return;
    case ATTACH_RESTART:
        if (!take_policy(m, message) || attach_send(c->fd, &ok, MSG_DONTWAIT) < 0)
            clients_drop(m, c);
        return;
    case ATTACH_BEGIN:
        c->foreground = c->output = (message->flags & ATTACH_WANTS_OUTPUT) != 0;
        c->beginning = monitor_begin(m);
        if (!c->beginning || attach_send(c->fd, &ok, MSG_DONTWAIT) < 0)
            clients_drop(m, c);
        return;
    case ATTACH_BEGUN:
        c->beginning = false;
        return;
    case ATTACH_LEASE:
        if (!take_lease(m, message, fd) || attach_send(c->fd, &ok, MSG_DONTWAIT) < 0)
            clients_drop(m, c);
        return;
    case ATTACH_TAP:
        if (!take_tap(m, message, fd) || attach_send(c->fd, &ok, MSG_DONTWAIT) < 0)
            clients_drop(m, c);
        return;
    case ATTACH_ACK:
        m->finish_taken |= c->duty;
        c->duty = false;
        c->deadline_ms = 0;
        return;
    default:
        clients_drop(m, c); /* a monitor's message from a client */
    }
}

void clients_read(struct monitor *m, struct attached *c)
{
    struct attach_message message;
    unsigned char type;
    if (m->stdin_len > 0) {
        ssize_t n = recv(c->fd, &type, 1, MSG_PEEK | MSG_DONTWAIT);
        if (n == 1 && (type == ATTACH_STDIN || type == ATTACH_STDIN_CLOSE)) {
            c->stalled = true;
            return;
        }
    }
    _cleanup_close_ int passed = -EBADF;
    int r = attach_receive_fd(c->fd, m->message, &message, &passed);
    if (r == -EAGAIN)
        return;
    if (r < 0)
        clients_drop(m, c);
    else
        handle(m, c, &message, &passed);
}
