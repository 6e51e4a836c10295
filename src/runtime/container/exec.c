/* The caller's side of exec: starts proa-exec, carries bytes, gives the exit status. */
#include "runtime/container/exec.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/program.h"
#include "base/strv.h"
#include "base/terminal.h"
#include "base/text.h"
#include "kernel/cgroup.h"
#include "kernel/exe.h"
#include "kernel/ns.h"
#include "runtime/container/internal.h"
#include "runtime/container/ops.h"
#include "runtime/relay.h"

#define HIGH_FD 10 /* above every number that the child's descriptors get */

/* The two sides of the process's descriptors; all owned. */
struct exec_fds {
    int channel[2];
    int in[2], out[2], err[2]; /* read end, write end */
    int program;
};

#define NO_PIPE                                                                                    \
    {                                                                                              \
        -EBADF, -EBADF                                                                             \
    }
#define EXEC_FDS_INIT                                                                              \
    {                                                                                              \
        NO_PIPE, NO_PIPE, NO_PIPE, NO_PIPE, -EBADF                                                 \
    }

static void close_pair(int pair[2])
{
    pair[0] = close_fd(pair[0]);
    pair[1] = close_fd(pair[1]);
}

static void exec_fds_done(struct exec_fds *fds)
{
    close_pair(fds->channel);
    close_pair(fds->in);
    close_pair(fds->out);
    close_pair(fds->err);
    fds->program = close_fd(fds->program);
}

/* Out of the way of the numbers that the child uses. */
static int raise_fd(int *fd)
{
    int high = fcntl(*fd, F_DUPFD_CLOEXEC, HIGH_FD);
    if (high < 0)
        return -errno;
    close_fd(*fd);
    *fd = high;
    return 0;
}

static int make_pipe(int pair[2])
{
    if (pipe2(pair, O_CLOEXEC) < 0)
        return -errno;
    int r = raise_fd(&pair[0]);
    return r < 0 ? r : raise_fd(&pair[1]);
}

static int make_null(int *fd, int flags)
{
    *fd = open("/dev/null", flags | O_CLOEXEC);
    return *fd < 0 ? -errno : raise_fd(fd);
}

static int make_fds(const struct runtime_exec *e, struct exec_fds *fds)
{
    bool quiet = e->detach || e->terminal;
    int r = channel_pair(fds->channel);
    if (r < 0 || (r = raise_fd(&fds->channel[0])) < 0 || (r = raise_fd(&fds->channel[1])) < 0)
        return r;
    r = e->interactive && !quiet ? make_pipe(fds->in) : make_null(&fds->in[0], O_RDONLY);
    if (r == 0)
        r = quiet ? make_null(&fds->out[1], O_WRONLY) : make_pipe(fds->out);
    if (r == 0)
        r = quiet ? make_null(&fds->err[1], O_WRONLY) : make_pipe(fds->err);
    return r;
}

static char **make_argv(const struct runtime_target *t, const struct runtime_exec *e,
                        struct terminal_size size)
{
    char **argv = NULL;
    strv_add(&argv, EXEC_PROGRAM);
    strv_addf(&argv, "--id=%s", t->id);
    strv_addf(&argv, "--bundle=%s", t->bundle);
    strv_addf(&argv, "--pid=%d", (int)t->pid);
    strv_addf(&argv, "--start-ticks=%llu", (unsigned long long)t->start_ticks);
    if (e->user)
        strv_addf(&argv, "--user=%s", e->user);
    if (e->cwd)
        strv_addf(&argv, "--cwd=%s", e->cwd);
    if (e->terminal)
        strv_add(&argv, "--terminal");
    if (size.rows)
        strv_addf(&argv, "--size=%hux%hu", size.rows, size.columns);
    if (e->privileged)
        strv_add(&argv, "--privileged");
    if (e->detach)
        strv_add(&argv, "--detach");
    strv_add(&argv, "--");
    for (size_t i = 0; e->argv && e->argv[i]; i++)
        strv_add(&argv, e->argv[i]);
    return argv;
}

static int spawn(struct exec_fds *fds, char **argv, char *const *env, pid_t *ret_pid)
{
    static char *const nothing[] = {NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    struct fd_path path = fd_path(fds->program);
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int r = posix_spawn_file_actions_adddup2(&actions, fds->in[0], 0);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, fds->out[1], 1);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, fds->err[1], 2);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, fds->channel[1], EXEC_CHANNEL_FD);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    if (r == 0)
        r = posix_spawn(ret_pid, path.text, &actions, &attributes, argv,
                        env ? env : (char *const *)nothing);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    fds->in[0] = close_fd(fds->in[0]);
    fds->out[1] = close_fd(fds->out[1]);
    fds->err[1] = close_fd(fds->err[1]);
    fds->channel[1] = close_fd(fds->channel[1]);
    return -r;
}

/* Until the process has executed, or the error that prevented it. */
static int wait_executed(int channel, int *ret_console, struct error *err)
{
    struct channel_message m;
    for (;;) {
        int fd = -EBADF;
        int r = channel_receive(channel, &m, &fd);
        if (r < 0)
            return error_errno(err, r, "hear from the new process");
        if (m.type == CHANNEL_CONSOLE && fd >= 0) {
            close_fd(*ret_console);
            *ret_console = fd;
            continue;
        }
        close_fd(fd);
        if (m.type == CHANNEL_END)
            return 0;
        if (m.type == CHANNEL_ERROR) {
            if (err)
                *err = m.err;
            return m.err.code ? -m.err.code : -EIO;
        }
    }
}

static int carry(pid_t pid, struct exec_fds *fds, const struct runtime_exec *e, const int stdio[3],
                 int console, struct error *err)
{
    _cleanup_close_ int end = ns_pidfd(pid);
    if (end < 0)
        return error_errno(err, end, "watch the new process");
    struct relay relay = {
        .stdio = {stdio[0], stdio[1], stdio[2]},
        .in = TAKE_FD(fds->in[1]),
        .out = fds->out[0],
        .err = fds->err[0],
        .console = console,
        .end = end,
        .deadline_ms = e->timeout_ms ? time_monotonic_ms() + e->timeout_ms : 0,
    };
    int r = relay_run(&relay, e->interactive, err);
    close_fd(relay.in);
    return r;
}

static int open_program(struct error *err)
{
    _cleanup_free_ char *path = NULL;
    int r = program_find(EXEC_PROGRAM, &path, err);
    if (r < 0)
        return r;
    int fd = exe_open_readonly(path);
    if (fd < 0 || (r = raise_fd(&fd)) < 0)
        return error_errno(err, fd < 0 ? fd : r, "open %s read-only", path);
    return fd;
}

static pid_t parent_of(pid_t pid)
{
    _cleanup_free_ char *path = xasprintf("/proc/%d/stat", (int)pid), *text = NULL;
    int parent = 0;
    char *end = file_read_kernel(AT_FDCWD, path, 4096, &text) < 0 ? NULL : strrchr(text, ')');
    return end && sscanf(end + 1, " %*c %d", &parent) == 1 ? (pid_t)parent : 0;
}

/* proa-exec's child is the process. It is found among the container's, and held before it is looked
 * at, so that no other can have its number by then. */
static void kill_children(const struct runtime_target *t, pid_t parent)
{
    _cleanup_free_ pid_t *pids = NULL;
    size_t n = 0;
    if (container_target_processes(t, &pids, &n, NULL) < 0)
        n = 0;
    for (size_t i = 0; i < n; i++) {
        _cleanup_close_ int held = ns_pidfd(pids[i]);
        if (held >= 0 && parent_of(pids[i]) == parent)
            syscall(SYS_pidfd_send_signal, held, SIGKILL, NULL, 0);
    }
}

int container_ops_exec(const struct runtime_target *t, const struct runtime_exec *e,
                       const int stdio[3], int *ret_status, struct error *err)
{
    _cleanup_(exec_fds_done) struct exec_fds fds = EXEC_FDS_INIT;
    _cleanup_close_ int console = -EBADF;
    _cleanup_strv_ char **argv = make_argv(t, e, terminal_size(e->terminal ? stdio[0] : -1));
    int status = 0;
    pid_t pid;
    if (!e->argv || !e->argv[0])
        return error_invalid(err, "no command to execute");
    int r = make_fds(e, &fds);
    if (r < 0)
        return error_errno(err, r, "make pipes");
    if ((fds.program = open_program(err)) < 0)
        return fds.program;
    if ((r = spawn(&fds, argv, e->env, &pid)) < 0)
        return error_errno(err, r, "execute " EXEC_PROGRAM);
    r = wait_executed(fds.channel[0], &console, err);
    if (r == 0 && !e->detach)
        r = carry(pid, &fds, e, stdio, console, err);
    if (r == -ETIMEDOUT && e->timeout_ms)
        kill_children(t, pid);
    /* It ends at once after an error, and with detach. */
    int waited = process_wait(pid, &status);
    if (r == 0 && waited < 0)
        r = error_errno(err, waited, "wait for the process");
    if (r == 0)
        *ret_status = e->detach ? 0 : status;
    return r;
}
