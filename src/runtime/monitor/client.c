#include "runtime/monitor/client.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "base/user_dirs.h"
#include "kernel/exe.h"
#include "wire/attach.h"

#define READY_MAX_BYTES ((size_t)1024)
#define ANSWER_MS       5000

/* --- starting --- */

/* Descriptors keep their numbers in the monitor; the spawn only lifts close-on-exec from them. */
static int pass_fd(posix_spawn_file_actions_t *actions, char ***argv, const char *option, int fd)
{
    if (fd < 0)
        return 0;
    strv_add(argv, option);
    strv_addf(argv, "%d", fd);
    return -posix_spawn_file_actions_adddup2(actions, fd, fd);
}

static int pass_lease_fd(posix_spawn_file_actions_t *actions, char ***argv, size_t position, int fd)
{
    if (fd < 0)
        return 0;
    strv_add(argv, "--lease-fd");
    strv_addf(argv, "%zu:%d", position, fd);
    return -posix_spawn_file_actions_adddup2(actions, fd, fd);
}

static void add_option(char ***argv, const char *option, const char *value)
{
    if (!value)
        return;
    strv_add(argv, option);
    strv_add(argv, value);
}

static void add_number(char ***argv, const char *option, uint64_t value)
{
    strv_add(argv, option);
    strv_addf(argv, "%llu", (unsigned long long)value);
}

static char **make_argv(const struct monitor_spec *spec)
{
    char **argv = NULL;
    strv_add(&argv, "proa-monitor");
    add_option(&argv, "--id", spec->id);
    add_option(&argv, "--kind", runtime_kind_name(spec->kind));
    add_option(&argv, "--bundle", spec->bundle);
    add_option(&argv, "--run-dir", spec->run_dir);
    add_option(&argv, "--root", spec->root);
    add_option(&argv, "--finish", spec->finish_program);
    add_option(&argv, "--restart", spec->restart);
    if (spec->health_interval_ms) {
        add_number(&argv, "--health-interval", spec->health_interval_ms);
        add_number(&argv, "--health-start-interval", spec->health_start_interval_ms);
        add_number(&argv, "--health-start-period", spec->health_start_period_ms);
    }
    if (spec->terminal)
        strv_add(&argv, "--terminal");
    if (spec->size.rows && spec->size.columns) {
        strv_add(&argv, "--size");
        strv_addf(&argv, "%hux%hu", spec->size.rows, spec->size.columns);
    }
    if (spec->open_stdin)
        strv_add(&argv, "--stdin");
    if (spec->spare)
        strv_add(&argv, "--spare");
    if (spec->log_max_bytes)
        add_number(&argv, "--log-max", spec->log_max_bytes);
    if (spec->free_cards)
        add_number(&argv, "--free-cards", spec->free_cards);
    if (spec->log_files)
        add_number(&argv, "--log-files", spec->log_files);
    return argv;
}

static int set_spawn(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes,
                     const struct monitor_spec *spec, int ready_fd, int attach_fd, char ***argv)
{
    sigset_t none, all;
    int r = 0;
    sigemptyset(&none);
    sigfillset(&all);
    for (int fd = 0; r == 0 && fd < 3; fd++)
        r = -posix_spawn_file_actions_addopen(actions, fd, "/dev/null", O_RDWR, 0);
    if (r == 0)
        r = pass_fd(actions, argv, "--ready-fd", ready_fd);
    if (r == 0)
        r = pass_fd(actions, argv, "--attach-fd", attach_fd);
    if (r == 0)
        r = pass_fd(actions, argv, "--network-fd", spec->network_fd);
    for (size_t i = 0; r == 0 && i < spec->n_tap_fds; i++)
        r = pass_fd(actions, argv, "--tap-fd", spec->tap_fds[i]);
    for (size_t i = 0; r == 0 && spec->lease_fds && i < BUNDLE_NETWORKS_MAX; i++)
        r = pass_lease_fd(actions, argv, i, spec->lease_fds[i]);
    for (size_t i = 0; r == 0 && i < spec->n_hold_fds; i++)
        r = pass_fd(actions, argv, "--hold-fd", spec->hold_fds[i]);
    if (r == 0)
        r = -posix_spawnattr_setsigmask(attributes, &none);
    if (r == 0)
        r = -posix_spawnattr_setsigdefault(attributes, &all);
    if (r == 0)
        r = -posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return r;
}

/* A container's first process is a fork of the monitor: whoever gets hold of its executable file
 * finds it on a read-only mount (kernel/exe.h). A machine's monitor looks for proa-vm beside
 * itself, and shares its file with nobody. */
static int open_program(const struct monitor_spec *spec)
{
    if (spec->kind == RUNTIME_CONTAINER && geteuid() == 0)
        return exe_open_readonly(spec->program);
    int fd = open(spec->program, O_PATH | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int spawn(const struct monitor_spec *spec, int ready_fd, int attach_fd, pid_t *ret_pid,
                 struct error *err)
{
    _cleanup_strv_ char **env = user_dirs_environment();
    _cleanup_strv_ char **argv = make_argv(spec);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    _cleanup_close_ int program = open_program(spec);
    int r =
        program < 0 ? program : set_spawn(&actions, &attributes, spec, ready_fd, attach_fd, &argv);
    if (r == 0)
        r = -posix_spawn(ret_pid, fd_path(program).text, &actions, &attributes, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return r < 0 ? error_errno(err, r, "start %s", spec->program) : 0;
}

/* "ok PID" or "error KIND CODE MESSAGE". */
static int parse_ready(char *line, pid_t *ret_pid, struct error *err)
{
    uint64_t number;
    char *end = strchr(line, '\n');
    if (end)
        *end = '\0';
    if (end && strncmp(line, "ok ", 3) == 0 && parse_u64(line + 3, INT32_MAX, &number) == 0) {
        *ret_pid = (pid_t)number;
        return 0;
    }
    char *kind = strncmp(line, "error ", 6) == 0 ? line + 6 : NULL;
    char *code = kind ? strchr(kind, ' ') : NULL;
    char *message = code ? strchr(code + 1, ' ') : NULL;
    if (!message)
        return error_set(err, ERROR_SYSTEM, EIO, "the monitor ended before it was ready");
    *code++ = *message++ = '\0';
    if (parse_u64(code, 4095, &number) < 0 || number == 0)
        number = EIO;
    return error_set(err, error_kind_from_name(kind), (int)number, "%s", message);
}

static int read_ready(int fd, pid_t *ret_pid, struct error *err)
{
    char line[READY_MAX_BYTES + 1];
    size_t len = 0;
    while (len < READY_MAX_BYTES && !memchr(line, '\n', len)) {
        ssize_t n = read(fd, line + len, READY_MAX_BYTES - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    line[len] = '\0';
    return parse_ready(line, ret_pid, err);
}

int monitor_start(const struct monitor_spec *spec, pid_t *ret_pid, int *ret_attach,
                  struct error *err)
{
    _cleanup_close_ int ready_read = -EBADF, ready_write = -EBADF;
    _cleanup_close_ int attach_ours = -EBADF, attach_theirs = -EBADF;
    int fds[2];
    pid_t starter;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    ready_read = fds[0];
    ready_write = fds[1];
    if (spec->attach) {
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
            return error_errno(err, errno, "make a socket pair");
        attach_ours = fds[0];
        attach_theirs = fds[1];
    }
    int r = spawn(spec, ready_write, attach_theirs, &starter, err);
    if (r < 0)
        return r;
    ready_write = close_fd(ready_write);
    attach_theirs = close_fd(attach_theirs);
    r = read_ready(ready_read, ret_pid, err);
    while (waitpid(starter, NULL, 0) < 0 && errno == EINTR)
        ; /* it left as soon as the monitor proper existed */
    if (r == 0)
        *ret_attach = TAKE_FD(attach_ours);
    return r;
}

/* --- a running one --- */

int monitor_connect(const char *run_dir, int *ret_fd, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    /* Through a descriptor, because the directory's path may not fit into an address. */
    _cleanup_close_ int dir = open(run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "it does not run");
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_errno(err, errno, "make a socket");
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/monitor.sock", fd_path(dir).text);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        if (errno == ENOENT || errno == ECONNREFUSED)
            return error_set(err, ERROR_NOT_FOUND, ENOENT, "it does not run");
        return error_errno(err, errno, "connect to %s/monitor.sock", run_dir);
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* One message, with a descriptor or without (-EBADF), and its OK; *ret_fd: the connection, owned.
 */
static int tell_on(const char *run_dir, const struct attach_message *what, int pass, int *ret_fd,
                   struct error *err)
{
    _cleanup_free_ unsigned char *buffer = xcalloc(1, ATTACH_MAX_MESSAGE);
    _cleanup_close_ int fd = -EBADF;
    struct attach_message answer;
    int r = monitor_connect(run_dir, &fd, err);
    if (r < 0)
        return r;
    r = pass >= 0 ? attach_send_fd(fd, what, pass) : attach_send(fd, what, 0);
    struct pollfd wait = {fd, POLLIN, 0};
    if (r == 0 && poll(&wait, 1, ANSWER_MS) <= 0)
        r = -ETIMEDOUT;
    if (r == 0)
        r = attach_receive(fd, buffer, MSG_DONTWAIT, &answer);
    if (r == -ECONNRESET || r == -EPIPE)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "it has just ended");
    if (r == 0 && answer.type != ATTACH_OK)
        r = -EBADMSG;
    if (r < 0)
        return error_errno(err, r, "tell the monitor in %s", run_dir);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int tell(const char *run_dir, const struct attach_message *what, struct error *err)
{
    _cleanup_close_ int fd = -EBADF;
    return tell_on(run_dir, what, -EBADF, &fd, err);
}

int monitor_put_lease(const char *run_dir, uint8_t position, int fd, struct error *err)
{
    const struct attach_message lease = {.type = ATTACH_LEASE, .position = position};
    _cleanup_close_ int connection = -EBADF;
    return tell_on(run_dir, &lease, fd, &connection, err);
}

int monitor_put_tap(const char *run_dir, uint8_t position, int fd, struct error *err)
{
    const struct attach_message tap = {.type = ATTACH_TAP, .position = position};
    _cleanup_close_ int connection = -EBADF;
    return tell_on(run_dir, &tap, fd, &connection, err);
}

int monitor_stopping(const char *run_dir, struct error *err)
{
    return tell(run_dir, &(struct attach_message){.type = ATTACH_STOPPING}, err);
}

int monitor_set_restart(const char *run_dir, const char *policy, struct error *err)
{
    return tell(run_dir,
                &(struct attach_message){.type = ATTACH_RESTART,
                                         .data = (const unsigned char *)policy,
                                         .len = strlen(policy)},
                err);
}

int monitor_begin_spare(const char *run_dir, bool attach, int *ret, struct error *err)
{
    const struct attach_message begin = {.type = ATTACH_BEGIN,
                                         .flags = attach ? ATTACH_WANTS_OUTPUT : 0};
    *ret = -EBADF;
    return tell_on(run_dir, &begin, -EBADF, ret, err);
}

void monitor_begun(int connection)
{
    (void)!attach_send(connection, &(struct attach_message){.type = ATTACH_BEGUN}, 0);
}

int monitor_wait_gone(const char *run_dir, int timeout_ms)
{
    _cleanup_free_ char *path = path_join(run_dir, "lock");
    int64_t deadline = time_monotonic_ms() + timeout_ms;
    long pause_us = 200;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (timeout_ms < 0) {
        while (flock(fd, LOCK_SH) < 0)
            if (errno != EINTR)
                return -errno;
        return 0;
    }
    while (flock(fd, LOCK_SH | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return -errno;
        if (time_monotonic_ms() >= deadline)
            return -ETIMEDOUT;
        struct timespec pause = {0, pause_us * 1000};
        nanosleep(&pause, NULL);
        pause_us = MIN(pause_us * 2, 10000L);
    }
    return 0;
}
