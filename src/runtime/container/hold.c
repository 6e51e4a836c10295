/*
 * Between create and start: the first process is set up and waits on RUN_DIR/init.sock. The
 * connection that comes says go, and carries the error when the workload cannot be executed; its
 * end means that it has been.
 *
 * The socket is named through a descriptor of its directory, because an address has room for 108
 * bytes and the directories of other engines' runtimes are longer.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/fd.h"
#include "runtime/container/internal.h"

#define HOLD_SOCKET "init.sock"

/* *ret_dir is owned, and must stay open while the address is used. */
static int hold_address(const char *run_dir, struct sockaddr_un *ret, int *ret_dir,
                        struct error *err)
{
    int dir = open(run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return error_errno(err, errno, "open %s", run_dir);
    struct fd_path path = fd_path(dir);
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/" HOLD_SOCKET, path.text);
    *ret_dir = dir;
    return 0;
}

int container_hold(const char *run_dir, int *ret_socket, struct error *err)
{
    struct sockaddr_un address;
    _cleanup_close_ int dir = -EBADF, fd = -EBADF;
    int r = hold_address(run_dir, &address, &dir, err);
    if (r < 0)
        return r;
    if (unlinkat(dir, HOLD_SOCKET, 0) < 0 && errno != ENOENT)
        return error_errno(err, errno, "remove %s/" HOLD_SOCKET, run_dir);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    mode_t old = umask(0177);
    r = fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0
            ? -errno
            : 0;
    umask(old);
    if (r < 0)
        return error_errno(err, r, "make %s/" HOLD_SOCKET, run_dir);
    *ret_socket = TAKE_FD(fd);
    return 0;
}

int container_hold_wait(int socket, int *ret_connection)
{
    int fd;
    while ((fd = accept4(socket, NULL, NULL, SOCK_CLOEXEC)) < 0)
        if (errno != EINTR)
            return -errno;
    *ret_connection = fd;
    return 0;
}

bool container_is_held(const char *run_dir)
{
    struct stat st;
    _cleanup_close_ int dir = open(run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return dir >= 0 && fstatat(dir, HOLD_SOCKET, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int hear_released(int fd, container_listener *listener, void *context, struct error *err)
{
    for (;;) {
        struct channel_message m;
        _cleanup_close_ int passed = -EBADF;
        int r = channel_receive(fd, &m, &passed);
        if (r < 0)
            return error_errno(err, r, "hear from the first process");
        if (m.type == CHANNEL_LISTENER && listener) {
            if ((r = listener(context, m.value, passed, err)) < 0)
                return r;
            continue;
        }
        if (m.type != CHANNEL_ERROR)
            return 0;
        if (err)
            *err = m.err;
        return m.err.code ? -m.err.code : -EIO;
    }
}

int container_release(const char *run_dir, container_listener *listener, void *context,
                      struct error *err)
{
    struct sockaddr_un address;
    _cleanup_close_ int dir = -EBADF, fd = -EBADF;
    int r = hold_address(run_dir, &address, &dir, err);
    if (r < 0)
        return r;
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return error_errno(err, errno, "connect to %s/" HOLD_SOCKET, run_dir);
    unlinkat(dir, HOLD_SOCKET, 0);
    return hear_released(fd, listener, context, err);
}
