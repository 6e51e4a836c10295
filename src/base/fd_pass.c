#include "base/fd_pass.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

union control {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
};

int fd_pass_many(int socket, const void *data, size_t len, const int *fds, size_t n)
{
    union control control;
    struct iovec iov = {(void *)data, len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n > FD_PASS_MAX)
        return -E2BIG;
    if (n > 0) {
        memset(&control, 0, sizeof(control));
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * n);
        struct cmsghdr *header = CMSG_FIRSTHDR(&m);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * n);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * n);
    }
    while (sendmsg(socket, &m, MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

int fd_pass(int socket, const void *data, size_t len, int fd)
{
    return fd_pass_many(socket, data, len, &fd, fd >= 0 ? 1 : 0);
}

ssize_t fd_take(int socket, void *data, size_t size, int fds[static FD_PASS_MAX])
{
    union control control;
    struct iovec iov = {data, size};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control.space)};
    ssize_t n;
    for (size_t i = 0; i < FD_PASS_MAX; i++)
        fds[i] = -EBADF;
    while ((n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC)) < 0)
        if (errno != EINTR)
            return -errno;
    struct cmsghdr *header = CMSG_FIRSTHDR(&m);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
        memcpy(fds, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
    if (!(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return n;
    for (size_t i = 0; i < FD_PASS_MAX; i++)
        fds[i] = close_fd(fds[i]);
    return -EMSGSIZE;
}

int fd_pass_to(const char *path, const void *data, size_t len, int fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    _cleanup_close_ int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s < 0 || connect(s, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    return fd_pass(s, data, len, fd);
}
