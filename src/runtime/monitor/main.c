/*
 * proa-monitor: becomes a daemon of its own (new session, reparented, nothing inherited but what
 * its options name), runs the instance, and executes the finish program at the end.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "runtime/monitor/monitor.h"
#include "runtime/monitor/oom.h"

static const struct monitor_runtime runtimes[] = {
    [RUNTIME_CONTAINER] = {.start = container_start, .oom_killed = oom_killed},
    [RUNTIME_VM] = {.start = vm_start},
};

/* The starter waits only for this fork; the monitor's parent is the system's first process, which
 * reaps it whenever it ends. */
static int detach(const struct monitor_options *o)
{
    int keep[MONITOR_MAX_HOLD + 2 * BUNDLE_NETWORKS_MAX + 3];
    size_t n = 0;
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid > 0)
        _exit(0);
    setsid();
    for (size_t i = 0; i < o->n_hold_fds; i++)
        keep[n++] = o->hold_fds[i];
    for (size_t i = 0; i < o->n_tap_fds; i++)
        keep[n++] = o->tap_fds[i];
    for (size_t i = 0; i < BUNDLE_NETWORKS_MAX; i++)
        keep[n++] = o->lease_fds[i];
    keep[n++] = o->ready_fd;
    keep[n++] = o->attach_fd;
    keep[n++] = o->network_fd;
    size_t used = 0;
    for (size_t i = 0; i < n; i++)
        if (keep[i] >= 0) {
            int r = fd_set_cloexec(keep[i], true);
            if (r < 0)
                return r;
            keep[used++] = keep[i];
        }
    fd_close_others(keep, used);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd < 3; fd++)
        if (fd != null && dup2(null, fd) < 0)
            return -errno;
    close_fd(null > 2 ? null : -EBADF);
    umask(022);
    return chdir("/") < 0 ? -errno : 0;
}

static void execute_finish(const struct monitor_options *o)
{
    const char *argv[8];
    size_t n = 0;
    sigset_t none;
    argv[n++] = o->finish;
    if (o->root) {
        argv[n++] = "--root";
        argv[n++] = o->root;
    }
    argv[n++] = "internal";
    argv[n++] = "finish";
    argv[n++] = o->id;
    argv[n] = NULL;
    fd_close_others(NULL, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(o->finish, (char *const *)argv, environ);
}

int main(int argc, char **argv)
{
    struct monitor_options o;
    struct error err = ERROR_INIT;
    bool finish = false;
    int r = monitor_options_parse(argc, argv, &o, &err);
    if (r < 0) {
        (void)!fd_write_all(2, "proa-monitor: ", 14);
        (void)!fd_write_all(2, err.msg, strlen(err.msg));
        (void)!fd_write_all(2, "\n", 1);
        return 125;
    }
    /* Executed by descriptor, it was called by that one's number. */
    prctl(PR_SET_NAME, "proa-monitor");
    r = detach(&o);
    if (r < 0)
        return 125; /* the ready descriptor closes without a line, which the starter reports */
    r = monitor_run(&o, &runtimes[o.kind], &finish, &err);
    if (r < 0)
        return error_exit_code(&err);
    if (finish && o.finish)
        execute_finish(&o);
    return 0;
}
