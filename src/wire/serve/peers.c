/*
 * A client that sends one byte a minute is never silent, so a limit on silence does not end it. A
 * thread looks at every connection each second: a request's head has a fixed time, and what comes
 * after it a least speed, over windows of the timeout, that the kernel's own counters tell
 * (TCP_INFO). Unix sockets have no such counters and no strangers.
 */
#include "wire/serve/peers.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/text.h"

#define SLOWEST_BYTES_PER_S 256

struct peer {
    int fd; /* -EBADF when free */
    enum peer_phase phase;
    int64_t since_ms;
    uint64_t bytes; /* sent and received when the window began */
};

static struct {
    pthread_mutex_t lock;
    struct peer *list;
    unsigned int n;
    int64_t timeout_ms;
} peers = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* What both sides have acknowledged; false when the socket does not tell. */
static bool count_bytes(int fd, uint64_t *ret)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
        len < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof(info.tcpi_bytes_received))
        return false;
    *ret = info.tcpi_bytes_acked + info.tcpi_bytes_received;
    return true;
}

static bool too_slow(struct peer *p, int64_t now)
{
    uint64_t bytes;
    if (p->phase == PEER_OURS)
        return false;
    if (p->phase == PEER_HEAD)
        return now - p->since_ms > 2 * peers.timeout_ms;
    if (now - p->since_ms < peers.timeout_ms || !count_bytes(p->fd, &bytes))
        return false;
    bool slow = bytes - p->bytes < (uint64_t)peers.timeout_ms / 1000 * SLOWEST_BYTES_PER_S;
    p->since_ms = now;
    p->bytes = bytes;
    return slow;
}

static void *watch(void *context)
{
    (void)context;
    for (;;) {
        struct timespec second = {1, 0};
        nanosleep(&second, NULL);
        int64_t now = time_monotonic_ms();
        pthread_mutex_lock(&peers.lock);
        for (unsigned int i = 0; i < peers.n; i++)
            if (peers.list[i].fd >= 0 && too_slow(&peers.list[i], now))
                shutdown(peers.list[i].fd, SHUT_RDWR); /* its thread sees the end */
        pthread_mutex_unlock(&peers.lock);
    }
    return NULL;
}

int peers_begin(unsigned int connections, unsigned int timeout_s)
{
    pthread_t thread;
    peers.n = connections;
    peers.list = xcalloc(connections, sizeof(*peers.list));
    peers.timeout_ms = (int64_t)timeout_s * 1000;
    for (unsigned int i = 0; i < connections; i++)
        peers.list[i].fd = -EBADF;
    return -pthread_create(&thread, NULL, watch, NULL);
}

struct peer *peer_add(int fd)
{
    struct peer *found = NULL;
    pthread_mutex_lock(&peers.lock);
    for (unsigned int i = 0; !found && i < peers.n; i++)
        if (peers.list[i].fd < 0)
            found = &peers.list[i];
    if (found)
        *found = (struct peer){.fd = fd, .since_ms = time_monotonic_ms()};
    pthread_mutex_unlock(&peers.lock);
    return found;
}

void peer_remove(struct peer *p)
{
    pthread_mutex_lock(&peers.lock);
    if (p)
        p->fd = -EBADF;
    pthread_mutex_unlock(&peers.lock);
}

void peer_set(struct peer *p, enum peer_phase phase)
{
    uint64_t bytes = 0;
    if (!p)
        return;
    pthread_mutex_lock(&peers.lock);
    if (p->phase != phase) {
        p->phase = phase;
        p->since_ms = time_monotonic_ms();
        if (phase == PEER_BODY && count_bytes(p->fd, &bytes))
            p->bytes = bytes;
    }
    pthread_mutex_unlock(&peers.lock);
}
