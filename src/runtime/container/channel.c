#include "runtime/container/channel.h"

#include <string.h>
#include <sys/socket.h>

#include "base/fd_pass.h"

int channel_pair(int ret_ends[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_ends) < 0 ? -errno : 0;
}

union control {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
};

int channel_send(int channel, const struct channel_message *m, int fd)
{
    return fd_pass(channel, m, sizeof(*m), fd);
}

int channel_receive(int channel, struct channel_message *ret, int *ret_fd)
{
    union control control;
    struct channel_message m;
    struct iovec iov = {&m, sizeof(m)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control.space)};
    _cleanup_close_ int fd = -EBADF;
    ssize_t n;
    while ((n = recvmsg(channel, &msg, MSG_CMSG_CLOEXEC)) < 0)
        if (errno == ECONNRESET)
            break; /* gone with unread messages: the same as gone */
        else if (errno != EINTR)
            return -errno;
    memset(ret, 0, sizeof(*ret));
    if (ret_fd)
        *ret_fd = -EBADF;
    if (n <= 0)
        return 0;
    struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(header), sizeof(int));
    if (n != sizeof(m))
        return -EBADMSG;
    *ret = m;
    ret->err.msg[sizeof(ret->err.msg) - 1] = '\0';
    if (ret_fd)
        *ret_fd = TAKE_FD(fd);
    return 0;
}

void channel_send_error(int channel, const struct error *err)
{
    struct channel_message m = {.type = CHANNEL_ERROR, .err = *err};
    (void)!channel_send(channel, &m, -EBADF);
}

bool channel_wait_go(int channel)
{
    struct channel_message m = {.type = CHANNEL_READY};
    return channel_send(channel, &m, -EBADF) == 0 && channel_receive(channel, &m, NULL) == 0 &&
           m.type == CHANNEL_GO;
}
