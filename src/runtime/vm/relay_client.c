/*
 * Commands (exec, cp, stats, signals) connect to agent.sock, which only root can; each connection
 * carries one request and speaks the agent's protocol. Here requests get a stream number in the
 * guest and answers find their way back; credit passes through unchanged, so a slow command slows
 * its own stream only.
 */
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/fd_pass.h"
#include "runtime/vm/relay-internal.h"

static void client_close_fd(struct client *c)
{
    c->fd = close_fd(c->fd);
    for (size_t i = 0; i < ARRAY_SIZE(c->passed); i++)
        c->passed[i] = close_fd(c->passed[i]);
    buf_done(&c->in);
    buf_done(&c->out);
}

static void client_free(struct client *c)
{
    client_close_fd(c);
    c->used = false;
    c->stream = 0;
}

/* The command has gone: its process gets an end of input and runs on; a copy ends. */
static void client_gone(struct relay *m, struct client *c)
{
    snapshot_client_gone(m, c);
    if (c == m->adopter)
        m->adopter = NULL;
    if (c->stream == 0) {
        client_free(c);
        return;
    }
    if (m->guest->gone(m, c))
        client_close_fd(c);
    else
        client_free(c);
}

void client_answer_error(struct client *c, const struct error *e)
{
    relay_must(agent_add_error(&c->out, 1, e));
    c->close_when_sent = true;
}

void client_answer_ok(struct client *c)
{
    relay_must(agent_frame_add(&c->out, AGENT_OK, 1, NULL, 0));
    c->close_when_sent = true;
}

/* No more is read of requests than the guest takes. */
static bool has_room(const struct relay *m)
{
    return m->guest_out.len < GUEST_OUT_SOFT;
}

static void refuse(int fd)
{
    _cleanup_buf_ struct buf out = BUF_INIT(AGENT_PAYLOAD_MAX);
    struct error e = ERROR_INIT;
    error_set(&e, ERROR_LIMIT, EBUSY,
              "%u commands are at work in the machine already: try again when one has ended",
              CLIENTS_MAX);
    if (agent_add_error(&out, 1, &e) == 0)
        (void)!send(fd, out.data, out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    close_fd(fd);
}

static void client_accept(struct relay *m)
{
    int fd = accept4(m->r->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *c = &m->clients[i];
        if (c->used)
            continue;
        *c = (struct client){.used = true,
                             .fd = fd,
                             .in = BUF_INIT(2 * AGENT_PAYLOAD_MAX),
                             .out = BUF_INIT(4 * AGENT_PAYLOAD_MAX)};
        for (size_t k = 0; k < ARRAY_SIZE(c->passed); k++)
            c->passed[k] = -EBADF;
        return;
    }
    refuse(fd);
}

static bool stream_used(const struct relay *m, uint32_t stream)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (m->clients[i].used && m->clients[i].stream == stream)
            return true;
    return false;
}

static void open_stream(struct relay *m, struct client *c, const struct agent_frame *f)
{
    struct error err = ERROR_INIT;
    if (c->stream) {
        error_invalid(&err, "one request a connection");
        client_answer_error(c, &err);
        return;
    }
    if (relay_still(m)) {
        error_set(&err, ERROR_CONFLICT, EBUSY, "the machine is paused: unpause it first");
        client_answer_error(c, &err);
        return;
    }
    do
        m->next_stream++;
    while (m->next_stream <= AGENT_WORKLOAD || stream_used(m, m->next_stream));
    c->stream = m->next_stream;
    c->tree = f->type == AGENT_TREE_IN || f->type == AGENT_TREE_OUT ||
              f->type == AGENT_TREE_FOLLOW || f->type == AGENT_TREE_WHOLE;
    m->guest->open(m, c, f);
}

static void on_signal(struct relay *m, struct client *c, const struct agent_frame *f)
{
    struct error err = ERROR_INIT;
    uint32_t signum;
    if (c->stream) {
        m->guest->more(m, c, f);
        return;
    }
    if (agent_get_u32(f, &signum, &err) < 0) {
        client_answer_error(c, &err);
        return;
    }
    int r = 0;
    if (relay_still(m) && signum == SIGKILL) /* as in a frozen container: it wakes up to die */
        r = relay_freeze(m, false, &err);
    if (r < 0 || m->guest->signal(m, signum, &err) < 0)
        client_answer_error(c, &err);
    else
        client_answer_ok(c);
}

static void on_freeze(struct relay *m, struct client *c, const struct agent_frame *f)
{
    struct error err = ERROR_INIT;
    uint32_t frozen;
    if (agent_get_u32(f, &frozen, &err) < 0 || relay_freeze(m, frozen != 0, &err) < 0)
        client_answer_error(c, &err);
    else
        client_answer_ok(c);
}

static void on_frame(struct relay *m, struct client *c, const struct agent_frame *f)
{
    struct error err = ERROR_INIT;
    if (m->phase == PHASE_SPARE || c == m->adopter) {
        spare_request(m, c, f);
        return;
    }
    switch (f->type) {
    case AGENT_EXEC:
    case AGENT_TREE_OUT:
    case AGENT_TREE_FOLLOW:
    case AGENT_TREE_WHOLE:
    case AGENT_TREE_IN:
    case AGENT_STATS:
    case AGENT_PROCESSES:
    case AGENT_LIMITS:
    case AGENT_NETWORKS:
    case AGENT_NAMES:
    case AGENT_QUIESCE:
    case AGENT_GUEST_INFO:
    case AGENT_SCREENSHOT:
    case AGENT_SIZE:
    case AGENT_CARD:
        open_stream(m, c, f);
        return;
    case AGENT_DATA:
    case AGENT_CLOSE:
    case AGENT_CREDIT:
    case AGENT_RESIZE:
        if (c->stream)
            m->guest->more(m, c, f);
        return;
    case AGENT_SIGNAL:
        on_signal(m, c, f);
        return;
    case AGENT_FREEZE:
        on_freeze(m, c, f);
        return;
    case AGENT_SNAPSHOT:
        snapshot_request(m, c, f);
        return;
    default:
        error_invalid(&err, "message %d is not for a running machine", (int)f->type);
        client_answer_error(c, &err);
    }
}

/*
 * Answered: waits for the command to close. Closing first, with credit of the command's still
 * unread, would make the kernel reset the connection, and the command lose what it has not read.
 */
static void drain(struct client *c)
{
    char waste[4096];
    ssize_t n = read(c->fd, waste, sizeof(waste));
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        client_free(c);
}

void client_flush(struct relay *m, struct client *c)
{
    while (c->fd >= 0 && c->out.len > 0) {
        ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0) {
            client_gone(m, c);
            return;
        }
        buf_consume(&c->out, (size_t)n);
    }
    if (c->used && c->fd >= 0 && c->close_when_sent)
        shutdown(c->fd, SHUT_WR);
}

/* The first that come are kept for the request that is to use them. */
static void keep_passed(struct client *c, int fds[static FD_PASS_MAX])
{
    size_t at = 0;
    for (size_t i = 0; i < FD_PASS_MAX; i++) {
        while (at < ARRAY_SIZE(c->passed) && c->passed[at] >= 0)
            at++;
        if (fds[i] >= 0 && at < ARRAY_SIZE(c->passed))
            c->passed[at] = fds[i];
        else
            close_fd(fds[i]);
    }
}

/* What was read and has no room yet waits where it is. */
static void take_frames(struct relay *m, struct client *c)
{
    size_t at = 0;
    while (has_room(m)) {
        struct agent_frame f;
        struct error err = ERROR_INIT;
        size_t used;
        if (agent_frame_parse(c->in.data + at, c->in.len - at, &f, &used, &err) < 0) {
            client_answer_error(c, &err);
            break;
        }
        if (used == 0 || c->close_when_sent)
            break;
        on_frame(m, c, &f);
        at += used;
    }
    if (at > 0)
        buf_consume(&c->in, at);
    client_flush(m, c);
}

void client_go_on(struct relay *m)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *c = &m->clients[i];
        if (c->used && c->fd >= 0 && c->in.len > 0 && !c->close_when_sent)
            take_frames(m, c);
    }
}

static void client_readable(struct relay *m, struct client *c)
{
    char *space;
    if (c->close_when_sent) {
        drain(c);
        return;
    }
    relay_must(buf_reserve(&c->in, 65536, &space));
    int fds[FD_PASS_MAX];
    ssize_t n = fd_take(c->fd, space, 65536, fds);
    keep_passed(c, fds);
    if (n < 0)
        errno = (int)-n;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_gone(m, c);
        return;
    }
    c->in.len += (size_t)n;
    take_frames(m, c);
}

void client_end(struct client *c)
{
    c->stream = 0;
    c->close_when_sent = true;
    if (c->fd < 0)
        client_free(c);
}

static bool ends_stream(enum agent_type type)
{
    return type == AGENT_EXIT || type == AGENT_OK || type == AGENT_ERROR ||
           type == AGENT_STATS_REPLY || type == AGENT_TEXT;
}

/* Output of a process whose command has gone: taken, so that it does not block. */
static void drop_output(struct relay *m, const struct agent_frame *f)
{
    uint8_t channel;
    const char *data;
    size_t len;
    if (f->type == AGENT_DATA && agent_get_data(f, &channel, &data, &len, NULL) == 0)
        relay_must(agent_add_credit(&m->guest_out, f->stream, channel, (uint32_t)len));
}

void client_frame(struct relay *m, const struct agent_frame *f)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *c = &m->clients[i];
        if (!c->used || c->stream != f->stream)
            continue;
        if (c->fd < 0)
            drop_output(m, f);
        else if (agent_frame_add(&c->out, f->type, 1, f->payload, f->len) < 0)
            client_gone(m, c); /* the guest sends more than its credit */
        if (ends_stream(f->type))
            client_end(c);
        if (c->used && c->fd >= 0)
            client_flush(m, c);
        return;
    }
}

void client_poll_set(const struct relay *m, struct pollfd *set)
{
    bool room = has_room(m);
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        const struct client *c = &m->clients[i];
        set[i] = (struct pollfd){c->used ? c->fd : -1, 0, 0};
        if (room || c->close_when_sent)
            set[i].events |= POLLIN;
        if (c->out.len)
            set[i].events |= POLLOUT;
    }
}

void client_handle(struct relay *m, const struct pollfd *set, bool connects)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *c = &m->clients[i];
        short got = set[i].revents;
        if (!got || !c->used || c->fd != set[i].fd)
            continue;
        if (got & POLLOUT)
            client_flush(m, c);
        if (c->used && c->fd >= 0 && got & (POLLIN | POLLHUP | POLLERR))
            client_readable(m, c);
    }
    if (connects)
        client_accept(m);
}
