/*
 * Process 1 with --init: it starts the workload, passes signals on to it, reaps what it leaves
 * behind, and ends as it ends.
 *
 * It is the process that was set up as the workload: same user, same filter, no descriptor left,
 * not dumpable.
 */
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "runtime/container/internal.h"

/* Reaps everything that has ended; true when the workload was among it. */
static bool reap(pid_t workload, int *ret_status)
{
    bool ended = false;
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        if (pid == workload) {
            *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            ended = true;
        }
    return ended;
}

static _noreturn_ void serve(pid_t workload, const sigset_t *all)
{
    int status = 0;
    for (;;) {
        int signum = sigwaitinfo(all, NULL);
        if (signum == SIGCHLD && reap(workload, &status))
            _exit(status);
        if (signum > 0 && signum != SIGCHLD)
            kill(workload, signum);
    }
}

int container_reaper(struct error *err)
{
    sigset_t all, old;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    pid_t pid = fork();
    if (pid < 0)
        return error_errno(err, errno, "start the workload under init");
    if (pid == 0) {
        sigprocmask(SIG_SETMASK, &old, NULL);
        return 0;
    }
    /* A pipe that is still open here would never end for its reader. */
    syscall(SYS_close_range, 0, ~0U, 0);
    prctl(PR_SET_NAME, "init");
    if (getpid() != 1)
        prctl(PR_SET_CHILD_SUBREAPER, 1);
    serve(pid, &all);
}
