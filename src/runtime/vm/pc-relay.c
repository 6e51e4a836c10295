/*
 * proa-vm's loop for a machine that boots a disk. Its stdio is the serial console, bytes as they
 * are; a signal that asks it to end is a press of the power button; its end is QEMU's.
 *
 *   load    (from a snapshot's memory) until that is there (relay_load.c)
 *   boot    until QEMU answers: the ready descriptor gets its line, the start has succeeded
 *   run     until QEMU ends. The system switched off: status 0. It panicked: 1
 *   stop    killed: QEMU is asked to write its files and go, and killed when it does not; 137
 *
 * A reset of the system is QEMU's own affair and no end. No privilege is left by now; neither the
 * guest nor QEMU is trusted. What the guest writes to its console waits in the pty for whoever
 * reads it, and the guest with it: nothing here grows.
 */
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/text.h"
#include "runtime/vm/pc-internal.h"

#define START_TIMEOUT_MS 60000
#define QUIT_TIMEOUT_MS  4000
#define BUTTON_AGAIN_MS  5000
#define CONSOLE_MAX      ((size_t)64 << 10)

#define STATUS_PANIC  1
#define STATUS_KILLED (128 + SIGKILL)

static struct {
    struct relay base;
    struct buf to_guest, from_guest; /* of the serial console */
    int64_t button_ms;               /* when the power button is pressed again; 0: not at all */
} pc;

/* --- the power button and the end --- */

/* Pressed again until it works: a system that is still booting hears the first one not. An agent
 * inside is asked first: it works where nobody looks at the button. */
static void press_button(struct relay *m)
{
    pc.button_ms = time_monotonic_ms() + BUTTON_AGAIN_MS;
    if (!pc_guest_shutdown(m))
        (void)!relay_qmp(m, "system_powerdown", NULL, -EBADF, NULL, NULL);
}

static void quit(struct relay *m)
{
    m->status = STATUS_KILLED;
    if (m->phase == PHASE_STOP)
        return;
    m->phase = PHASE_STOP;
    pc.button_ms = 0;
    m->deadline_ms = time_monotonic_ms() + QUIT_TIMEOUT_MS;
    (void)!relay_qmp(m, "quit", NULL, -EBADF, NULL, NULL);
}

static int pc_signal(struct relay *m, uint32_t signum, struct error *err)
{
    switch (signum) {
    case SIGTERM:
    case SIGINT:
    case SIGHUP:
    case SIGQUIT:
    case SIGPWR:
        press_button(m);
        return 0;
    case SIGKILL:
        quit(m);
        return 0;
    default:
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "a machine that boots a disk knows no signal %u: TERM, INT, HUP, QUIT and "
                         "PWR press its power button, KILL cuts its power",
                         signum);
    }
}

void pc_answer(struct client *c, const struct error *e)
{
    if (!c)
        return;
    c->stream = 0;
    if (e)
        client_answer_error(c, e);
    else
        client_answer_ok(c);
}

static void pc_open(struct relay *m, struct client *c, const struct agent_frame *f)
{
    if (f->type == AGENT_SCREENSHOT)
        pc_screen_shoot(m, c);
    else if (f->type == AGENT_SIZE)
        pc_grow(m, c, f);
    else if (f->type == AGENT_CARD)
        pc_card(m, c, f);
    else
        pc_guest_open(m, c, f);
}

static int pc_gone(struct relay *m, struct client *c)
{
    return pc_screen_gone(c) || pc_grow_gone(c) || pc_card_gone(c) ? 0 : pc_guest_gone(m, c);
}

/* The system inside goes on where it was; what is left of the start is that QEMU answers. */
static void pc_restored(struct relay *m)
{
    pc_guest_restored(m);
    m->phase = PHASE_BOOT;
}

static bool pc_changes(void)
{
    return pc_grows() || pc_card_leaves();
}

static const struct relay_guest guest = {
    .open = pc_open,
    .more = pc_guest_more,
    .signal = pc_signal,
    .gone = pc_gone,
    .continued = pc_guest_continued,
    .ask = pc_guest_ask,
    .reset = pc_guest_reset,
    .resizes = pc_changes,
    .let_go = pc_card_deleted,
    .restored = pc_restored,
};

static void say(const char *line)
{
    (void)!fd_set_nonblock(2, false);
    (void)!write(2, line, strlen(line));
}

static void on_end(struct relay *m)
{
    relay_qmp_readable(m); /* its last word: why */
    relay_errors_readable(m);
    m->r->qemu->pid = 0;
    if (m->phase == PHASE_STOP || strcmp(m->event, "guest-shutdown") == 0) {
        m->phase = PHASE_END;
    } else if (strcmp(m->event, "guest-panic") == 0) {
        say("proa-vm: the system inside panicked\r\n");
        m->status = STATUS_PANIC;
        m->phase = PHASE_END;
    } else {
        relay_fail_ended(m);
    }
}

static void reap(struct relay *m)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == m->r->qemu->pid && m->phase != PHASE_END)
            on_end(m);
}

static void signal_readable(struct relay *m)
{
    struct signalfd_siginfo info;
    struct error err = ERROR_INIT;
    if (read(m->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (info.ssi_signo == SIGCHLD) {
        reap(m);
    } else if (info.ssi_signo != SIGWINCH && m->phase <= PHASE_BOOT) {
        error_set(&err, ERROR_CONFLICT, EINTR, "stopped while the machine was starting");
        relay_fail(m, &err);
    } else if (m->phase == PHASE_RUN) {
        (void)!pc_signal(m, info.ssi_signo, &err);
    }
}

/* --- the console --- */

static void console_flush(void)
{
    while (pc.from_guest.len > 0) {
        ssize_t n = write(1, pc.from_guest.data, pc.from_guest.len);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0)
            n = (ssize_t)pc.from_guest.len; /* nobody reads: the guest must not notice */
        buf_consume(&pc.from_guest, (size_t)n);
    }
}

static void console_readable(struct relay *m)
{
    char data[4096];
    ssize_t n = read(m->r->qemu->console_fd, data, sizeof(data));
    if (n <= 0)
        return;
    vm_console_add(&m->console, data, (size_t)n);
    relay_must(buf_add(&pc.from_guest, data, (size_t)n));
    console_flush();
}

static void stdin_readable(struct relay *m)
{
    char data[4096];
    ssize_t n = read(0, data, sizeof(data));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        m->stdin_open = false;
    else
        relay_must(buf_add(&pc.to_guest, data, (size_t)n));
}

/* --- the loop --- */

enum {
    POLL_GUEST,
    POLL_QMP,
    POLL_CONSOLE,
    POLL_ERRORS,
    POLL_SIGNAL,
    POLL_STDIN,
    POLL_STDOUT,
    POLL_LISTEN,
    POLL_VIEWERS,
    POLL_CLIENTS,
};

static void poll_set(struct relay *m, struct pollfd *set)
{
    const struct vm_qemu *q = m->r->qemu;
    bool run = m->phase == PHASE_RUN;
    bool room = pc.from_guest.len + 4096 <= CONSOLE_MAX;
    bool in = run && m->stdin_open && pc.to_guest.len + 4096 <= CONSOLE_MAX;
    set[POLL_GUEST] = (struct pollfd){q->agent_fd, pc_guest_events(m), 0};
    set[POLL_QMP] = (struct pollfd){q->qmp_fd, POLLIN, 0};
    set[POLL_QMP].events |= m->qmp_out.len ? POLLOUT : 0;
    set[POLL_CONSOLE] = (struct pollfd){room || pc.to_guest.len ? q->console_fd : -1, 0, 0};
    set[POLL_CONSOLE].events |= (room ? POLLIN : 0) | (pc.to_guest.len ? POLLOUT : 0);
    set[POLL_ERRORS] = (struct pollfd){q->stderr_fd, POLLIN, 0};
    set[POLL_SIGNAL] = (struct pollfd){m->signal_fd, POLLIN, 0};
    set[POLL_STDIN] = (struct pollfd){in ? 0 : -1, POLLIN, 0};
    set[POLL_STDOUT] = (struct pollfd){pc.from_guest.len ? 1 : -1, POLLOUT, 0};
    set[POLL_LISTEN] = (struct pollfd){run ? m->r->listen_fd : -1, POLLIN, 0};
    set[POLL_VIEWERS] = (struct pollfd){run ? m->r->vnc_fd : -1, POLLIN, 0};
    client_poll_set(m, set + POLL_CLIENTS);
}

static int timeout_of(struct relay *m)
{
    int64_t nearest = 0, times[] = {m->deadline_ms, pc.button_ms, pc_guest_deadline(m),
                                    snapshot_deadline(m), watch_deadline(m)};
    for (size_t i = 0; i < ARRAY_SIZE(times); i++)
        if (times[i] && (!nearest || times[i] < nearest))
            nearest = times[i];
    return nearest ? (int)MAX(nearest - time_monotonic_ms(), (int64_t)0) : -1;
}

static void on_time(struct relay *m)
{
    int64_t now = time_monotonic_ms();
    struct error e = ERROR_INIT;
    if (pc_guest_deadline(m) && now >= pc_guest_deadline(m))
        pc_guest_tick(m);
    if (pc.button_ms && now >= pc.button_ms)
        press_button(m);
    snapshot_tick(m);
    watch_tick(m);
    if (!m->deadline_ms || now < m->deadline_ms)
        return;
    if (m->phase == PHASE_STOP) {
        relay_kill(m, m->status);
        return;
    }
    error_set(&e, ERROR_SYSTEM, ETIMEDOUT, "QEMU did not answer within %d seconds",
              START_TIMEOUT_MS / 1000);
    relay_fail(m, &e);
}

static void turn(struct relay *m)
{
    struct pollfd set[POLL_CLIENTS + CLIENTS_MAX];
    const struct vm_qemu *q = m->r->qemu;
    poll_set(m, set);
    if (poll(set, ARRAY_SIZE(set), timeout_of(m)) < 0)
        return;
    if (set[POLL_ERRORS].revents)
        relay_errors_readable(m);
    if (set[POLL_QMP].revents)
        relay_qmp_readable(m);
    if (set[POLL_STDOUT].revents)
        console_flush();
    if (set[POLL_CONSOLE].revents & (POLLIN | POLLHUP))
        console_readable(m);
    if (set[POLL_STDIN].revents)
        stdin_readable(m);
    if (set[POLL_GUEST].revents)
        pc_guest_ready(m, set[POLL_GUEST].revents);
    if (set[POLL_SIGNAL].revents && m->phase != PHASE_END)
        signal_readable(m);
    if (set[POLL_VIEWERS].revents)
        pc_screen_accept(m);
    client_handle(m, set + POLL_CLIENTS, set[POLL_LISTEN].revents != 0);
    relay_flush(q->console_fd, &pc.to_guest);
    relay_flush(q->qmp_fd, &m->qmp_out);
}

static void on_ready(struct relay *m)
{
    static const char ok[] = "ok\n";
    relay_note_time(m, "started");
    m->phase = PHASE_RUN;
    m->deadline_ms = 0;
    (void)!write(m->r->ready_fd, ok, sizeof(ok) - 1);
    close(m->r->ready_fd);
}

/* What the guest wrote last may still be in QEMU's socket, or wait for a slow reader. */
static void drain(struct relay *m)
{
    char data[4096];
    (void)!fd_set_nonblock(1, false);
    console_flush();
    for (ssize_t n; (n = read(m->r->qemu->console_fd, data, sizeof(data))) > 0;) {
        vm_console_add(&m->console, data, (size_t)n);
        if (fd_write_all(1, data, (size_t)n) < 0)
            return;
    }
}

int vm_pc_relay_run(const struct vm_relay *r)
{
    struct relay *m = &pc.base;
    *m = (struct relay){
        .r = r,
        .guest = &guest,
        .qmp_in = BUF_INIT(QMP_LINE_MAX),
        .qmp_out = BUF_INIT(QMP_LINE_MAX),
        .errors = BUF_INIT(1024),
        .stdin_open = true,
        .next_stream = AGENT_WORKLOAD,
        .console = {.log_fd = r->logs.console_fd},
        .shape = vm_qemu_shape(r->qemu),
        .phase = r->qemu->memory_fd >= 0 ? PHASE_LOAD : PHASE_BOOT,
        .deadline_ms = time_monotonic_ms() + START_TIMEOUT_MS,
    };
    snapshot_init(m);
    pc.to_guest = pc.from_guest = (struct buf)BUF_INIT(CONSOLE_MAX);
    (void)!fd_set_nonblock(0, true);
    (void)!fd_set_nonblock(1, true);
    m->signal_fd = relay_open_signals();
    relay_note_time(m, "qemu");
    while (m->phase != PHASE_END) {
        on_time(m);
        if (m->phase == PHASE_END)
            break;
        turn(m);
        if (m->phase == PHASE_BOOT && m->qmp_ready)
            on_ready(m);
    }
    drain(m);
    return m->status;
}
