#include "runtime/monitor/health.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

static void plan(struct health *h, int64_t now_ms)
{
    bool starts = (uint64_t)(now_ms - h->started_ms) < h->times->start_period_ms;
    uint64_t wait = starts ? h->times->start_interval_ms : h->times->interval_ms;
    h->next_ms = now_ms + (int64_t)wait;
}

void health_begin(struct health *h, const struct health_times *times, int64_t now_ms)
{
    *h = (struct health){.times = times, .started_ms = now_ms, .pid_fd = -EBADF};
    if (times->interval_ms)
        plan(h, now_ms);
}

/* It may be in the middle of a write into the bundle: it is waited for. */
void health_end(struct health *h)
{
    h->next_ms = 0;
    if (h->pid == 0)
        return;
    kill(h->pid, SIGKILL);
    while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    h->pid = 0;
    h->pid_fd = close_fd(h->pid_fd);
}

static _noreturn_ void child(const char *program, const char *root, const char *id, pid_t parent)
{
    char *const env[] = {
        (char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    const char *argv[] = {program, "--root", root, "internal", "health", id, NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent)
        execve(program, (char *const *)argv, env);
    _exit(127);
}

void health_start(struct health *h, const char *program, const char *root, const char *id,
                  int64_t now_ms)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        child(program, root, id, parent);
    int fd = pid > 0 ? pidfd_open(pid, 0) : -1;
    if (pid > 0 && fd < 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    if (fd < 0) { /* no memory now: later, perhaps */
        plan(h, now_ms);
        return;
    }
    h->pid = pid;
    h->pid_fd = fd;
    h->next_ms = 0;
}

void health_reap(struct health *h, int64_t now_ms)
{
    if (waitpid(h->pid, NULL, WNOHANG) == 0)
        return;
    h->pid = 0;
    h->pid_fd = close_fd(h->pid_fd);
    plan(h, now_ms);
}
