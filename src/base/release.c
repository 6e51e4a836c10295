#include "base/release.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"

static void close_all(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        close_fd(fds[i]);
}

/* Not a child of the caller, who need not wait for it, and never in its place on a processor.
 * Nobody's locks, pipes or terminal stay open in it. It closes last: the end of `start` says that
 * the caller has closed. */
static _noreturn_ void releaser(const int *fds, size_t n, int start)
{
    char byte;
    struct sched_param none = {0};
    if (fork() != 0)
        _exit(0);
    int *keep = xcalloc(n + 1, sizeof(*keep));
    memcpy(keep, fds, n * sizeof(*keep));
    keep[n] = start;
    fd_close_others(keep, n + 1);
    for (int i = 0; i < 3; i++)
        close(i);
    (void)!sched_setscheduler(0, SCHED_BATCH, &none);
    (void)!read(start, &byte, 1);
    _exit(0);
}

void fd_release_behind(const int *fds, size_t n)
{
    int start[2];
    if (n == 0 || pipe2(start, O_CLOEXEC) < 0) {
        close_all(fds, n);
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(start[1]);
        releaser(fds, n, start[0]);
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
    close_all(fds, n);
    close(start[0]);
    close(start[1]);
}
