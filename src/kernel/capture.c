#include "kernel/capture.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "kernel/packet.h"

#define SNAPLEN 262144u /* tcpdump's */

struct file_header {
    uint32_t magic; /* with nanoseconds */
    uint16_t major, minor;
    uint32_t zone, accuracy, snaplen, link_type;
};
struct packet_header {
    uint32_t seconds, nanoseconds, captured, length;
};

static int stamp(int fd)
{
    int one = 1;
    return setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one));
}

static struct timespec time_of(struct msghdr *m)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS)
            memcpy(&t, CMSG_DATA(c), sizeof(t));
    return t;
}

/* The record stands in one buffer, so that a reader never sees half of one. 1: written. */
static int copy_packet(int from, int to, char *space)
{
    struct packet_header *h = (void *)space;
    char control[128];
    struct iovec data = {space + sizeof(*h), SNAPLEN};
    struct msghdr m = {.msg_iov = &data,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(from, &m, MSG_TRUNC | MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    struct timespec t = time_of(&m);
    *h = (struct packet_header){
        .seconds = (uint32_t)t.tv_sec,
        .nanoseconds = (uint32_t)t.tv_nsec,
        .captured = (uint32_t)MIN((size_t)n, (size_t)SNAPLEN),
        .length = (uint32_t)n,
    };
    int r = fd_write_all(to, space, sizeof(*h) + h->captured);
    return r < 0 ? r : 1;
}

int capture_run(const char *link, int fd, uint64_t count, int stop_fd, struct error *err)
{
    static const struct file_header header = {0xa1b23c4d, 2, 4, 0, 0, SNAPLEN, 1 /* Ethernet */};
    _cleanup_free_ char *space = xcalloc(1, sizeof(struct packet_header) + SNAPLEN);
    _cleanup_close_ int from = -EBADF;
    int r = packet_open(link, stamp, &from, err);
    if (r < 0)
        return r;
    r = fd_write_all(fd, &header, sizeof(header));
    uint64_t written = 0;
    while (r >= 0 && (count == 0 || written < count)) {
        struct pollfd p[] = {{.fd = from, .events = POLLIN}, {.fd = stop_fd, .events = POLLIN}};
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            r = -errno;
        if (p[1].revents)
            break;
        if (r >= 0 && p[0].revents)
            r = copy_packet(from, fd, space);
        written += r == 1;
    }
    if (r == -EPIPE)
        return 0;
    /* The link goes with its instance: that is the end of it. */
    if (r == -ENETDOWN || r == -ENODEV || r == -ENXIO)
        return 0;
    return r < 0 ? error_errno(err, r, "write what %s carries", link) : 0;
}
