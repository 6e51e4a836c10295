/*
 * Starting a process. The child reports on a socket pair: one `struct error` when something before
 * exec failed, or nothing (the descriptor closes on exec). With a terminal it first sends the
 * master, which it opens in the workload's own devpts, so that the process sees its terminal under
 * /dev/pts.
 *
 * The workload is made with clone(2) in new PID, mount and IPC namespaces; others join these. The
 * PID namespace is entered by the agent around fork, since it only takes effect for children, and
 * left again: so each is the agent's own child and its end is seen by waitpid.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/terminal.h"
#include "guest/guest.h"

struct stdio {
    int ours[3], theirs[3];
};

static void close_stdio(struct stdio *io)
{
    for (int i = 0; i < 3; i++) {
        io->ours[i] = close_fd(io->ours[i]);
        io->theirs[i] = close_fd(io->theirs[i]);
    }
}

static int open_stdio(const struct guest_spawn *s, struct stdio *io)
{
    for (int i = 0; i < 3; i++) {
        bool used = i == 0 ? s->stdin_open : !s->discard_output;
        int ends[2];
        if (!used) {
            io->theirs[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
            if (io->theirs[i] < 0)
                return -errno;
            continue;
        }
        if (pipe2(ends, O_CLOEXEC) < 0)
            return -errno;
        io->ours[i] = ends[i == 0];
        io->theirs[i] = ends[i != 0];
        int r = fd_set_nonblock(io->ours[i], true);
        if (r < 0)
            return r;
    }
    return 0;
}

static int send_fd(int socket_fd, int fd)
{
    char byte = 1;
    struct iovec iov = {&byte, 1};
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof(control.space)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    return sendmsg(socket_fd, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* One message: an error, a terminal, or (0) the end, which means that exec succeeded. */
static ssize_t receive_report(int fd, bool terminal, struct error *e, int *ret_fd)
{
    if (!terminal)
        return read(fd, e, sizeof(*e));
    struct iovec iov = {e, sizeof(*e)};
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof(control.space)};
    ssize_t n;
    do
        n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    if (c && c->cmsg_type == SCM_RIGHTS)
        memcpy(ret_fd, CMSG_DATA(c), sizeof(*ret_fd));
    return n;
}

/* The child is in the workload's root by now. */
static int open_terminal(const struct guest_spawn *s, int report, struct error *err)
{
    struct terminal_size size = {(unsigned short)s->rows, (unsigned short)s->columns};
    _cleanup_close_ int master =
        open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    int unlock = 0;
    struct stat st;
    if (master < 0 || fstat(master, &st) < 0 || !S_ISCHR(st.st_mode) ||
        ioctl(master, TIOCSPTLCK, &unlock) < 0)
        return error_errno(err, errno, "open a terminal");
    int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return error_errno(err, errno, "open a terminal");
    if (size.rows && terminal_set_size(master, size) < 0)
        return error_errno(err, errno, "set the terminal's size");
    int r = send_fd(report, master);
    if (r < 0)
        return error_errno(err, r, "pass the terminal");
    setsid();
    for (int i = 0; i < 3; i++)
        if (dup2(slave, i) < 0)
            return error_errno(err, errno, "place the terminal");
    if (ioctl(0, TIOCSCTTY, 0) < 0)
        return error_errno(err, errno, "take the terminal");
    if (slave > 2)
        close(slave);
    return 0;
}

/* /dev/console is the workload's terminal, as it is in a container. */
static void bind_console(void)
{
    char name[64];
    ssize_t n = readlink("/proc/self/fd/0", name, sizeof(name) - 1);
    int fd = n > 0 ? open("/dev/console",
                          O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_EXCL | O_NOCTTY, 0600)
                   : -1;
    if (fd < 0)
        return;
    name[n] = '\0';
    close(fd);
    (void)!mount(name, "/dev/console", NULL, MS_BIND, NULL);
}

static int enter_namespaces(pid_t workload, struct error *err)
{
    static const char *const names[] = {"ipc", "cgroup", "mnt"};
    int fds[ARRAY_SIZE(names)];
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char path[64];
        snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)workload, names[i]);
        fds[i] = open(path, O_RDONLY | O_CLOEXEC);
        if (fds[i] < 0)
            return error_errno(err, errno, "open the workload's namespaces");
    }
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/root", (int)workload);
    _cleanup_close_ int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        int r = root < 0 || setns(fds[i], 0) < 0 ? -errno : 0;
        close(fds[i]);
        if (r < 0)
            return error_errno(err, r, "enter the workload's namespaces");
    }
    if (fchdir(root) < 0 || chroot(".") < 0)
        return error_errno(err, errno, "enter the workload's root");
    return 0;
}

static void apply_sysctls(const struct oci_config *c)
{
    for (size_t i = 0; i < c->linux_.n_sysctls; i++) {
        _cleanup_free_ char *path = xasprintf("/proc/sys/%s", c->linux_.sysctls[i].name);
        for (char *p = path + strlen("/proc/sys/"); *p; p++)
            *p = *p == '.' ? '/' : *p;
        if (!strstr(path, "//"))
            (void)!file_write_kernel(AT_FDCWD, path, c->linux_.sysctls[i].value);
    }
}

int guest_enter_cgroup(void)
{
    return file_write_kernel(AT_FDCWD, GUEST_CGROUP "/cgroup.procs", "0");
}

static int enter_cgroup(const struct guest *g, struct error *err)
{
    const struct oci_process *p = &g->config->process;
    char text[32];
    if (!g->mounts_ready)
        (void)!guest_enter_cgroup();
    if (!p->has_oom_score_adj)
        return 0;
    snprintf(text, sizeof(text), "%d", p->oom_score_adj);
    int r = file_write_kernel(AT_FDCWD, "/proc/self/oom_score_adj", text);
    return r < 0 ? error_errno(err, r, "set oom_score_adj to %s", text) : 0;
}

static int become_workload(const struct guest *g, struct error *err)
{
    apply_sysctls(g->config);
    const char *domain = g->config->domainname;
    if (domain && setdomainname(domain, strlen(domain)) < 0)
        return error_errno(err, errno, "set the domain name");
    if (!g->mounts_ready && unshare(CLONE_NEWCGROUP) < 0)
        return error_errno(err, errno, "make a cgroup namespace");
    return guest_mounts_apply(g, err);
}

static int child_set_up(const struct guest *g, const struct guest_spawn *s, int report,
                        struct error *err)
{
    int r = enter_cgroup(g, err);
    if (r == 0)
        r = s->workload ? become_workload(g, err) : enter_namespaces(g->workload, err);
    if (r == 0 && s->terminal) {
        r = open_terminal(s, report, err);
        if (r == 0 && s->workload)
            bind_console();
    }
    if (r < 0)
        return r;
    return guest_identity_apply(g, s, err);
}

static _noreturn_ void reap_for(pid_t child)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, 0);
        if (pid == child)
            _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
        if (pid < 0 && errno == ECHILD)
            _exit(127);
    }
}

static volatile sig_atomic_t init_child;

static void pass_signal(int signum)
{
    if (init_child > 0)
        kill(init_child, signum);
}

/* --init: process 1 passes signals on and reaps; the workload is its child. Returns in the child.
 * The report descriptor must close in process 1, or exec's success would not be seen. */
static void fork_under_init(void)
{
    static const int passed[] = {SIGTERM, SIGINT,  SIGHUP,   SIGQUIT, SIGUSR1,
                                 SIGUSR2, SIGCONT, SIGWINCH, SIGALRM};
    pid_t pid = fork();
    if (pid <= 0)
        return;
    init_child = pid;
    for (size_t i = 0; i < ARRAY_SIZE(passed); i++)
        signal(passed[i], pass_signal);
    prctl(PR_SET_NAME, "init");
    int null = open("/dev/null", O_RDWR);
    for (int i = 0; null >= 0 && i < 3; i++)
        dup2(null, i);
    fd_close_others(NULL, 0);
    reap_for(pid);
}

static int command_error(int errnum, const char *name, struct error *err)
{
    if (errnum == ENOENT)
        return error_set(err, ERROR_COMMAND_NOT_FOUND, ENOENT, "exec: \"%s\": %s", name,
                         strchr(name, '/') ? "no such file or directory"
                                           : "executable file not found in $PATH");
    return error_set(err, ERROR_COMMAND_NOT_RUN, errnum, "exec: \"%s\": %s", name,
                     strerror(errnum));
}

_noreturn_ void guest_spawn_child(const struct guest *g, const struct guest_spawn *s,
                                  const int stdio[3], int report)
{
    struct error err = ERROR_INIT;
    process_default_signals();
    int r = 0;
    if (!s->terminal) {
        setsid();
        for (int i = 0; i < 3 && r == 0; i++)
            r = dup2(stdio[i], i) < 0 ? error_errno(&err, errno, "place stdio") : 0;
    }
    environ = strv_copy(s->env); /* the identity may add to it */
    if (r == 0)
        r = child_set_up(g, s, report, &err);
    if (r == 0) {
        if (s->init)
            fork_under_init();
        int keep[] = {report};
        fd_close_others(keep, 1);
        command_error(guest_execute(s->argv), s->argv[0], &err);
    }
    (void)!write(report, &err, sizeof(err));
    _exit(127);
}

/* fork, with the child in the namespaces that only fork or clone can enter. */
static pid_t fork_into(const struct guest *g, bool workload)
{
    if (workload)
        return (pid_t)syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | SIGCHLD, NULL,
                              NULL, NULL, NULL);
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)g->workload);
    _cleanup_close_ int theirs = open(path, O_RDONLY | O_CLOEXEC),
                        ours = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    if (theirs < 0 || ours < 0 || setns(theirs, CLONE_NEWPID) < 0)
        return -1;
    pid_t pid = fork();
    if (pid != 0) {
        int saved = errno;
        if (setns(ours, CLONE_NEWPID) < 0)
            _exit(1); /* process 1 of the wrong namespace is of no use */
        errno = saved;
    }
    return pid;
}

static int wait_exec(int report, bool terminal, pid_t pid, int *ret_master, struct error *err)
{
    struct error e = ERROR_INIT;
    for (;;) {
        ssize_t n = receive_report(report, terminal, &e, ret_master);
        if (n == 0)
            return 0;
        if (n == 1)
            continue; /* the terminal */
        waitpid(pid, NULL, 0);
        if (n != (ssize_t)sizeof(e))
            return error_set(err, ERROR_SYSTEM, EIO, "the process ended before it began");
        *err = e;
        return e.code > 0 ? -e.code : -EIO;
    }
}

static int start_new(struct guest *g, const struct guest_spawn *s, const int stdio[3],
                     pid_t *ret_pid, int *ret_report)
{
    int report[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, report) < 0)
        return -errno;
    pid_t pid = fork_into(g, s->workload);
    if (pid == 0) {
        close(report[0]);
        guest_spawn_child(g, s, stdio, report[1]);
    }
    int r = pid < 0 ? -errno : 0;
    close(report[1]);
    if (r < 0)
        close(report[0]);
    *ret_report = report[0];
    *ret_pid = pid;
    return r;
}

/* The one that was prepared, or a new one. */
static int start_child(struct guest *g, const struct guest_spawn *s, struct stdio *io,
                       pid_t *ret_pid, int *ret_report)
{
    if (s->workload && g->prepared)
        return guest_prepared_start(g, s->terminal, io->ours, ret_pid, ret_report);
    int r = s->terminal ? 0 : open_stdio(s, io);
    return r < 0 ? r : start_new(g, s, io->theirs, ret_pid, ret_report);
}

int guest_spawn(struct guest *g, const struct guest_spawn *s, struct guest_spawned *ret,
                struct error *err)
{
    struct stdio io = {{-EBADF, -EBADF, -EBADF}, {-EBADF, -EBADF, -EBADF}};
    int report = -EBADF, master = -EBADF;
    pid_t pid = 0;
    int r = start_child(g, s, &io, &pid, &report);
    r = r < 0 ? error_errno(err, -r, "start a process")
              : wait_exec(report, s->terminal, pid, &master, err);
    close_fd(report);
    if (r < 0) {
        close_stdio(&io);
        close_fd(master);
        return r;
    }
    ret->pid = pid;
    for (int i = 0; i < 3; i++)
        ret->fds[i] = TAKE_FD(io.ours[i]);
    close_stdio(&io);
    if (s->terminal) {
        ret->fds[1] = master;
        ret->fds[0] = fcntl(master, F_DUPFD_CLOEXEC, 3);
    }
    return 0;
}

int guest_spawn_tree(const struct guest *g, guest_tree_fn run, const char *place, const char *path,
                     bool out, pid_t *ret_pid, int *ret_fd, int *ret_error_fd, struct error *err)
{
    int data[2], report[2];
    if (pipe2(data, O_CLOEXEC) < 0)
        return error_errno(err, errno, "start a copy");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, report) < 0) {
        close(data[0]);
        close(data[1]);
        return error_errno(err, errno, "start a copy");
    }
    pid_t pid = fork();
    if (pid == 0) {
        struct error e = ERROR_INIT;
        close(data[out ? 0 : 1]);
        int r = place ? 0 : enter_namespaces(g->workload, &e);
        int root = r < 0 ? -1 : open(place ? place : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (r == 0)
            r = root < 0 ? error_errno(&e, errno, "open the root") : run(root, path, data[out], &e);
        if (r < 0)
            (void)!send(report[1], &e, sizeof(e), MSG_NOSIGNAL);
        _exit(r < 0);
    }
    close(report[1]);
    close(data[out ? 1 : 0]);
    if (pid < 0) {
        close(report[0]);
        close(data[out ? 0 : 1]);
        return error_errno(err, errno, "start a copy");
    }
    (void)!fd_set_nonblock(data[out ? 0 : 1], true);
    *ret_pid = pid;
    *ret_fd = data[out ? 0 : 1];
    *ret_error_fd = report[0];
    return 0;
}
