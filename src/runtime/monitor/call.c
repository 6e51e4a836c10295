#include "runtime/monitor/call.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/fd.h"

/* Copies first, above where they go: one may be in the place of the other. */
static bool place_fds(const int fds[2])
{
    int copies[2];
    for (int i = 0; i < 2; i++) {
        copies[i] = fds[i] >= 0 ? fcntl(fds[i], F_DUPFD_CLOEXEC, 5) : -EBADF;
        if (fds[i] >= 0 && copies[i] < 0)
            return false;
    }
    for (int i = 0; i < 2; i++)
        if (copies[i] >= 0 && dup2(copies[i], 3 + i) < 0)
            return false;
    return true;
}

static _noreturn_ void child(const struct call_spec *s, pid_t parent)
{
    const char *argv[] = {s->program, "--root", s->root, "internal", s->verb, s->id, s->more, NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent && place_fds(s->fds))
        execve(s->program, (char *const *)argv, environ);
    _exit(127);
}

bool call_start(struct call *c, const struct call_spec *spec)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        child(spec, parent);
    int fd = pid > 0 ? pidfd_open(pid, 0) : -1;
    if (pid > 0 && fd < 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    if (fd < 0)
        return false;
    *c = (struct call){pid, fd};
    return true;
}

bool call_reap(struct call *c, int *ret_status)
{
    int status = 0;
    if (waitpid(c->pid, &status, WNOHANG) == 0)
        return false;
    *ret_status = status;
    c->pid = 0;
    c->pid_fd = close_fd(c->pid_fd);
    return true;
}

void call_end(struct call *c)
{
    if (c->pid == 0)
        return;
    kill(c->pid, SIGKILL);
    while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    c->pid = 0;
    c->pid_fd = close_fd(c->pid_fd);
}
