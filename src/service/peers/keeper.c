/*
 * The keeper: what is on the network here becomes a roster, and what peers said goes to
 * service/network/heard.c.
 *
 * It learns of changes by watching the directory of dnsmasq's host files, where every attach,
 * detach and renaming leaves something. That may be a moment before the store says so: it looks
 * soon, once more a second later, and every ten seconds in any case. The store is opened for each
 * look and closed behind it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/fd_pass.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/network/tunnel.h"
#include "service/peers/keeper-internal.h"
#include "service/store/network.h"

#define SOON_MS     30
#define AGAIN_MS    1000
#define FAREWELL_MS 900

static int open_signals(int *ret)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    *ret = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return *ret < 0 ? -errno : 0;
}

int keeper_open_store(const struct keeper *k, struct store **ret)
{
    struct error err = ERROR_INIT;
    return store_open(k->root, ret, &err);
}

/* Not to fold the log, which is done by a process behind the one that has written: the next command
 * does, and this one has no children but the relay. */
void keeper_close_store(struct store *s)
{
    s->logged = 0;
    store_close(s);
}

/* What was heard before it was killed is as old as that may be: it gets the time of one that has
 * just been heard. */
static int begin(struct keeper *k)
{
    struct error err = ERROR_INIT;
    struct store *s;
    int r = keeper_open_store(k, &s);
    if (r < 0)
        return r;
    r = store_network_find(s, k->name, &k->network, &err);
    if (r == 0)
        r = network_heard_settle(s, k->network, &err);
    keeper_close_store(s);
    for (size_t i = 0; r == 0 && k->network->peers[i] && i < PEERS_MAX; i++, k->n++)
        k->peers[i].until_ms = time_monotonic_ms() + PEERS_FORGET_MS;
    return r;
}

int keeper_new(const char *root, const char *network, struct keeper **ret)
{
    struct keeper *k = xnew(struct keeper);
    *k = (struct keeper){.root = xstrdup(root),
                         .name = xstrdup(network),
                         .channel = -EBADF,
                         .signals = -EBADF,
                         .told = BUF_INIT(PEERS_BODY_MAX)};
    k->watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    int r = k->watch < 0 ? -errno : open_signals(&k->signals);
    if (r == 0)
        r = begin(k);
    if (r == 0)
        *ret = k;
    return r;
}

const struct network *keeper_network(const struct keeper *k)
{
    return k->network;
}

/* --- what is here --- */

static int order(const struct keeper *k, enum peers_order_kind kind, uint32_t peer, int fd)
{
    const struct peers_order o = {.kind = kind, .peer = peer};
    if (fd >= 0)
        return fd_pass(k->channel, &o, sizeof(o), fd);
    return send(k->channel, &o, sizeof(o), MSG_NOSIGNAL) == (ssize_t)sizeof(o) ? 0 : -EPIPE;
}

static int tell(const struct keeper *k)
{
    _cleanup_close_ int fd = memfd_create("roster", MFD_CLOEXEC);
    int r = fd < 0 ? -errno : fd_write_all(fd, k->told.data, k->told.len);
    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = -errno;
    return r < 0 ? r : order(k, PEERS_TELL, 0, fd);
}

/* The directory is made anew with dnsmasq: watching the same one twice is watching it once. */
static void watch_names(struct keeper *k)
{
    _cleanup_free_ char *dir = xasprintf("/run/proa-names/%.16s/hosts", k->network->id);
    (void)!inotify_add_watch(k->watch, dir, IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF | IN_ONLYDIR);
}

/* A network that is another, or none, has another proa-peers, or none. */
static bool is_still(struct store *s, const struct keeper *k)
{
    _cleanup_network_ struct network *now = NULL;
    return store_network_find(s, k->name, &now, NULL) == 0 && strcmp(now->id, k->network->id) == 0;
}

static int look(struct keeper *k)
{
    _cleanup_buf_ struct buf roster = BUF_INIT(PEERS_BODY_MAX);
    struct error err = ERROR_INIT;
    struct store *s;
    watch_names(k);
    int r = keeper_open_store(k, &s);
    if (r < 0)
        return r;
    r = is_still(s, k) ? network_tell(s, k->network, &roster, &err) : -ENOENT;
    if (r == 0)
        r = network_heard_names(s, k->network, &err);
    keeper_close_store(s);
    if (r < 0)
        return r;
    if (roster.len == k->told.len && memcmp(roster.data, k->told.data, roster.len) == 0)
        return 0;
    buf_done(&k->told);
    k->told = roster;
    roster = (struct buf)BUF_INIT(PEERS_BODY_MAX);
    return tell(k);
}

/* --- the relay --- */

static int connect_peer(const struct keeper *k, uint32_t peer)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(span_port(k->network))};
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    to.sin_addr = tunnel_peer_address(k->network, peer);
    bool begun = fd >= 0 && to.sin_addr.s_addr != 0 &&
                 (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 || errno == EINPROGRESS);
    return order(k, PEERS_CONNECTED, peer, begun ? fd : -EBADF);
}

static int serve_request(struct keeper *k)
{
    static struct peers_request q;
    ssize_t n = recv(k->channel, &q, sizeof(q), MSG_TRUNC);
    if (n < 0 && errno == EINTR)
        return 0;
    if (n <= 0)
        return -EPIPE;
    if (n == (ssize_t)sizeof(q) && q.kind == PEERS_CONNECT && q.peer < k->n)
        return connect_peer(k, q.peer);
    if (n == (ssize_t)sizeof(q) && q.kind == PEERS_BEGIN) {
        (void)!write(PEERS_READY, "r", 1);
        close(PEERS_READY);
        return look(k);
    }
    return keeper_answer(k, &q, (size_t)n, time_monotonic_ms());
}

/* --- all of it --- */

static void drain(int fd)
{
    char bytes[4096];
    while (read(fd, bytes, sizeof(bytes)) > 0)
        ;
}

static int wait_ms(const struct keeper *k, int64_t now_ms)
{
    int64_t next_ms = MIN(k->look_ms, keeper_next_end(k));
    return (int)MAX(MIN(next_ms - now_ms, (int64_t)PEERS_SAY_MS), (int64_t)0);
}

/* The relay goes when it has taken leave; whoever waits for this one does not wait for ever. */
static void take_leave(const struct keeper *k)
{
    struct pollfd gone = {.fd = k->channel, .events = POLLIN};
    int64_t end_ms = time_monotonic_ms() + FAREWELL_MS;
    char bytes[64];
    if (order(k, PEERS_END, 0, -EBADF) < 0)
        return;
    while (time_monotonic_ms() < end_ms && poll(&gone, 1, 50) >= 0)
        if (gone.revents && recv(k->channel, bytes, sizeof(bytes), MSG_DONTWAIT) == 0)
            return;
}

int keeper_serve(struct keeper *k, int channel)
{
    struct pollfd fds[] = {{channel, POLLIN, 0}, {k->watch, POLLIN, 0}, {k->signals, POLLIN, 0}};
    int r = 0;
    k->channel = channel;
    k->look_ms = time_monotonic_ms() + PEERS_SAY_MS;
    while (r == 0) {
        if (poll(fds, ARRAY_SIZE(fds), wait_ms(k, time_monotonic_ms())) < 0 && errno != EINTR)
            return -errno;
        int64_t now_ms = time_monotonic_ms();
        if (fds[2].revents) {
            take_leave(k);
            return 0;
        }
        if (fds[1].revents) {
            drain(k->watch);
            k->look_ms = MIN(k->look_ms, now_ms + SOON_MS);
            k->again = true;
        }
        if (fds[0].revents)
            r = serve_request(k);
        if (r == 0 && now_ms >= k->look_ms) {
            k->look_ms = now_ms + (k->again ? AGAIN_MS : PEERS_SAY_MS);
            k->again = false;
            r = look(k);
        }
        if (r == 0)
            r = keeper_forget(k, now_ms);
    }
    return r;
}
