/*
 * The relay: one connection to each peer and one from each, and the keeper. It sleeps until one of
 * them has something, or a second has passed.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/fd_pass.h"
#include "base/text.h"
#include "service/peers/peers-internal.h"

#define TICK_MS     1000
#define SHORT_MS    20
#define FAREWELL_MS 500

static struct teller tellers[PEERS_MAX];
static struct listener listeners[PEERS_MAX];

int relay_ask(const struct peers_request *q)
{
    return send(RELAY_KEEPER, q, sizeof(*q), MSG_NOSIGNAL) == (ssize_t)sizeof(*q) ? 0 : -EPIPE;
}

/* --- the keeper's orders --- */

static int take_roster(struct relay *r, int fd)
{
    buf_reset(&r->roster);
    r->edition++;
    return fd_read_to_end(fd, &r->roster);
}

static int take_order(struct relay *r, int64_t now_ms)
{
    struct peers_order order;
    int fds[FD_PASS_MAX];
    ssize_t n = fd_take(RELAY_KEEPER, &order, sizeof(order), fds);
    _cleanup_close_ int fd = n > 0 ? fds[0] : -EBADF;
    if (n != (ssize_t)sizeof(order))
        return -EPIPE;
    switch (order.kind) {
    case PEERS_CONNECTED:
        if (order.peer >= r->n)
            return -EBADMSG;
        teller_connected(&tellers[order.peer], TAKE_FD(fd), now_ms);
        return 0;
    case PEERS_TELL:
        return take_roster(r, fd);
    case PEERS_END:
        r->ending = true;
        return 0;
    default:
        return -EBADMSG;
    }
}

/* --- who connects --- */

static void take_connection(const struct relay *r, int64_t now_ms)
{
    struct sockaddr_in from;
    socklen_t size = sizeof(from);
    _cleanup_close_ int fd =
        accept4(PEERS_LISTEN, (struct sockaddr *)&from, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 || size != sizeof(from) || from.sin_family != AF_INET)
        return;
    for (size_t i = 0; i < r->n; i++)
        if (r->peers[i].s_addr == from.sin_addr.s_addr) {
            listener_connected(&listeners[i], r, TAKE_FD(fd), now_ms);
            if (tellers[i].fd < 0) /* it is there, now */
                tellers[i].next_ms = now_ms;
            return;
        }
}

/* --- all of it --- */

struct waiting {
    struct pollfd fds[2 + 2 * PEERS_MAX];
};

/* Gives for how long at most. */
static int wait_for(const struct relay *r, struct waiting *w, int64_t now_ms)
{
    int timeout_ms = r->ending ? SHORT_MS : TICK_MS;
    w->fds[0] = (struct pollfd){RELAY_KEEPER, POLLIN, 0};
    w->fds[1] = (struct pollfd){PEERS_LISTEN, POLLIN, 0};
    for (size_t i = 0; i < r->n; i++) {
        w->fds[2 + 2 * i] = (struct pollfd){tellers[i].fd, teller_events(&tellers[i]), 0};
        w->fds[3 + 2 * i] =
            (struct pollfd){listeners[i].fd, listener_events(&listeners[i], now_ms), 0};
        if (listener_rests(&listeners[i], now_ms))
            timeout_ms = SHORT_MS;
    }
    return timeout_ms;
}

static bool has_left(const struct relay *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (tellers[i].greeted && (!tellers[i].left || tellers[i].out.len > 0))
            return false;
    return true;
}

static int go_on(struct relay *r, const struct waiting *w, int64_t now_ms)
{
    int result = w->fds[0].revents ? take_order(r, now_ms) : 0;
    for (size_t i = 0; result == 0 && i < r->n; i++) {
        short told = tellers[i].fd == w->fds[2 + 2 * i].fd ? w->fds[2 + 2 * i].revents : 0;
        result = teller_go_on(&tellers[i], r, (uint32_t)i, told, now_ms);
        if (result == 0)
            result = listener_go_on(&listeners[i], (uint32_t)i, w->fds[3 + 2 * i].revents, now_ms);
    }
    if (result == 0 && w->fds[1].revents)
        take_connection(r, now_ms);
    return result;
}

int relay_run(struct relay *r)
{
    static struct peers_request begin = {.kind = PEERS_BEGIN};
    struct waiting w;
    int64_t end_ms = INT64_MAX;
    r->roster = (struct buf)BUF_INIT(PEERS_BODY_MAX);
    for (size_t i = 0; i < r->n; i++) {
        teller_init(&tellers[i]);
        listener_init(&listeners[i]);
    }
    int result = relay_ask(&begin);
    while (result == 0) {
        int64_t now_ms = time_monotonic_ms();
        int timeout_ms = wait_for(r, &w, now_ms);
        if (poll(w.fds, 2 + 2 * r->n, timeout_ms) < 0 && errno != EINTR)
            return -errno;
        now_ms = time_monotonic_ms();
        result = go_on(r, &w, now_ms);
        if (r->ending && end_ms == INT64_MAX)
            end_ms = now_ms + FAREWELL_MS;
        if (r->ending && (has_left(r) || now_ms > end_ms))
            return 0;
    }
    return result;
}
