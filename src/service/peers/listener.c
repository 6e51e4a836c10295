/*
 * What a peer tells: greeting, then its messages, each taken apart when it is whole. Whatever is
 * not exactly as it should be ends the connection, and nothing of that message counts; a roster is
 * read to its end before the first of it is believed. Between two rosters there is a pause, because
 * each costs the keeper a change of store and rules.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "service/peers/peers-internal.h"

#define PIECE   16384
#define REST_MS 250

void listener_init(struct listener *l)
{
    *l = (struct listener){.fd = -EBADF, .in = BUF_INIT(PEERS_MESSAGE_MAX + PIECE)};
}

static void end(struct listener *l)
{
    l->fd = close_fd(l->fd);
    buf_done(&l->in);
}

bool listener_rests(const struct listener *l, int64_t now_ms)
{
    return l->fd >= 0 && now_ms < l->rest_ms;
}

short listener_events(const struct listener *l, int64_t now_ms)
{
    if (listener_rests(l, now_ms))
        return 0;
    return l->n_greeting < PEERS_GREETING_SIZE ? POLLOUT : POLLIN;
}

void listener_connected(struct listener *l, const struct relay *r, int fd, int64_t now_ms)
{
    uint8_t random[PEERS_RANDOM_SIZE];
    end(l);
    listener_init(l);
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        close_fd(fd);
        return;
    }
    l->fd = fd;
    l->since_ms = now_ms;
    l->session.key_len = r->key_len;
    memcpy(l->session.key, r->key, sizeof(r->key));
    peers_greeting(r->vxlan_id, random, l->session.greeting);
}

static int greet(struct listener *l)
{
    ssize_t n = send(l->fd, l->session.greeting + l->n_greeting,
                     PEERS_GREETING_SIZE - l->n_greeting, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    l->n_greeting += (size_t)n;
    return 0;
}

/* --- messages --- */

static int check_roster(const struct peers_message *m)
{
    static struct peers_member member;
    struct peers_reader reader;
    int r = peers_roster_open(m->body, m->len, &reader);
    while (r >= 0 && (r = peers_roster_next(&reader, &member)) > 0)
        ;
    return r;
}

/* Of a roster that is one. */
static int hand_on(const struct peers_message *m, uint32_t peer)
{
    static struct peers_request q;
    struct peers_reader reader;
    memset(&q, 0, sizeof(q));
    q.peer = peer;
    q.kind = PEERS_FIRST;
    int r = relay_ask(&q);
    if (r == 0)
        r = peers_roster_open(m->body, m->len, &reader);
    q.kind = PEERS_MEMBER;
    while (r >= 0 && (r = peers_roster_next(&reader, &q.member)) > 0)
        r = relay_ask(&q);
    q.kind = PEERS_LAST;
    return r < 0 ? r : relay_ask(&q);
}

/* *ret_keeper is negative when that is gone; the result, when the message is none. */
static int take(const struct peers_message *m, uint32_t peer, int *ret_keeper)
{
    static struct peers_request q;
    if (m->kind == PEERS_ROSTER) {
        int r = check_roster(m);
        if (r == 0)
            *ret_keeper = hand_on(m, peer);
        return r;
    }
    q.kind = m->kind == PEERS_SAME ? PEERS_HEARD : PEERS_GONE;
    q.peer = peer;
    *ret_keeper = relay_ask(&q);
    return 0;
}

static int read_on(struct listener *l)
{
    char *space;
    int r = buf_reserve(&l->in, PIECE, &space);
    if (r < 0)
        return r;
    ssize_t n = recv(l->fd, space, PIECE, MSG_DONTWAIT);
    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -EPIPE;
    l->in.len += (size_t)n;
    return 0;
}

int listener_go_on(struct listener *l, uint32_t peer, short revents, int64_t now_ms)
{
    struct peers_message m;
    int keeper = 0, r = 0;
    if (l->fd < 0)
        return 0;
    if (revents) {
        l->since_ms = now_ms;
        r = l->n_greeting < PEERS_GREETING_SIZE ? greet(l) : read_on(l);
    }
    while (r == 0 && keeper == 0 && l->in.len > 0 && !listener_rests(l, now_ms) &&
           (r = peers_message_take(&l->session, l->in.data, l->in.len, &m)) > 0) {
        r = take(&m, peer, &keeper);
        l->rest_ms = m.kind == PEERS_ROSTER ? now_ms + REST_MS : 0;
        buf_consume(&l->in, m.whole);
    }
    if (r < 0 || now_ms - l->since_ms > PEERS_FORGET_MS)
        end(l);
    return keeper;
}
