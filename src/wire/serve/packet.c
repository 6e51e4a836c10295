#include "wire/serve/packet.h"

#include <string.h>
#include <sys/socket.h>

#define FDS_MAX 4 /* room for what should not be there, so that it is closed */

int packet_send(int socket, const char *text, int fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {(void *)text, strlen(text)};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        memset(&control, 0, sizeof(control));
        m.msg_control = &control;
        m.msg_controllen = sizeof(control.space);
        struct cmsghdr *header = CMSG_FIRSTHDR(&m);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(int));
    }
    while (sendmsg(socket, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

/* The descriptor of the message; several are closed and give -EBADMSG. */
static int take_fd(struct msghdr *m, int *ret_fd)
{
    int first = -EBADF, count = 0;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
            if (count++ == 0)
                first = fd;
            else
                close_fd(fd);
        }
    }
    if (count > 1 || (m->msg_flags & MSG_CTRUNC)) {
        close_fd(first);
        return -EBADMSG;
    }
    *ret_fd = first;
    return 0;
}

ssize_t packet_receive(int socket, char *text, size_t size, int *ret_fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control;
    struct iovec iov = {text, size};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control.space)};
    ssize_t n;
    int fd = -EBADF;
    while ((n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC)) < 0)
        if (errno != EINTR)
            return -errno;
    int r = take_fd(&m, &fd);
    if (r < 0)
        return r;
    if (m.msg_flags & MSG_TRUNC) {
        close_fd(fd);
        return -EMSGSIZE;
    }
    *ret_fd = fd;
    return n;
}
