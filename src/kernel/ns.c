#include "kernel/ns.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/fd.h"

int setns(int fd, int type); /* <sched.h> clashes with <linux/sched.h> */

pid_t ns_clone(uint64_t flags, int cgroup_fd, int *ret_pidfd)
{
    int pidfd = -EBADF;
    struct clone_args args = {
        .flags = flags | (ret_pidfd ? CLONE_PIDFD : 0),
        .pidfd = (uint64_t)(uintptr_t)&pidfd,
        /* With CLONE_PARENT the child's signal is that of the caller. */
        .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD,
    };
    if (cgroup_fd >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)cgroup_fd;
    }
    long pid = syscall(SYS_clone3, &args, sizeof(args));
    if (pid < 0)
        return -errno;
    if (pid > 0 && ret_pidfd)
        *ret_pidfd = pidfd;
    return (pid_t)pid;
}

int ns_pidfd(pid_t pid)
{
    long fd = syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : (int)fd;
}

int ns_pidfd_signal(int pidfd, int signum)
{
    return syscall(SYS_pidfd_send_signal, pidfd, signum, NULL, 0) < 0 ? -errno : 0;
}

int ns_pidfd_wait(int pidfd, int timeout_ms)
{
    struct pollfd p = {pidfd, POLLIN, 0};
    for (;;) {
        int n = poll(&p, 1, timeout_ms);
        if (n > 0)
            return 0;
        if (n == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

int ns_open(const char *path, int type)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    int is = ioctl(fd, NS_GET_NSTYPE);
    if (is == type)
        return fd;
    close_fd(fd);
    return -EINVAL;
}

int ns_enter(int fd, int type)
{
    return setns(fd, type) < 0 ? -errno : 0;
}

static int write_map(pid_t pid, const char *file, const struct ns_id_map *maps, size_t n)
{
    char path[64];
    _cleanup_buf_ struct buf text = BUF_INIT(4000); /* the kernel takes less than a page */
    for (size_t i = 0; i < n; i++) {
        int r = buf_addf(&text, "%u %u %u\n", maps[i].inside, maps[i].outside, maps[i].size);
        if (r < 0)
            return r;
    }
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    return n == 0 ? 0 : file_write_kernel(AT_FDCWD, path, text.data);
}

int ns_write_id_maps(pid_t pid, const struct ns_id_map *uids, size_t n_uids,
                     const struct ns_id_map *gids, size_t n_gids, struct error *err)
{
    int r = write_map(pid, "uid_map", uids, n_uids);
    if (r < 0)
        return error_errno(err, r, "map user ids");
    r = write_map(pid, "gid_map", gids, n_gids);
    return r < 0 ? error_errno(err, r, "map group ids") : 0;
}

int ns_user_with_maps(const struct ns_id_map *uids, size_t n_uids, const struct ns_id_map *gids,
                      size_t n_gids, int *ret_fd, struct error *err)
{
    char path[32];
    int pidfd = -EBADF, ended;
    pid_t pid = ns_clone(CLONE_NEWUSER, -EBADF, &pidfd);
    if (pid == 0)
        for (;;)
            pause();
    if (pid < 0)
        return error_errno(err, pid, "make a user namespace");
    snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
    int r = ns_write_id_maps(pid, uids, n_uids, gids, n_gids, err);
    int fd = r < 0 ? r : ns_open(path, CLONE_NEWUSER);
    if (r == 0 && fd < 0)
        r = error_errno(err, fd, "open %s", path);
    (void)!ns_pidfd_signal(pidfd, SIGKILL);
    while (waitpid(pid, &ended, 0) < 0 && errno == EINTR)
        ;
    close_fd(pidfd);
    if (r == 0)
        *ret_fd = fd;
    return r;
}
