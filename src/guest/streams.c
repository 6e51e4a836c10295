/* Streams: what the processes of the machine read and write, and how each stream ends (agent.c). */
#include <poll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "guest/agent-internal.h"

struct stream *stream_find(struct agent *a, uint32_t id)
{
    for (size_t i = 0; i < AGENT_STREAMS_MAX; i++)
        if (a->streams[i].kind != STREAM_FREE && a->streams[i].id == id)
            return &a->streams[i];
    return NULL;
}

int stream_new(struct agent *a, uint32_t id, struct stream **ret, struct error *err)
{
    if (id == 0 || stream_find(a, id))
        return error_invalid(err, "stream %u is in use", id);
    for (size_t i = 0; i < AGENT_STREAMS_MAX; i++) {
        struct stream *s = &a->streams[i];
        if (s->kind != STREAM_FREE)
            continue;
        *s = (struct stream){.id = id,
                             .fds = {-EBADF, -EBADF, -EBADF},
                             .error_fd = -EBADF,
                             .in = BUF_INIT(AGENT_WINDOW),
                             .credit = {0, AGENT_WINDOW, AGENT_WINDOW}};
        *ret = s;
        return 0;
    }
    return error_set(err, ERROR_LIMIT, EMFILE, "the machine runs %u commands already",
                     AGENT_STREAMS_MAX);
}

static void stream_free(struct stream *s)
{
    for (int i = 0; i < 3; i++)
        s->fds[i] = close_fd(s->fds[i]);
    s->error_fd = close_fd(s->error_fd);
    buf_done(&s->in);
    s->kind = STREAM_FREE;
}

void stream_drop(struct stream *s)
{
    stream_free(s);
}

/* The process's terminal or pipes have no reader or writer any more. */
static void channel_end(struct agent *a, struct stream *s, int channel)
{
    s->fds[channel] = close_fd(s->fds[channel]);
    agent_must(agent_add_close(&a->out, s->id, (uint8_t)channel));
}

/* True while there may be more at once. */
bool channel_read(struct agent *a, struct stream *s, int channel)
{
    char data[16384];
    size_t want = MIN(sizeof(data), (size_t)s->credit[channel]);
    if (s->fds[channel] < 0 || want == 0 || a->out.len >= OUT_SOFT_MAX)
        return false;
    ssize_t n = read(s->fds[channel], data, want);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        channel_end(a, s, channel);
        return false;
    }
    s->credit[channel] -= (uint32_t)n;
    agent_must(agent_add_data(&a->out, s->id, (uint8_t)channel, data, (size_t)n));
    return true;
}

static void stop_input(struct agent *a, struct stream *s)
{
    if (s->in.len)
        agent_must(agent_add_credit(&a->out, s->id, 0, (uint32_t)s->in.len));
    buf_reset(&s->in);
    s->fds[0] = close_fd(s->fds[0]);
    s->no_in = true;
}

void stream_write(struct agent *a, struct stream *s)
{
    if (s->fds[0] < 0)
        return;
    if (s->in.len > 0) {
        ssize_t n = write(s->fds[0], s->in.data, s->in.len);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0) {
            stop_input(a, s);
            return;
        }
        buf_consume(&s->in, (size_t)n);
        agent_must(agent_add_credit(&a->out, s->id, 0, (uint32_t)n));
    }
    if (s->in.len == 0 && s->close_in) {
        if (s->terminal) { /* what ^D is for */
            static const char end = 4;
            (void)!write(s->fds[0], &end, 1);
        }
        s->fds[0] = close_fd(s->fds[0]);
        s->no_in = true;
    }
}

/* The error that a copy's child left, if it did. */
static void tree_result(struct agent *a, struct stream *s)
{
    struct error e = ERROR_INIT;
    ssize_t n = recv(s->error_fd, &e, sizeof(e), MSG_DONTWAIT);
    if (n != (ssize_t)sizeof(e) && s->status != 0)
        error_set(&e, ERROR_SYSTEM, EIO, "the copy in the machine failed");
    if (e.kind == ERROR_NONE)
        agent_must(agent_frame_add(&a->out, AGENT_OK, s->id, NULL, 0));
    else
        agent_must(agent_add_error(&a->out, s->id, &e));
}

/* After its process has ended: what is left to read, then the last frame. */
void stream_finish(struct agent *a, struct stream *s)
{
    if (s->kind == STREAM_FREE || s->pid != 0)
        return;
    for (int i = 1; i < 3; i++) {
        while (channel_read(a, s, i))
            ;
        struct pollfd p = {s->fds[i], POLLIN, 0};
        if (s->fds[i] >= 0 && poll(&p, 1, 0) > 0)
            return; /* waits for credit, or for the host to take what is there */
    }
    if (s->kind == STREAM_TREE)
        tree_result(a, s);
    else
        agent_must(agent_add_u32(&a->out, AGENT_EXIT, s->id, (uint32_t)s->status));
    stream_free(s);
}
