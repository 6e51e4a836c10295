/*
 * The relay: questions of one instance to dnsmasq, answers back when they may be used.
 *
 * Over UDP all questions go through one connected socket; each has a number of ours, by which its
 * answer is found. It remembers the last few hundred and no longer than a few seconds: whoever asks
 * more loses the oldest, and asks again. Whatever is not well made is refused, or dropped where it
 * cannot even be refused. An answer that the keeper could not take is given as "server failure".
 */
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/fd_pass.h"
#include "base/text.h"
#include "service/names/names-internal.h"

#define PENDING      256
#define QUESTION_MAX 600 /* a name, and what options there are */
#define ANSWER_MS    10000
#define KEEPER_MS    5000
#define HEAD         12
#define TICK_MS      1000

struct pending {
    bool taken;
    uint16_t id; /* ours */
    int64_t since_ms;
    struct sockaddr_in from;
    struct dns_question q; /* as it was asked, with its own number */
    uint8_t bytes[QUESTION_MAX];
    size_t len;
};

static struct pending pending[PENDING];
static struct dns_address found[DNS_ADDRESSES_MAX];

/* --- the keeper --- */

static int ask_keeper(const struct names_request *q, int *ret_fd)
{
    int fds[FD_PASS_MAX];
    uint8_t answer = 0;
    struct pollfd p = {.fd = RELAY_KEEPER, .events = POLLIN};
    if (send(RELAY_KEEPER, q, sizeof(*q), MSG_NOSIGNAL) != (ssize_t)sizeof(*q) ||
        poll(&p, 1, KEEPER_MS) != 1 || fd_take(RELAY_KEEPER, &answer, 1, fds) != 1)
        return -EPIPE;
    *ret_fd = fds[0];
    return answer;
}

int relay_learn(const char *name, const struct dns_address *list, size_t n)
{
    static struct names_request q;
    int fd, r = NAMES_DONE;
    memset(&q, 0, sizeof(q));
    q.kind = NAMES_LEARN;
    if (!dns_name_parse(name, q.name)) /* an instance's, of one label: no policy means that */
        return NAMES_DONE;
    for (size_t at = 0; r == NAMES_DONE && at < n; at += q.n) {
        q.n = (uint32_t)MIN(n - at, (size_t)NAMES_AT_ONCE);
        for (uint32_t i = 0; i < q.n; i++) {
            q.list[i].v6 = list[at + i].v6;
            memcpy(q.list[i].bytes, list[at + i].bytes, sizeof(q.list[i].bytes));
            q.list[i].ttl_s = list[at + i].ttl_s;
        }
        r = ask_keeper(&q, &fd);
    }
    return r;
}

int relay_connect(int *ret_fd)
{
    static const struct names_request q = {.kind = NAMES_CONNECT};
    int r = ask_keeper(&q, ret_fd);
    return r < 0 ? r : *ret_fd < 0 ? -ECONNREFUSED : 0;
}

bool relay_knows(const struct policy_address *own, size_t n_own, struct policy_address who)
{
    for (size_t i = 0; i < n_own; i++)
        if (own[i].v6 == who.v6 && own[i].n == who.n)
            return true;
    return false;
}

/* --- UDP --- */

static void answer_udp(const struct sockaddr_in *to, const uint8_t *bytes, size_t len)
{
    (void)!sendto(NAMES_UDP, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)to,
                  sizeof(*to)); /* one that is lost is asked for again */
}

static struct pending *find_pending(uint16_t id)
{
    for (size_t i = 0; i < PENDING; i++)
        if (pending[i].taken && pending[i].id == id)
            return &pending[i];
    return NULL;
}

/* A free place, or the one that has waited longest. */
static struct pending *new_pending(int64_t now_ms)
{
    struct pending *best = &pending[0];
    for (size_t i = 0; i < PENDING; i++) {
        if (!pending[i].taken || now_ms - pending[i].since_ms > ANSWER_MS) {
            best = &pending[i];
            break;
        }
        if (pending[i].since_ms < best->since_ms)
            best = &pending[i];
    }
    best->taken = false;
    do
        if (getrandom(&best->id, sizeof(best->id), 0) != (ssize_t)sizeof(best->id))
            return NULL;
    while (find_pending(best->id));
    best->taken = true;
    best->since_ms = now_ms;
    return best;
}

static void put_id(uint8_t *message, uint16_t id)
{
    message[0] = (uint8_t)(id >> 8);
    message[1] = (uint8_t)id;
}

static void take_question(const struct policy_address *own, size_t n_own, int64_t now_ms)
{
    static uint8_t bytes[QUESTION_MAX + 1];
    struct sockaddr_in from;
    socklen_t size = sizeof(from);
    struct dns_question q;
    ssize_t n =
        recvfrom(NAMES_UDP, bytes, sizeof(bytes), MSG_DONTWAIT, (struct sockaddr *)&from, &size);
    if (n < HEAD || size != sizeof(from) || from.sin_family != AF_INET || bytes[2] & 0x80 ||
        !relay_knows(own, n_own, policy_address_from4(from.sin_addr)))
        return;
    struct pending *p = NULL;
    if (n <= QUESTION_MAX && dns_question_read(bytes, (size_t)n, &q) == 0)
        p = new_pending(now_ms);
    if (!p) {
        answer_udp(&from, bytes,
                   dns_refuse(bytes, MIN((size_t)n, (size_t)QUESTION_MAX), DNS_FORMAT_ERROR));
        return;
    }
    p->from = from;
    p->q = q;
    p->len = (size_t)n;
    memcpy(p->bytes, bytes, p->len);
    put_id(bytes, p->id);
    (void)!send(RELAY_UPSTREAM, bytes, p->len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Negative: the keeper is gone. */
static int take_answer(void)
{
    static uint8_t bytes[DNS_MESSAGE_MAX];
    size_t n_found = 0;
    ssize_t n = recv(RELAY_UPSTREAM, bytes, sizeof(bytes), MSG_DONTWAIT);
    struct pending *p = n < HEAD ? NULL : find_pending((uint16_t)(bytes[0] << 8 | bytes[1]));
    if (!p)
        return 0;
    put_id(bytes, p->q.id);
    if (dns_answer_read(bytes, (size_t)n, &p->q, found, &n_found) < 0)
        return 0; /* of nobody's question, or in pieces: the right one may come yet */
    int r = relay_learn(p->q.name, found, n_found);
    if (r == NAMES_DONE)
        answer_udp(&p->from, bytes, (size_t)n);
    else if (r > 0)
        answer_udp(&p->from, p->bytes, dns_refuse(p->bytes, p->len, DNS_SERVER_FAILURE));
    p->taken = false;
    return r < 0 ? r : 0;
}

/* --- all of it --- */

static void take_stream(struct streams *streams, const struct policy_address *own, size_t n_own,
                        int64_t now_ms)
{
    struct sockaddr_in from;
    socklen_t size = sizeof(from);
    _cleanup_close_ int fd =
        accept4(NAMES_TCP, (struct sockaddr *)&from, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0 && size == sizeof(from) &&
        relay_knows(own, n_own, policy_address_from4(from.sin_addr)))
        streams_add(streams, TAKE_FD(fd), now_ms);
}

int relay_run(const struct policy_address *own, size_t n_own)
{
    static const struct names_request begin = {.kind = NAMES_BEGIN};
    enum { UDP, TCP, UPSTREAM, KEEPER, FIXED };
    struct streams *streams = streams_new();
    struct pollfd fds[FIXED + RELAY_STREAMS] = {{NAMES_UDP, POLLIN, 0},
                                                {NAMES_TCP, POLLIN, 0},
                                                {RELAY_UPSTREAM, POLLIN, 0},
                                                {RELAY_KEEPER, 0, 0}};
    int none, r = ask_keeper(&begin, &none);
    while (r >= 0) {
        size_t n = streams_poll(streams, fds + FIXED);
        if (poll(fds, FIXED + n, TICK_MS) < 0 && errno != EINTR)
            return -errno;
        if (fds[KEEPER].revents) /* it speaks only when it is spoken to */
            return -EPIPE;
        int64_t now_ms = time_monotonic_ms();
        r = fds[UPSTREAM].revents ? take_answer() : 0;
        if (fds[UDP].revents)
            take_question(own, n_own, now_ms);
        streams_go_on(streams, fds + FIXED, n, now_ms);
        if (fds[TCP].revents)
            take_stream(streams, own, n_own, now_ms);
    }
    return r;
}
