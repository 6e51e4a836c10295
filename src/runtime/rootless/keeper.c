/*
 * The process that keeps a user's namespaces: born into them, waiting until its ids are mapped, and
 * then executed as proa-keeper, which is a few pages big. The file is written before it may go on:
 * whoever is killed on the way leaves a number of nobody, and no process.
 */
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/program.h"
#include "kernel/idmap.h"
#include "runtime/rootless/internal.h"

#define FILE_MAX 64

int keeper_find(const char *file)
{
    _cleanup_free_ char *text = NULL;
    int pid;
    unsigned long long wanted;
    uint64_t ticks;
    int r = file_read(AT_FDCWD, file, FILE_MAX, &text);
    if (r < 0)
        return r;
    if (sscanf(text, "%d %llu", &pid, &wanted) != 2 || pid <= 1)
        return -ESRCH;
    _cleanup_close_ int pidfd = ns_pidfd(pid);
    if (pidfd < 0)
        return pidfd;
    /* After the pidfd: from here on the number is this process's or nobody's. */
    if (process_start_ticks(pid, &ticks) < 0 || ticks != wanted)
        return -ESRCH;
    return TAKE_FD(pidfd);
}

static int write_file(const char *file, pid_t pid, struct error *err)
{
    char text[FILE_MAX];
    uint64_t ticks = 0;
    int r = process_start_ticks(pid, &ticks);
    int len = snprintf(text, sizeof(text), "%d %llu\n", (int)pid, (unsigned long long)ticks);
    if (r == 0)
        r = file_write_atomic(AT_FDCWD, file, text, (size_t)len, 0600);
    return r < 0 ? error_errno(err, r, "write %s", file) : 0;
}

/* Everything that /etc gives this user. */
static int map_ids(pid_t pid, struct error *err)
{
    struct ns_id_map uids[IDMAP_MAX], gids[IDMAP_MAX];
    size_t n_uids = 1, n_gids = 1;
    const struct passwd *user = getpwuid(getuid());
    const char *name = user ? user->pw_name : NULL;
    int r = idmap_read("/etc/subuid", name, getuid(), getuid(), uids, &n_uids, err);
    if (r == 0)
        r = idmap_read("/etc/subgid", name, getuid(), getgid(), gids, &n_gids, err);
    if (r < 0)
        return r;
    if (n_uids == 1 || n_gids == 1) /* the one without the other is of no use */
        n_uids = n_gids = 1;
    r = idmap_write(pid, uids, n_uids, gids, n_gids, err);
    if (r == -ENOENT && n_uids > 1)
        return error_set(err, ERROR_NOT_FOUND, ENOENT,
                         "newuidmap and newgidmap are missing: install Debian's package uidmap");
    return r;
}

/* In the new namespaces. What is mounted on the host later on shows here, and nothing goes back. */
static _noreturn_ void become_keeper(int go, int failed, const char *program)
{
    char *const argv[] = {(char *)"proa-keeper", NULL}, *const env[] = {NULL};
    char byte;
    int code = 0;
    if (fd_read_full(go, &byte, 1) != 1)
        _exit(0); /* whoever made it is gone */
    process_default_signals();
    if (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0 ||
        mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0 || chdir("/") < 0)
        code = errno;
    setsid();
    int null = code ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; code == 0 && fd < 3; fd++)
        if (dup2(null, fd) < 0)
            code = errno;
    if (code == 0)
        fd_close_others(&failed, 1);
    if (code == 0 && execve(program, argv, env) < 0)
        code = errno;
    (void)!fd_write_all(failed, &code, sizeof(code));
    _exit(1);
}

static int let_go(int go, int failed, struct error *err)
{
    int code = 0;
    int r = fd_write_all(go, "g", 1);
    if (r == 0 && fd_read_full(failed, &code, sizeof(code)) == (ssize_t)sizeof(code))
        r = -code;
    return r < 0 ? error_errno(err, r, "make the user's namespaces") : 0;
}

static int denied(int r, struct error *err)
{
    if (r == -EPERM || r == -EACCES || r == -ENOSPC)
        return error_set(err, ERROR_DENIED, -r,
                         "this host lets ordinary users make no user namespaces (sysctl "
                         "kernel.unprivileged_userns_clone, user.max_user_namespaces): run proa as "
                         "root");
    return error_errno(err, r, "make the user's namespaces");
}

int keeper_make(const char *file, int *ret_pidfd, struct error *err)
{
    _cleanup_free_ char *program = NULL;
    int go[2], failed[2];
    int r = program_find("proa-keeper", &program, err);
    if (r < 0)
        return r;
    if (pipe2(go, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    _cleanup_close_ int go_read = go[0], go_write = go[1];
    if (pipe2(failed, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    _cleanup_close_ int failed_read = failed[0], failed_write = failed[1], pidfd = -EBADF;
    pid_t pid = ns_clone(CLONE_NEWUSER | CLONE_NEWNS, -EBADF, &pidfd);
    if (pid == 0) {
        close_fd(go_write); /* or it would wait for itself */
        become_keeper(go_read, failed_write, program);
    }
    if (pid < 0)
        return denied(pid, err);
    failed_write = close_fd(failed_write);
    if ((r = map_ids(pid, err)) < 0 || (r = write_file(file, pid, err)) < 0 ||
        (r = let_go(go_write, failed_read, err)) < 0) {
        unlink(file);
        (void)!ns_pidfd_signal(pidfd, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        return r;
    }
    *ret_pidfd = TAKE_FD(pidfd);
    return 0;
}
