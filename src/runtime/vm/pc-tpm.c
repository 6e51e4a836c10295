/*
 * A TPM 2.0: swtpm, one for each machine that asks, with a user of its own, in namespaces of its
 * own, in the machine's control group, on a root that shows /usr read-only and its state
 * (BUNDLE/tpm) and nothing else, with few system calls and small limits (pc-tpm-confine.c). QEMU is
 * at the other end of a socket; when that closes, swtpm ends.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "kernel/ns.h"
#include "runtime/vm/pc.h"
#include "runtime/vm/sandbox.h"

#define UID_STEP  0x04000000u /* beyond all machines' uids (setup.c) */
#define TPM_FD    3
#define REPORT_FD 4

static int place_descriptors(int ctrl, int report)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), keep[] = {TPM_FD, REPORT_FD};
    /* Above both numbers first, so that neither overwrites the other. */
    int c = fcntl(ctrl, F_DUPFD_CLOEXEC, 10), r = fcntl(report, F_DUPFD_CLOEXEC, 10);
    if (null < 0 || c < 0 || r < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 ||
        dup2(c, TPM_FD) < 0 || dup3(r, REPORT_FD, O_CLOEXEC) < 0)
        return -errno;
    fd_close_others(keep, 2);
    return 0;
}

static _noreturn_ void child(const char *state, uid_t uid, const struct cgroup *group, int ctrl,
                             int report)
{
    struct error err = ERROR_INIT;
    char *argv[] = {(char *)"swtpm",
                    (char *)"socket",
                    (char *)"--tpm2",
                    (char *)"--tpmstate",
                    (char *)"dir=" VM_SANDBOX_STATE,
                    (char *)"--ctrl",
                    (char *)"type=unixio,clientfd=3",
                    (char *)"--terminate",
                    NULL};
    char *env[] = {(char *)"PATH=/usr/bin", (char *)"LC_ALL=C", NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    int r = vm_group_join(group, &err); /* by descriptors that the next step closes */
    if (r == 0 && (r = place_descriptors(ctrl, report)) < 0)
        error_errno(&err, r, "place the TPM's descriptors");
    else if (r == 0)
        report = REPORT_FD;
    if (r == 0)
        r = vm_sandbox_enter_state(state, uid, &err);
    if (r == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        r = vm_confine_tpm(&err);
    }
    if (r == 0) {
        execve(VM_TPM_PROGRAM, argv, env);
        error_errno(&err, errno, "execute swtpm");
    }
    (void)!write(report, &err, sizeof(err));
    _exit(127);
}

/* What came with a snapshot, or from elsewhere, was another's. */
static int make_state(const char *path, uid_t uid, struct error *err)
{
    _cleanup_strv_ char **names = NULL;
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return error_errno(err, errno, "make %s", path);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int r = fd < 0 || fchown(fd, uid, uid) < 0 ? -errno : path_list_names(fd, &names);
    for (size_t i = 0; r == 0 && names[i]; i++)
        r = fchownat(fd, names[i], uid, uid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
    return r < 0 ? error_errno(err, r, "make %s", path) : 0;
}

static int wait_exec(int report, pid_t pid, struct error *err)
{
    struct error e;
    ssize_t n = fd_read_full(report, &e, sizeof(e));
    if (n == 0)
        return 0;
    waitpid(pid, NULL, 0);
    if (n != (ssize_t)sizeof(e))
        return error_set(err, ERROR_SYSTEM, EIO, "swtpm could not be started");
    *err = e;
    return -e.code;
}

int vm_pc_start_tpm(const char *bundle, uid_t machine_uid, const struct cgroup *group, int *ret_fd,
                    struct error *err)
{
    _cleanup_free_ char *state = path_join(bundle, "tpm");
    _cleanup_close_ int ours = -EBADF, theirs = -EBADF, reads = -EBADF, writes = -EBADF;
    uid_t uid = machine_uid + UID_STEP;
    int pair[2], ends[2];
    if (access(VM_TPM_PROGRAM, X_OK) < 0)
        return error_set(err, ERROR_UNSUPPORTED, ENOENT,
                         "a TPM needs swtpm; install the Debian package swtpm");
    int r = make_state(state, uid, err);
    if (r < 0)
        return r;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(err, errno, "start the TPM");
    ours = pair[0];
    theirs = pair[1];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_errno(err, errno, "start the TPM");
    reads = ends[0];
    writes = ends[1];
    pid_t pid = ns_clone(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID |
                             CLONE_NEWCGROUP,
                         group->dirs[CGROUP_UNIFIED], NULL);
    if (pid == 0)
        child(state, uid, group, theirs, writes);
    writes = close_fd(writes);
    r = pid < 0 ? error_errno(err, pid, "start the TPM") : wait_exec(reads, pid, err);
    if (r == 0)
        *ret_fd = TAKE_FD(ours);
    return r;
}
