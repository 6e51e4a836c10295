/*
 * cp: a child enters the container's mount namespace, where no name can lead out, and sends or
 * receives there. It executes nothing and loads nothing; it is in the host's pid namespace, so the
 * container does not see it.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/process.h"
#include "kernel/ns.h"
#include "kernel/tree.h"
#include "runtime/container/internal.h"
#include "runtime/container/ops.h"

enum way { IN, OUT, OUT_FOLLOWED };

static int enter(int pidfd, pid_t pid, int *ret_root, struct error *err)
{
    struct stat own, theirs;
    _cleanup_free_ char *path = xasprintf("/proc/%d/ns/user", (int)pid);
    bool other = stat("/proc/self/ns/user", &own) == 0 && stat(path, &theirs) == 0 &&
                 own.st_ino != theirs.st_ino;
    int r = ns_enter(pidfd, CLONE_NEWNS | (other ? CLONE_NEWUSER : 0));
    if (r < 0)
        return error_errno(err, r, "join the container's mounts");
    *ret_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return *ret_root < 0 ? error_errno(err, errno, "open the container's root") : 0;
}

static _noreturn_ void child(int pidfd, pid_t pid, const char *path, int fd, enum way way,
                             int channel)
{
    struct error err = ERROR_INIT;
    int root = -EBADF;
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    signal(SIGPIPE, SIG_IGN);
    int r = enter(pidfd, pid, &root, &err);
    if (r == 0)
        r = way == IN ? tree_receive(root, path, fd, &err)
                      : tree_send(root, path, way == OUT_FOLLOWED, fd, &err);
    if (r < 0)
        channel_send_error(channel, &err);
    _exit(r < 0);
}

static int copy(const struct runtime_target *t, const char *path, int fd, enum way way,
                struct error *err)
{
    struct channel_message m;
    int channel[2], status = 0;
    _cleanup_close_ int pidfd = container_target_pidfd(t, err);
    if (pidfd < 0)
        return pidfd;
    int r = channel_pair(channel);
    if (r < 0)
        return error_errno(err, r, "make a channel");
    pid_t pid = fork();
    if (pid == 0) {
        close_fd(channel[0]);
        child(pidfd, t->pid, path, fd, way, channel[1]);
    }
    r = pid < 0 ? error_errno(err, errno, "start the copy") : 0;
    close_fd(channel[1]);
    if (r == 0 && (r = channel_receive(channel[0], &m, NULL)) < 0)
        r = error_errno(err, r, "hear from the copy");
    close_fd(channel[0]);
    if (pid > 0)
        (void)!process_wait(pid, &status);
    if (r == 0 && m.type == CHANNEL_ERROR) {
        if (err)
            *err = m.err;
        return m.err.code ? -m.err.code : -EIO;
    }
    if (r == 0 && status != 0)
        return error_set(err, ERROR_SYSTEM, EIO, "the copy was killed");
    return r;
}

int container_ops_copy_out(const struct runtime_target *t, const char *path, bool follow,
                           int out_fd, struct error *err)
{
    return copy(t, path, out_fd, follow ? OUT_FOLLOWED : OUT, err);
}

int container_ops_copy_in(const struct runtime_target *t, const char *path, int in_fd,
                          struct error *err)
{
    return copy(t, path, in_fd, IN, err);
}

int container_ops_send_tree(const struct runtime_target *t, enum tree_form form, int out_fd,
                            struct error *err)
{
    _cleanup_free_ char *path = path_join(t->bundle, "upper");
    if (form != TREE_LAYER && form != TREE_CHANGES)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "a container's root is its image's too");
    _cleanup_close_ int upper = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (upper < 0)
        return error_errno(err, errno, "open %s", path);
    return tree_send_all(upper, form, out_fd, err);
}
