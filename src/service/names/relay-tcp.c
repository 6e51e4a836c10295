/*
 * Names over TCP: a message behind its length in two bytes, one after the other on a connection
 * (RFC 7766). Each of ours has one to dnsmasq, asked of the keeper for the first question.
 *
 *   ASKED      what the instance sends is read
 *   ASKING     it is written to dnsmasq
 *   AWAITED    the answer is read, and learned when it is whole
 *   ANSWERING  it is written to the instance; then ASKED again
 */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "service/names/names-internal.h"

#define IDLE_MS 10000
#define LENGTH  2u
#define HEAD    12u

enum state {
    FREE,
    ASKED,
    ASKING,
    AWAITED,
    ANSWERING,
};
struct stream {
    enum state state;
    int client, upstream;
    int64_t since_ms; /* when it last got on */
    size_t done;      /* bytes of the message that were read or written */
    struct dns_question q;
    uint8_t bytes[LENGTH + DNS_MESSAGE_MAX];
    uint8_t question[LENGTH + DNS_MESSAGE_MAX];
};
struct streams {
    struct stream *list[RELAY_STREAMS];
    struct dns_address found[DNS_ADDRESSES_MAX];
};

struct streams *streams_new(void)
{
    return xnew(struct streams);
}

static void end(struct stream *s)
{
    s->client = close_fd(s->client);
    s->upstream = close_fd(s->upstream);
    s->state = FREE;
}

void streams_add(struct streams *s, int fd, int64_t now_ms)
{
    for (size_t i = 0; i < RELAY_STREAMS; i++) {
        if (!s->list[i])
            s->list[i] = xnew(struct stream);
        if (s->list[i]->state != FREE)
            continue;
        s->list[i]->state = ASKED;
        s->list[i]->client = fd;
        s->list[i]->upstream = -EBADF;
        s->list[i]->since_ms = now_ms;
        s->list[i]->done = 0;
        return;
    }
    close_fd(fd);
}

static int waits_for(const struct stream *s)
{
    return s->state == ASKED || s->state == ANSWERING ? s->client : s->upstream;
}

size_t streams_poll(const struct streams *s, struct pollfd fds[static RELAY_STREAMS])
{
    size_t n = 0;
    for (size_t i = 0; i < RELAY_STREAMS; i++) {
        const struct stream *t = s->list[i];
        if (!t || t->state == FREE)
            continue;
        bool reads = t->state == ASKED || t->state == AWAITED;
        fds[n++] = (struct pollfd){waits_for(t), reads ? POLLIN : POLLOUT, 0};
    }
    return n;
}

/* --- one step --- */

static size_t length_of(const uint8_t *bytes)
{
    return (size_t)bytes[0] << 8 | bytes[1];
}

static void put_length(uint8_t *bytes, size_t len)
{
    bytes[0] = (uint8_t)(len >> 8);
    bytes[1] = (uint8_t)len;
}

/* 1: the message is whole; 0: not yet; negative: there will be none. */
static int read_on(struct stream *s, int fd)
{
    size_t wanted = s->done < LENGTH ? LENGTH : LENGTH + length_of(s->bytes);
    ssize_t n = recv(fd, s->bytes + s->done, wanted - s->done, MSG_DONTWAIT);
    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -EPIPE;
    s->done += (size_t)n;
    if (s->done < LENGTH)
        return 0;
    if (length_of(s->bytes) < HEAD)
        return -EBADMSG;
    return s->done == LENGTH + length_of(s->bytes);
}

static int write_on(struct stream *s, int fd)
{
    size_t whole = LENGTH + length_of(s->bytes);
    ssize_t n = send(fd, s->bytes + s->done, whole - s->done, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -EPIPE;
    s->done += (size_t)n;
    return s->done == whole;
}

static void begin(struct stream *s, enum state state)
{
    s->state = state;
    s->done = 0;
}

static void refuse(struct stream *s, enum dns_failure why)
{
    put_length(s->bytes, dns_refuse(s->bytes + LENGTH, length_of(s->bytes), why));
    begin(s, ANSWERING);
}

static int take_question(struct stream *s)
{
    if (dns_question_read(s->bytes + LENGTH, length_of(s->bytes), &s->q) < 0) {
        refuse(s, DNS_FORMAT_ERROR);
        return 0;
    }
    memcpy(s->question, s->bytes, LENGTH + length_of(s->bytes));
    begin(s, ASKING);
    return s->upstream >= 0 ? 0 : relay_connect(&s->upstream);
}

static int take_answer(struct streams *all, struct stream *s)
{
    size_t n = 0;
    int r = dns_answer_read(s->bytes + LENGTH, length_of(s->bytes), &s->q, all->found, &n) < 0
                ? NAMES_FAILED
                : relay_learn(s->q.name, all->found, n);
    if (r < 0)
        return r;
    begin(s, ANSWERING);
    if (r == NAMES_DONE)
        return 0;
    memcpy(s->bytes, s->question, LENGTH + length_of(s->question));
    refuse(s, DNS_SERVER_FAILURE);
    return 0;
}

static int go_on(struct streams *all, struct stream *s)
{
    bool reads = s->state == ASKED || s->state == AWAITED;
    int r = reads ? read_on(s, waits_for(s)) : write_on(s, waits_for(s));
    if (r <= 0)
        return r;
    switch (s->state) {
    case ASKED:
        return take_question(s);
    case ASKING:
        begin(s, AWAITED);
        return 0;
    case AWAITED:
        return take_answer(all, s);
    default:
        begin(s, ASKED);
        return 0;
    }
}

void streams_go_on(struct streams *s, const struct pollfd *fds, size_t n, int64_t now_ms)
{
    size_t at = 0;
    for (size_t i = 0; i < RELAY_STREAMS && at < n; i++) {
        struct stream *t = s->list[i];
        if (!t || t->state == FREE)
            continue;
        bool ready = fds[at++].revents != 0;
        if (ready)
            t->since_ms = now_ms;
        if ((ready && go_on(s, t) < 0) || now_ms - t->since_ms > IDLE_MS)
            end(t);
    }
}
