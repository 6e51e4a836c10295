/*
 * Telling a peer: connect, read its greeting, then the roster whenever there is another, and that
 * nothing has changed when there is none. A peer that does not read gets no second message before
 * it has the first; one that takes none for half a minute is connected to anew.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "service/peers/peers-internal.h"

#define RETRY_MS 2000

void teller_init(struct teller *t)
{
    *t = (struct teller){.fd = -EBADF, .out = BUF_INIT(PEERS_MESSAGE_MAX)};
}

static void end(struct teller *t, int64_t now_ms)
{
    close_fd(t->fd);
    buf_done(&t->out);
    teller_init(t);
    t->next_ms = now_ms + RETRY_MS;
}

void teller_connected(struct teller *t, int fd, int64_t now_ms)
{
    end(t, now_ms);
    t->fd = fd;
    t->since_ms = now_ms;
}

short teller_events(const struct teller *t)
{
    return t->out.len > 0 ? POLLOUT : POLLIN;
}

/* A peer says its greeting, and then nothing. */
static int read_greeting(struct teller *t, const struct relay *r)
{
    ssize_t n = recv(t->fd, t->session.greeting + t->n_greeting,
                     t->greeted ? 0 : PEERS_GREETING_SIZE - t->n_greeting, MSG_DONTWAIT);
    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -EPIPE;
    t->n_greeting += (size_t)n;
    if (t->n_greeting < PEERS_GREETING_SIZE)
        return 0;
    if (!peers_greeting_is_good(t->session.greeting, r->vxlan_id))
        return -EBADMSG;
    t->greeted = true;
    t->session.key_len = r->key_len;
    memcpy(t->session.key, r->key, sizeof(r->key));
    return 0;
}

/* What is to be said now, if anything. */
static int say(struct teller *t, const struct relay *r, int64_t now_ms)
{
    int result = 0;
    if (!t->greeted || t->out.len > 0 || t->left)
        return 0;
    if (r->ending) {
        result = peers_message_put(&t->session, PEERS_FAREWELL, NULL, 0, &t->out);
        t->left = true;
    } else if (t->edition != r->edition) {
        result =
            peers_message_put(&t->session, PEERS_ROSTER, r->roster.data, r->roster.len, &t->out);
        t->edition = r->edition;
    } else if (now_ms >= t->next_ms && t->edition > 0) {
        result = peers_message_put(&t->session, PEERS_SAME, NULL, 0, &t->out);
    }
    if (t->out.len > 0) {
        t->since_ms = now_ms;
        t->next_ms = now_ms + PEERS_SAY_MS;
    }
    return result;
}

static int write_on(struct teller *t, int64_t now_ms)
{
    if (t->out.len == 0)
        return 0;
    ssize_t n = send(t->fd, t->out.data, t->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    buf_consume(&t->out, (size_t)n);
    t->since_ms = now_ms;
    return 0;
}

int teller_go_on(struct teller *t, const struct relay *r, uint32_t peer, short revents,
                 int64_t now_ms)
{
    static struct peers_request q;
    if (t->fd < 0) {
        if (t->asked || now_ms < t->next_ms || r->ending)
            return 0;
        t->asked = true;
        q.kind = PEERS_CONNECT;
        q.peer = peer;
        return relay_ask(&q);
    }
    bool waits = t->out.len > 0 || !t->greeted;
    int result = revents & (POLLIN | POLLHUP | POLLERR) ? read_greeting(t, r) : 0;
    if (result == 0)
        result = say(t, r, now_ms);
    if (result == 0)
        result = write_on(t, now_ms);
    if (result < 0 || (waits && now_ms - t->since_ms > PEERS_FORGET_MS))
        end(t, now_ms);
    return 0;
}
