/*
 * The life of a monitor: one process, one poll loop, no threads, no allocation after the start.
 *
 *   lock, log, socket, status "starting"
 *   start ------------------------------> ready line; status "running", of a spare one when it is
 *                                         taken over
 *   RUNNING: streams and clients          (streams.c, clients.c)
 *   DRAINING: the workload has ended; what its pipes still hold is read, at most DRAIN_MS beyond
 *             what clients take, because a process outside may keep them open
 *   WAITING: status "restarting"; then start again (without a ready line), RUNNING
 *   TELLING: status "exited"; clients get the code, one of them may take the duty to finish
 *   socket gone, lock free
 *
 * A failure before the ready line undoes all of it and leaves status "exited" with the reason. A
 * kill at any moment leaves the last status and a free lock, which is how others notice.
 *
 * SIGTERM and SIGINT to the monitor are a stop: no restart, SIGTERM to the workload, SIGKILL after
 * STOP_MS. Other signals that would end it are ignored, by handlers rather than SIG_IGN, which the
 * workload would inherit.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/process.h"
#include "base/text.h"
#include "runtime/monitor/monitor-internal.h"
#include "runtime/monitor/trim.h"

#define QEMU_ENDS_MS 300
#define DRAIN_MS     2000
#define STOP_MS      10000
#define IDLE_MS      1000 /* without an event, until memory is given back */
#define LOCK_TRIES   200  /* of 1 ms each: somebody who only looks holds it for an instant */

static volatile sig_atomic_t stop_signal;

static void on_stop(int signum)
{
    stop_signal = signum;
}

static void on_nothing(int signum)
{
    (void)signum;
}

static void handle_signals(sigset_t *blocked)
{
    static const int quiet[] = {SIGHUP, SIGQUIT, SIGPIPE, SIGALRM, SIGUSR1, SIGUSR2, SIGXFSZ};
    struct sigaction action = {.sa_handler = on_nothing};
    for (size_t i = 0; i < ARRAY_SIZE(quiet); i++)
        sigaction(quiet[i], &action, NULL);
    action.sa_handler = on_stop;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGCHLD, SIG_DFL); /* an inherited SIG_IGN would take the exit status away */
    sigemptyset(blocked);
    sigaddset(blocked, SIGTERM);
    sigaddset(blocked, SIGINT);
}

static void save_status(struct monitor *m)
{
    m->status.log_dropped = m->log.dropped;
    /* Nobody is there to be told when this fails; the next change tries again. */
    (void)!monitor_status_write(m->o->bundle, &m->status, NULL);
}

void monitor_stop_wanted(struct monitor *m)
{
    m->stopping = true;
    if (m->phase == PHASE_WAITING)
        m->deadline_ms = time_monotonic_ms();
}

/* --- starting --- */

static int take_lock(struct monitor *m, struct error *err)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/lock", m->o->run_dir);
    m->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (m->lock_fd < 0)
        return error_errno(err, errno, "open %s", path);
    for (int i = 0; flock(m->lock_fd, LOCK_EX | LOCK_NB) < 0; i++) {
        struct timespec one_ms = {0, 1000000};
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_errno(err, errno, "lock %s", path);
        if (i == LOCK_TRIES)
            return error_set(err, ERROR_CONFLICT, EBUSY, "it runs already");
        nanosleep(&one_ms, NULL);
    }
    return 0;
}

static void begin_run(struct monitor *m)
{
    health_begin(&m->health, &m->o->health, m->started_ms);
    m->status.state = MONITOR_RUNNING;
    m->status.started_ns = time_now_ns();
    m->status.finished_ns = 0;
    m->status.exit_code = 0;
    m->status.oom_killed = false;
    m->status.error[0] = '\0';
    save_status(m);
}

static int start_once(struct monitor *m, struct error *err)
{
    struct runtime_start s = {
        .id = m->o->id,
        .bundle = m->o->bundle,
        .run_dir = m->o->run_dir,
        .terminal = m->o->terminal,
        .size = m->size,
        .network_fd = m->o->network_fd,
        .tap_fds = m->tap_fds,
        .n_tap_fds = ARRAY_SIZE(m->tap_fds),
    };
    struct runtime_started started = {.pid = 0, .console = -EBADF};
    int r = streams_make(m, &s, err);
    if (r == 0)
        r = m->runtime->start(&s, &started, err);
    streams_close_child_ends(&s);
    if (r == 0)
        r = streams_adopt(m, started.console, err);
    if (r == 0) {
        m->pid_fd = pidfd_open(started.pid, 0);
        if (m->pid_fd < 0)
            r = error_errno(err, errno, "watch process %d", (int)started.pid);
    }
    if (r < 0) {
        if (started.pid > 0) {
            kill(started.pid, SIGKILL);
            waitpid(started.pid, NULL, 0);
        }
        streams_close(m);
        return r;
    }
    m->phase = PHASE_RUNNING;
    m->deadline_ms = 0;
    m->started_ms = time_monotonic_ms();
    m->status.pid = started.pid;
    if (process_start_ticks(started.pid, &m->status.start_ticks) < 0)
        m->status.start_ticks = 0; /* it has ended already, or /proc is closed to us */
    if (m->spare)
        save_status(m);
    else
        begin_run(m);
    return 0;
}

bool monitor_begin(struct monitor *m)
{
    if (!m->spare || m->phase != PHASE_RUNNING)
        return false;
    m->spare = false;
    m->started_ms = time_monotonic_ms();
    begin_run(m);
    return true;
}

static void run_ended(struct monitor *m, int exit_code, const char *error)
{
    m->status.pid = 0;
    m->status.exit_code = exit_code;
    m->status.finished_ns = time_now_ns();
    snprintf(m->status.error, sizeof(m->status.error), "%.255s", error);
}

static int prepare(struct monitor *m, struct error *err)
{
    m->bundle_fd = open(m->o->bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (m->bundle_fd < 0)
        return error_errno(err, errno, "open %s", m->o->bundle);
    int r = log_writer_open(&m->log, m->bundle_fd, m->o->log_max_bytes, m->o->log_files, err);
    if (r == 0)
        r = clients_listen(m, err);
    if (r < 0)
        return r;
    if (m->o->attach_fd >= 0) {
        r = fd_set_nonblock(m->o->attach_fd, true);
        if (r < 0)
            return error_errno(err, r, "use the attach descriptor");
        clients_add(m, m->o->attach_fd, true);
    }
    m->status.state = MONITOR_STARTING;
    m->status.monitor_pid = getpid();
    save_status(m);
    return 0;
}

/* One line: ok with the pid, or the error. A starter that has gone is no reason to stop. */
static void tell_ready(struct monitor *m, const struct error *err)
{
    char line[700];
    if (m->o->ready_fd < 0)
        return;
    int len = err ? snprintf(line, sizeof(line), "error %s %d %s\n", error_kind_name(err->kind),
                             err->code, err->msg)
                  : snprintf(line, sizeof(line), "ok %d\n", (int)m->status.pid);
    (void)!fd_write_all(m->o->ready_fd, line, (size_t)MIN(len, (int)sizeof(line) - 1));
    close_fd(m->o->ready_fd);
}

static void remove_socket(struct monitor *m)
{
    char path[4096];
    if (m->listen_fd < 0)
        return;
    m->listen_fd = close_fd(m->listen_fd);
    snprintf(path, sizeof(path), "%s/monitor.sock", m->o->run_dir);
    unlink(path);
}

/* --- ending --- */

static void next_phase(struct monitor *m)
{
    int64_t wait_ms, now = time_monotonic_ms();
    streams_close(m);
    log_writer_flush(&m->log);
    if (!m->stopping &&
        restart_again(&m->restart, m->status.exit_code, now - m->started_ms, &wait_ms)) {
        m->phase = PHASE_WAITING;
        m->deadline_ms = now + wait_ms;
        m->status.state = MONITOR_RESTARTING;
        m->status.restarts = m->restart.count;
        save_status(m);
        return;
    }
    m->phase = PHASE_TELLING;
    m->deadline_ms = 0;
    m->status.state = MONITOR_EXITED;
    log_writer_close(&m->log);
    save_status(m);
    remove_socket(m);
}

static void reap(struct monitor *m)
{
    siginfo_t info = {0};
    int code = 255; /* somebody else took the status: cannot happen, but must not hang */
    if (waitid(P_PID, (id_t)m->status.pid, &info, WEXITED | WNOWAIT | WNOHANG) == 0) {
        if (info.si_pid == 0)
            return;
        code = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
        m->status.oom_killed =
            code != 0 && m->runtime->oom_killed && m->runtime->oom_killed(m->status.pid);
        waitpid(m->status.pid, NULL, WNOHANG);
    }
    m->pid_fd = close_fd(m->pid_fd);
    health_end(&m->health);
    run_ended(m, code, "");
    m->kill_ms = 0;
    m->phase = PHASE_DRAINING;
    m->deadline_ms = time_monotonic_ms() + DRAIN_MS;
}

static void try_again(struct monitor *m)
{
    struct error err = ERROR_INIT;
    sigset_t none, old;
    if (m->stopping) {
        next_phase(m);
        return;
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, &old);
    int r = start_once(m, &err);
    sigprocmask(SIG_SETMASK, &old, NULL);
    if (r < 0) {
        run_ended(m, error_exit_code(&err), err.msg);
        m->started_ms = time_monotonic_ms();
        next_phase(m);
    }
}

static void stop_by_signal(struct monitor *m)
{
    stop_signal = 0;
    monitor_stop_wanted(m);
    if (m->phase == PHASE_RUNNING) {
        kill(m->status.pid, SIGTERM);
        m->kill_ms = time_monotonic_ms() + STOP_MS;
    }
}

/* What time alone brings about. */
static void pass_time(struct monitor *m)
{
    bool foreground;
    int64_t now = time_monotonic_ms();
    clients_drop_late(m, now);
    if (m->kill_ms && now >= m->kill_ms) {
        m->kill_ms = 0;
        if (m->phase == PHASE_RUNNING)
            kill(m->status.pid, SIGKILL);
    }
    if (m->health.next_ms && now >= m->health.next_ms)
        health_start(&m->health, m->o->finish, m->o->root, m->o->id, now);
    if (m->phase == PHASE_DRAINING) {
        if (clients_pending(m, &foreground))
            m->deadline_ms = now + DRAIN_MS;
        else if (!streams_open(m) || now >= m->deadline_ms)
            next_phase(m);
    }
    if (m->phase == PHASE_WAITING && now >= m->deadline_ms)
        try_again(m);
    if (m->phase == PHASE_TELLING) {
        clients_tell_exit(m);
        if (clients_all_told(m))
            m->phase = PHASE_DONE;
    }
}

/* --- the loop --- */

enum {
    AT_LISTEN,
    AT_PID,
    AT_OUT,
    AT_ERR,
    AT_IN,
    AT_HEALTH,
    AT_LEASES,
    AT_CLIENTS = AT_LEASES + BUNDLE_NETWORKS_MAX + 1
};

static void fill_poll(const struct monitor *m, struct pollfd *fds)
{
    bool foreground, pending = clients_pending(m, &foreground);
    fds[AT_LISTEN] = (struct pollfd){m->listen_fd, POLLIN, 0};
    fds[AT_PID] = (struct pollfd){m->pid_fd, POLLIN, 0};
    fds[AT_OUT] = (struct pollfd){pending ? -1 : m->output[0], POLLIN, 0};
    fds[AT_ERR] = (struct pollfd){pending ? -1 : m->output[1], POLLIN, 0};
    fds[AT_IN] = (struct pollfd){m->stdin_len > 0 ? m->input : -1, POLLOUT, 0};
    fds[AT_HEALTH] = (struct pollfd){m->health.check.pid_fd, POLLIN, 0};
    leases_poll(&m->leases, time_monotonic_ms(), fds + AT_LEASES);
    for (size_t i = 0; i < MAX_CLIENTS; i++) {
        const struct attached *c = &m->clients[i];
        short events = (short)((c->stalled ? 0 : POLLIN) | (c->pending ? POLLOUT : 0));
        /* One whose message has to wait is not watched at all: its hang-up waits with it. */
        fds[AT_CLIENTS + i] = (struct pollfd){events ? c->fd : -1, events, 0};
    }
}

static int64_t next_deadline(const struct monitor *m)
{
    int64_t next = m->deadline_ms;
    if (m->kill_ms && (next == 0 || m->kill_ms < next))
        next = m->kill_ms;
    if (m->health.next_ms && (next == 0 || m->health.next_ms < next))
        next = m->health.next_ms;
    if (m->leases.next_ms && (next == 0 || m->leases.next_ms < next))
        next = m->leases.next_ms;
    for (size_t i = 0; i < MAX_CLIENTS; i++) {
        const struct attached *c = &m->clients[i];
        if (c->fd >= 0 && c->deadline_ms && (next == 0 || c->deadline_ms < next))
            next = c->deadline_ms;
    }
    return next;
}

static void handle_poll(struct monitor *m, const struct pollfd *fds)
{
    bool foreground;
    for (size_t i = 0; i < MAX_CLIENTS; i++) {
        struct attached *c = &m->clients[i];
        short got = fds[AT_CLIENTS + i].revents;
        if (got && c->fd == fds[AT_CLIENTS + i].fd && c->pending &&
            (got & (POLLOUT | POLLERR | POLLHUP)))
            clients_push(m, c);
        if (got && c->fd == fds[AT_CLIENTS + i].fd && (got & ~POLLOUT) && !c->stalled)
            clients_read(m, c);
    }
    if (fds[AT_IN].revents)
        streams_write_input(m);
    for (int which = 0; which < 2; which++)
        if (fds[AT_OUT + which].revents && m->output[which] >= 0 &&
            !clients_pending(m, &foreground))
            streams_read(m, which);
    if (fds[AT_HEALTH].revents && m->health.check.pid_fd >= 0)
        health_reap(&m->health, time_monotonic_ms());
    leases_handle(&m->leases, fds + AT_LEASES,
                  &(struct call_spec){.program = m->o->finish,
                                      .root = m->o->root,
                                      .verb = "lease",
                                      .id = m->o->id,
                                      .fds = {-EBADF, m->o->network_fd}},
                  m->tap_fds, time_monotonic_ms());
    if (fds[AT_PID].revents && m->pid_fd >= 0)
        reap(m);
    if (fds[AT_LISTEN].revents && m->listen_fd >= 0)
        clients_accept(m);
}

static void run_loop(struct monitor *m)
{
    struct pollfd fds[AT_CLIENTS + MAX_CLIENTS];
    sigset_t none;
    sigemptyset(&none);
    while (m->phase != PHASE_DONE) {
        if (stop_signal)
            stop_by_signal(m);
        int64_t next = next_deadline(m), left = MAX(next - time_monotonic_ms(), (int64_t)0);
        if (next == 0)
            left = IDLE_MS;
        struct timespec timeout = {left / 1000, (left % 1000) * 1000000};
        fill_poll(m, fds);
        int n = ppoll(fds, ARRAY_SIZE(fds), &timeout, &none);
        if (n == 0 && next == 0)
            n = trim_and_wait(fds, ARRAY_SIZE(fds), &none);
        if (n > 0)
            handle_poll(m, fds);
        pass_time(m);
    }
}

/* Its link was nobody's address, and taking it apart costs the kernel 20 ms: they are left to our
 * own end, for which nobody waits. */
static bool is_free_card(const struct monitor_options *o, size_t position)
{
    return position < o->n_tap_fds && position >= o->n_tap_fds - MIN(o->free_cards, o->n_tap_fds);
}

/* Whoever closes a link's last descriptor waits for that. QEMU is still dying now, and its control
 * group is waited for: it must not be the last. */
static void outlive_qemu(const struct monitor *m)
{
    struct timespec pause = {.tv_nsec = QEMU_ENDS_MS * 1000000L};
    if (m->o->free_cards > 0)
        nanosleep(&pause, NULL);
}

static void release(struct monitor *m)
{
    for (size_t i = 0; i < MAX_CLIENTS; i++)
        m->clients[i].fd = close_fd(m->clients[i].fd);
    remove_socket(m);
    log_writer_close(&m->log);
    m->bundle_fd = close_fd(m->bundle_fd);
    /* Before the lock: who sees it free may take the same host ports and the same tap at once. */
    for (size_t i = 0; i < m->o->n_hold_fds; i++)
        close_fd(m->o->hold_fds[i]);
    leases_done(&m->leases);
    for (size_t i = 0; i < ARRAY_SIZE(m->tap_fds); i++)
        if (!is_free_card(m->o, i))
            close_fd(m->tap_fds[i]);
    close_fd(m->o->network_fd);
    if (m->lock_fd >= 0)
        flock(m->lock_fd, LOCK_UN); /* even if a child has inherited the descriptor */
    m->lock_fd = close_fd(m->lock_fd);
}

/* What the log holds nothing of need not stay. */
static void remove_empty_log(struct monitor *m)
{
    struct stat st;
    if (m->log.fd >= 0 && fstat(m->log.fd, &st) == 0 && st.st_size == 0)
        unlinkat(m->bundle_fd, "log", 0);
}

int monitor_run(const struct monitor_options *o, const struct monitor_runtime *runtime,
                bool *ret_finish, struct error *err)
{
    static struct monitor m; /* in pages that cost nothing until they are touched */
    sigset_t blocked;
    memset(&m, 0, offsetof(struct monitor, log));
    m.o = o;
    m.runtime = runtime;
    m.restart = o->restart;
    m.spare = o->spare;
    m.size = o->size;
    m.health.check.pid_fd = -EBADF;
    leases_init(&m.leases);
    for (size_t i = 0; i < BUNDLE_NETWORKS_MAX; i++) {
        leases_put(&m.leases, i, o->lease_fds[i]);
        m.tap_fds[i] = i < o->n_tap_fds ? o->tap_fds[i] : -EBADF;
    }
    m.bundle_fd = m.lock_fd = m.listen_fd = m.pid_fd = m.input = -EBADF;
    m.output[0] = m.output[1] = m.log.fd = -EBADF;
    for (size_t i = 0; i < MAX_CLIENTS; i++)
        m.clients[i].fd = -EBADF;
    handle_signals(&blocked);
    int r = take_lock(&m, err);
    bool locked = r == 0;
    if (r == 0)
        r = prepare(&m, err);
    if (r == 0)
        r = start_once(&m, err);
    if (r < 0) {
        if (locked && m.status.state == MONITOR_STARTING) {
            m.status.state = MONITOR_EXITED;
            run_ended(&m, error_exit_code(err), err->msg);
            save_status(&m);
            remove_empty_log(&m);
        }
        release(&m);
        tell_ready(&m, err);
        return r;
    }
    tell_ready(&m, NULL);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    run_loop(&m);
    *ret_finish = !m.finish_taken;
    release(&m);
    if (!*ret_finish)
        outlive_qemu(&m);
    return 0;
}
