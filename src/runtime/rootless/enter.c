#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/user_dirs.h"
#include "kernel/ns.h"
#include "runtime/monitor/client.h"
#include "runtime/rootless/internal.h"
#include "runtime/rootless/rootless.h"

#define OWN "proa" /* the directory of the default state, which has the keeper's file */

/* --- whose namespaces --- */

/* The process that listens on an instance's socket. */
static int monitor_pidfd(const char *run_dir)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    _cleanup_close_ int fd = -EBADF;
    int r = monitor_connect(run_dir, &fd, NULL);
    if (r < 0)
        return r;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.pid <= 0)
        return -ESRCH;
    return ns_pidfd(peer.pid);
}

/* Any running instance of one state directory, or -ESRCH. */
static int find_in_state(const char *run)
{
    _cleanup_free_ char *path = path_join(run, "instances");
    DIR *dir = opendir(path);
    struct dirent *e;
    int fd = -ESRCH;
    while (dir && fd < 0 && (e = readdir(dir))) {
        _cleanup_free_ char *run_dir = path_join(path, e->d_name);
        if (path_is_name(e->d_name))
            fd = monitor_pidfd(run_dir);
    }
    if (dir)
        closedir(dir);
    return fd < 0 ? -ESRCH : fd;
}

/* The same of all that the user has, also below other roots (proa-HASH). */
static int find_monitor(const char *runtime_dir)
{
    DIR *dir = opendir(runtime_dir);
    struct dirent *e;
    int fd = -ESRCH;
    while (dir && fd < 0 && (e = readdir(dir))) {
        _cleanup_free_ char *run = path_join(runtime_dir, e->d_name);
        if (strncmp(e->d_name, OWN, strlen(OWN)) == 0)
            fd = find_in_state(run);
    }
    if (dir)
        closedir(dir);
    return fd;
}

/* Commands read under a shared lock; who finds nobody takes the lock alone and looks again. */
static int find_or_make(const char *runtime_dir, int lock, const char *file, int *ret_pidfd,
                        struct error *err)
{
    int fd = flock(lock, LOCK_SH) < 0 ? -errno : keeper_find(file);
    if (fd < 0 && flock(lock, LOCK_EX) < 0)
        return error_errno(err, errno, "lock %s/" OWN, runtime_dir);
    if (fd < 0)
        fd = keeper_find(file);
    if (fd < 0)
        fd = find_monitor(runtime_dir);
    if (fd < 0)
        return keeper_make(file, ret_pidfd, err);
    *ret_pidfd = fd;
    return 0;
}

/* --- into them --- */

/* A relative path on the command line means the same afterwards. */
static int join(int pidfd, struct error *err)
{
    char here[4096];
    if (!getcwd(here, sizeof(here)))
        return error_errno(err, errno, "find the current directory");
    int r = ns_enter(pidfd, CLONE_NEWUSER | CLONE_NEWNS);
    if (r < 0)
        return error_errno(err, r, "enter the user's namespaces");
    if (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0)
        return error_errno(err, errno, "become root of the user's namespaces");
    return chdir(here) < 0 ? error_errno(err, errno, "go back to %s", here) : 0;
}

int rootless_enter(struct error *err)
{
    _cleanup_free_ char *base = NULL;
    if (geteuid() == 0)
        return 0;
    int r = user_runtime_dir(&base, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *own = path_join(base, OWN), *file = path_join(own, "keeper");
    if ((r = path_make_dirs(own, 0700)) < 0)
        return error_errno(err, r, "create %s", own);
    _cleanup_close_ int lock = open(own, O_RDONLY | O_DIRECTORY | O_CLOEXEC), pidfd = -EBADF;
    if (lock < 0)
        return error_errno(err, errno, "open %s", own);
    r = find_or_make(base, lock, file, &pidfd, err);
    return r < 0 ? r : join(pidfd, err);
}

void rootless_release(void)
{
    _cleanup_free_ char *base = NULL;
    if (process_is_host_root() || user_runtime_dir(&base, NULL) < 0)
        return;
    _cleanup_free_ char *own = path_join(base, OWN), *file = path_join(own, "keeper");
    _cleanup_close_ int lock = open(own, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return;
    _cleanup_close_ int running = find_monitor(base), keeper = keeper_find(file);
    if (running >= 0 || keeper < 0)
        return;
    unlink(file);
    (void)!ns_pidfd_signal(keeper, SIGKILL);
}
