#include "base/process.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/text.h"

static char *const minimal_env[] = {
    (char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    (char *)"LC_ALL=C.UTF-8", NULL};

void process_default_signals(void)
{
    /* The kernel's struct sigaction (rt_sigaction(2)): handler, flags, restorer and a 64-bit mask.
     */
    const unsigned long action[4] = {(unsigned long)SIG_DFL, 0, 0, 0};
    const unsigned long none = 0;
    for (int signum = 1; signum <= 64; signum++)
        syscall(SYS_rt_sigaction, signum, action, NULL, sizeof(none));
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
}

static int child_drop(uid_t uid)
{
    if (uid == 0)
        return 0;
    if (!process_is_only_user() &&
        (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0))
        return -errno;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* Moves every named descriptor to its number; two passes, so that no target is overwritten. */
static int child_place_fds(const struct process_spec *spec, int error_fd, int *ret_error_fd)
{
    int keep[64], placed[64];
    size_t n = 0;
    int top = 64;
    if (spec->n_fds > 60)
        return -EINVAL;
    for (size_t i = 0; i < spec->n_fds; i++)
        top = MAX(top, spec->fds[i].to + 1);
    error_fd = fcntl(error_fd, F_DUPFD_CLOEXEC, top);
    for (size_t i = 0; i < spec->n_fds; i++) {
        int from = spec->fds[i].from;
        if (from < 0)
            from = open("/dev/null", O_RDWR | O_CLOEXEC);
        placed[i] = fcntl(from, F_DUPFD_CLOEXEC, top);
        if (placed[i] < 0)
            return -errno;
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3; fd++)
        if (null != fd && dup2(null, fd) < 0)
            return -errno;
    for (size_t i = 0; i < spec->n_fds; i++) {
        if (dup2(placed[i], spec->fds[i].to) < 0)
            return -errno;
        keep[n++] = spec->fds[i].to;
    }
    keep[n++] = error_fd;
    fd_close_others(keep, n);
    *ret_error_fd = error_fd;
    return 0;
}

static _noreturn_ void child_exec(const struct process_spec *spec, int error_fd)
{
    process_default_signals();
    if (spec->new_session)
        setsid();
    int r = child_place_fds(spec, error_fd, &error_fd);
    if (r == 0)
        r = child_drop(spec->uid);
    if (r == 0) {
        execvpe(spec->path, spec->argv, spec->env ? spec->env : minimal_env);
        r = -errno;
    }
    (void)!write(error_fd, &r, sizeof(r));
    _exit(127);
}

int process_start(const struct process_spec *spec, pid_t *ret_pid, struct error *err)
{
    _cleanup_close_ int error_read = -EBADF, error_write = -EBADF;
    int pipe_fds[2], r = 0;
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    error_read = pipe_fds[0];
    error_write = pipe_fds[1];
    pid_t pid = fork();
    if (pid < 0)
        return error_errno(err, errno, "start %s", spec->path);
    if (pid == 0)
        child_exec(spec, error_write);
    error_write = close_fd(error_write);
    if (fd_read_full(error_read, &r, sizeof(r)) == sizeof(r)) {
        waitpid(pid, NULL, 0);
        return error_errno(err, r, "start %s", spec->path);
    }
    *ret_pid = pid;
    return 0;
}

int process_wait(pid_t pid, int *ret_status)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return 0;
}

/* Reads stdout and stderr until both are closed; of stderr the last bytes are kept. */
static int collect(int out_fd, int err_fd, const struct process_capture *c)
{
    struct pollfd fds[2] = {{out_fd, POLLIN, 0}, {err_fd, POLLIN, 0}};
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return -errno;
        for (int i = 0; i < 2; i++) {
            char chunk[16384];
            if (fds[i].fd < 0 || !fds[i].revents)
                continue;
            ssize_t n = read(fds[i].fd, chunk, sizeof(chunk));
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0) {
                fds[i].fd = -1;
                continue;
            }
            if (i == 1 && c->err->len + (size_t)n > c->err->max)
                buf_consume(c->err, c->err->len / 2);
            struct buf *target = i == 0 ? c->out : c->err;
            int r = target ? buf_add(target, chunk, (size_t)n) : 0;
            if (r < 0 && i == 0) /* complaints beyond the buffer are let go */
                return r;
            if (i == 0 && c->progress)
                c->progress(c->context);
        }
    }
    return 0;
}

int process_capture(const struct process_spec *spec, const struct process_capture *c,
                    int *ret_status, struct error *err)
{
    struct process_fd fds[8];
    int out_pipe[2], err_pipe[2];
    if (spec->n_fds > ARRAY_SIZE(fds) - 2)
        return error_set(err, ERROR_SYSTEM, E2BIG, "start %s: too many descriptors", spec->path);
    if (pipe2(out_pipe, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    _cleanup_close_ int out_read = out_pipe[0], out_write = out_pipe[1];
    if (pipe2(err_pipe, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    _cleanup_close_ int err_read = err_pipe[0], err_write = err_pipe[1];
    struct process_spec all = *spec;
    fds[0] = (struct process_fd){out_write, STDOUT_FILENO};
    fds[1] = (struct process_fd){err_write, STDERR_FILENO};
    for (size_t i = 0; i < spec->n_fds; i++)
        fds[i + 2] = spec->fds[i];
    all.fds = fds;
    all.n_fds = spec->n_fds + 2;
    pid_t pid;
    int r = process_start(&all, &pid, err);
    if (r < 0)
        return r;
    out_write = close_fd(out_write);
    err_write = close_fd(err_write);
    int collected = collect(out_read, err_read, c);
    out_read = close_fd(out_read); /* if it still writes, it ends */
    if ((r = process_wait(pid, ret_status)) < 0)
        return error_errno(err, r, "wait for %s", spec->path);
    return collected < 0 ? error_errno(err, collected, "read the output of %s", spec->path) : 0;
}

static const char *last_line(struct buf *text)
{
    while (text->len > 0 && (text->data[text->len - 1] == '\n' || text->data[text->len - 1] == ' '))
        text->data[--text->len] = '\0';
    if (text->len == 0)
        return "it says nothing";
    const char *line = strrchr(text->data, '\n');
    return line ? line + 1 : text->data;
}

int process_run(const char *path, char *const *argv, int in_fd, struct buf *out, struct error *err)
{
    _cleanup_buf_ struct buf complaints = BUF_INIT(16384);
    const struct process_fd in = {in_fd, STDIN_FILENO};
    const struct process_spec spec = {.path = path, .argv = argv, .fds = &in, .n_fds = 1};
    const struct process_capture capture = {.out = out, .err = &complaints};
    int status;
    int r = process_capture(&spec, &capture, &status, err);
    if (r == 0 && status != 0)
        r = error_set(err, ERROR_SYSTEM, EIO, "%s: exit code %d: %s", path, status,
                      last_line(&complaints));
    return r;
}

int signal_parse(const char *text, int *ret, struct error *err)
{
    uint32_t number;
    const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
    if (parse_u32(text, &number) == 0 && number >= 1 && number <= (uint32_t)SIGRTMAX) {
        *ret = (int)number;
        return 0;
    }
    for (int s = 1; s < 32; s++) {
        const char *known = sigabbrev_np(s);
        if (known && strcasecmp(known, name) == 0) {
            *ret = s;
            return 0;
        }
    }
    if (strncasecmp(name, "RTMIN+", 6) == 0 && parse_u32(name + 6, &number) == 0 &&
        (int)number <= SIGRTMAX - SIGRTMIN) {
        *ret = SIGRTMIN + (int)number;
        return 0;
    }
    return error_invalid(err, "unknown signal \"%.32s\" (a name as TERM, or a number)", text);
}

int process_outside_user(uid_t *ret, uint32_t *ret_users)
{
    _cleanup_free_ char *text = NULL;
    unsigned int inside, outside, count;
    bool found = false;
    *ret_users = 0;
    int r = file_read_kernel(AT_FDCWD, "/proc/self/uid_map", 32768, &text);
    if (r < 0)
        return r;
    for (const char *line = text; line && sscanf(line, "%u %u %u", &inside, &outside, &count) == 3;
         line = strchr(line, '\n'), line += line ? 1 : 0) {
        *ret_users += count;
        if (inside == 0) {
            *ret = outside;
            found = true;
        }
    }
    return found ? 0 : -ENOENT;
}

bool process_is_host_root(void)
{
    uid_t outside;
    uint32_t users;
    return geteuid() == 0 && process_outside_user(&outside, &users) == 0 && outside == 0 &&
           users == UINT32_MAX;
}

bool process_is_only_user(void)
{
    uid_t outside;
    uint32_t users;
    return geteuid() == 0 && process_outside_user(&outside, &users) == 0 && users == 1;
}

int process_start_ticks(pid_t pid, uint64_t *ret)
{
    char path[32];
    unsigned long long ticks;
    _cleanup_free_ char *text = NULL;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int r = file_read_kernel(AT_FDCWD, path, 4096, &text);
    if (r < 0)
        return r;
    /* The name before it, in parentheses, may hold anything. */
    const char *after = strrchr(text, ')');
    if (!after || sscanf(after + 1,
                         " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
                         "%*d %llu",
                         &ticks) != 1)
        return -EBADMSG;
    *ret = ticks;
    return 0;
}
