/*
 * The side that connects: what the engine writes goes to the other side, and the lines that come
 * back to the engine. "ready" is the first line, once the other side has shown who it is. An answer
 * is printable text of a bounded length, or the connection ends.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "wire/parcel/parcel.h"
#include "wire/parcel/program.h"

#define CONNECT_S 20

struct dial {
    struct tls *tls;
    int fd;
    char line[PARCEL_ANSWER_MAX];
    size_t len;
};

static void keep_alive(int fd)
{
    const int on = 1, idle_s = 20, every_s = 10, times = 4;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof(every_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof(times));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static int connect_one(const struct addrinfo *a)
{
    const struct timeval patience = {.tv_sec = CONNECT_S};
    _cleanup_close_ int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(fd, a->ai_addr, a->ai_addrlen) < 0)
        return errno == EINPROGRESS ? -ETIMEDOUT : -errno;
    keep_alive(fd);
    return TAKE_FD(fd);
}

static int connect_to(const char *host, const char *port, int *ret, struct error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int why = getaddrinfo(host, port, &hints, &found), fd = -ENOENT;
    if (why != 0)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "%s: %s", host, gai_strerror(why));
    for (const struct addrinfo *a = found; a && fd < 0; a = a->ai_next)
        fd = connect_one(a);
    freeaddrinfo(found);
    if (fd < 0)
        return error_errno(err, fd, "connect to %s port %s", host, port);
    *ret = fd;
    return 0;
}

/* 1 to go on, 0 at the engine's end. */
static int send_some(struct dial *d, struct error *err)
{
    static char data[1 << 16];
    ssize_t n = read(PARCEL_FD_STREAM, data, sizeof(data));
    if (n < 0 && errno == EINTR)
        return 1;
    if (n <= 0)
        return n < 0 ? error_errno(err, errno, "read what is to be sent") : 0;
    int r = tls_write(d->tls, data, (size_t)n);
    return r < 0 ? error_errno(err, r, "send") : 1;
}

static int add_answer(struct dial *d, char c, struct error *err)
{
    if ((c != '\n' && (c < ' ' || c > '~')) || d->len + 1 >= sizeof(d->line))
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "the other side answers with no line of text");
    d->line[d->len++] = c;
    if (c != '\n')
        return 0;
    int r = fd_write_all(PARCEL_FD_ENGINE, d->line, d->len);
    d->len = 0;
    return r < 0 ? error_errno(err, r, "tell the engine") : 0;
}

/* 1 to go on, 0 at the other side's end. */
static int take_answer(struct dial *d, struct error *err)
{
    char data[PARCEL_ANSWER_MAX];
    ssize_t n = tls_read(d->tls, data, sizeof(data));
    if (n == -EAGAIN)
        return 1;
    if (n <= 0)
        return n < 0 ? error_errno(err, (int)n, "hear the other side") : 0;
    int r = 0;
    for (ssize_t i = 0; r == 0 && i < n; i++)
        r = add_answer(d, data[i], err);
    return r < 0 ? r : 1;
}

/* What the other side said before it went is heard even when nothing can be sent any more. */
static int pass_on(struct dial *d, struct error *err)
{
    int sending = 1, r = 1;
    while (r > 0) {
        struct pollfd set[] = {{sending > 0 ? PARCEL_FD_STREAM : -1, POLLIN, 0},
                               {d->fd, POLLIN, 0}};
        struct error first = ERROR_INIT;
        if (!tls_pending(d->tls) && poll(set, 2, -1) < 0)
            continue;
        if (tls_pending(d->tls) || set[1].revents)
            r = take_answer(d, err);
        else if (set[0].revents && (sending = send_some(d, &first)) == 0)
            return 0;
    }
    return r;
}

int dial_run(uid_t uid, const char *host, const char *port, struct error *err)
{
    struct dial d = {.fd = -EBADF};
    int r = tls_new(host, &d.tls, err);
    if (r == 0)
        r = parcel_drop(uid, err);
    if (r == 0)
        r = connect_to(host, port, &d.fd, err);
    if (r == 0)
        r = parcel_confine(uid, -EBADF, err);
    if (r == 0)
        r = tls_start(d.tls, d.fd, err);
    if (r == 0 && (r = fd_write_all(PARCEL_FD_ENGINE, "ready\n", 6)) < 0)
        error_errno(err, r, "tell the engine");
    if (r == 0)
        r = pass_on(&d, err);
    tls_free(d.tls);
    close_fd(d.fd);
    return r;
}

int try_run(uid_t uid, struct error *err)
{
    struct tls *t = NULL;
    int r = parcel_drop(uid, err);
    if (r == 0)
        r = tls_new(NULL, &t, err);
    tls_free(t);
    return r;
}
