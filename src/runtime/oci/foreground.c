/* run and exec without --detach: this process stands where the container's would be. */
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/process.h"
#include "base/terminal.h"
#include "kernel/ns.h"
#include "runtime/oci/container.h"
#include "runtime/relay.h"

/* Signals that are about this process itself are not passed on. */
static int block_signals(sigset_t *old)
{
    static const int own[] = {SIGCHLD, SIGPIPE, SIGWINCH, SIGURG,  SIGSEGV,
                              SIGBUS,  SIGILL,  SIGFPE,   SIGTRAP, SIGABRT};
    sigset_t all;
    sigfillset(&all);
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        sigdelset(&all, own[i]);
    sigprocmask(SIG_BLOCK, &all, old);
    return signalfd(-1, &all, SFD_CLOEXEC);
}

static int pass_signals(int signals, int pidfd)
{
    for (;;) {
        struct pollfd fds[] = {{signals, POLLIN, 0}, {pidfd, POLLIN, 0}};
        struct signalfd_siginfo info;
        if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
            return -errno;
        if (fds[1].revents)
            return 0;
        if (fds[0].revents && read(signals, &info, sizeof(info)) == sizeof(info))
            (void)!ns_pidfd_signal(pidfd, (int)info.ssi_signo);
    }
}

static int with_terminal(int console, int pidfd, struct error *err)
{
    struct relay relay = {
        .stdio = {0, 1, 2},
        .in = -EBADF,
        .out = -EBADF,
        .err = -EBADF,
        .console = console,
        .end = pidfd,
    };
    return relay_run(&relay, true, err);
}

int oci_foreground(pid_t pid, int console, int *ret_status, struct error *err)
{
    sigset_t old;
    _cleanup_close_ int pidfd = ns_pidfd(pid);
    if (pidfd < 0)
        return error_errno(err, pidfd, "watch the process");
    int r;
    if (console >= 0) {
        r = with_terminal(console, pidfd, err);
    } else {
        _cleanup_close_ int signals = block_signals(&old);
        r = signals < 0 ? signals : pass_signals(signals, pidfd);
        sigprocmask(SIG_SETMASK, &old, NULL);
        if (r < 0)
            r = error_errno(err, r, "pass signals on");
    }
    int waited = process_wait(pid, ret_status);
    if (r == 0 && waited < 0)
        r = error_errno(err, waited, "wait for the process");
    return r;
}
