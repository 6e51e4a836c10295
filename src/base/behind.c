#include "base/behind.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"

static _noreturn_ void be_behind(void (*work)(void *context), void *context, const int *keep,
                                 size_t n)
{
    struct sched_param none = {0};
    pid_t pid = fork();
    if (pid != 0)
        _exit(pid < 0);
    int *kept = xcalloc(n + 1, sizeof(*kept));
    if (n)
        memcpy(kept, keep, n * sizeof(*kept));
    fd_close_others(kept, n);
    for (int i = 0; i < 3; i++)
        close(i);
    (void)!sched_setscheduler(0, SCHED_BATCH, &none);
    work(context);
    _exit(0);
}

bool behind(void (*work)(void *context), void *context, const int *keep, size_t n)
{
    int status = 1;
    pid_t pid = fork();
    if (pid == 0)
        be_behind(work, context, keep, n);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* The end of the pipe says that the caller has closed, so what is held here is closed last. */
static void wait_for_end(void *context)
{
    const int *start = context;
    char byte;
    (void)!read(start[0], &byte, 1);
}

void behind_close(const int *fds, size_t n)
{
    int start[2] = {-EBADF, -EBADF};
    if (n > 0 && pipe2(start, O_CLOEXEC) == 0) {
        int *keep = xcalloc(n + 1, sizeof(*keep));
        memcpy(keep, fds, n * sizeof(*keep));
        keep[n] = start[0];
        (void)!behind(wait_for_end, start, keep, n + 1);
        free(keep);
    }
    for (size_t i = 0; i < n; i++)
        close_fd(fds[i]);
    close_fd(start[0]);
    close_fd(start[1]);
}
