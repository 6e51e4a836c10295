/*
 * proa-vm's loop: the guest's port, QMP, the console, QEMU's stderr, agent.sock and its clients,
 * the workload's stdio, signals. No privilege is left by now; the guest and QEMU are not trusted:
 * a frame that is none, or more data than credit was given for, ends the machine with one line.
 *
 * Phases follow the agent's answers: hello -> start (configure and start are sent) -> run -> stop
 * -> end. The ready descriptor gets its line when the workload's exec has succeeded, or the error
 * that prevented it. RUN_DIR/timing gets a line for each phase: milliseconds since proa-vm began.
 */
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/terminal.h"
#include "base/text.h"
#include "runtime/vm/relay-internal.h"
#include "wire/qmp/qmp.h"

#define START_TIMEOUT_MS 180000
#define STOP_TIMEOUT_MS  30000

static void agent_open(struct relay *m, struct client *c, const struct agent_frame *f)
{
    struct error err = ERROR_INIT;
    if (f->type == AGENT_SIZE) {
        memory_request(m, c, f);
        return;
    }
    if (f->type == AGENT_SCREENSHOT || f->type == AGENT_CARD) {
        c->stream = 0;
        error_set(&err, ERROR_UNSUPPORTED, EOPNOTSUPP, "a light machine has no %s",
                  f->type == AGENT_CARD ? "place for another network card" : "screen");
        client_answer_error(c, &err);
        return;
    }
    relay_must(agent_frame_add(&m->guest_out, f->type, c->stream, f->payload, f->len));
}

static void agent_more(struct relay *m, struct client *c, const struct agent_frame *f)
{
    relay_must(agent_frame_add(&m->guest_out, f->type, c->stream, f->payload, f->len));
}

static int agent_signal(struct relay *m, uint32_t signum, struct error *err)
{
    (void)err;
    relay_must(agent_add_u32(&m->guest_out, AGENT_SIGNAL, AGENT_WORKLOAD, signum));
    return 0;
}

/* Its process gets an end of input and runs on. */
static int agent_gone(struct relay *m, struct client *c)
{
    relay_must(agent_add_close(&m->guest_out, c->stream, 0));
    return 1;
}

/* The cheapest of what every agent answers, on a stream that no command has. */
static bool agent_ask(struct relay *m)
{
    return m->guest_out.len < GUEST_OUT_SOFT &&
           agent_frame_add(&m->guest_out, AGENT_STATS, UINT32_MAX, NULL, 0) == 0;
}

const struct relay_guest relay_agent = {
    .open = agent_open,
    .more = agent_more,
    .signal = agent_signal,
    .gone = agent_gone,
    .settle = agent_settle,
    .release = agent_release,
    .continued = agent_continued,
    .ask = agent_ask,
    .resizes = memory_busy,
    .restored = agent_restored,
};

/* Both orders at once: the second fails by itself when the first has failed. */
static void send_orders(struct relay *m)
{
    struct agent_configure c = *m->r->configure;
    m->phase = PHASE_START;
    if (m->r->qemu->bundle->spare) {
        spare_send_orders(m);
        return;
    }
    c.clock_ns = time_now_ns();
    relay_must(agent_configure_add(&m->guest_out, &c));
    relay_must(agent_start_add(&m->guest_out, m->r->start));
}

static void on_hello(struct relay *m, const struct agent_frame *f)
{
    struct error err = ERROR_INIT;
    uint32_t version;
    int r = agent_get_u32(f, &version, &err);
    if (r == 0 && (version != AGENT_VERSION || m->phase != PHASE_BOOT))
        r = error_set(&err, ERROR_UNSUPPORTED, EPROTO,
                      "the machine speaks version %u of the agent's protocol, not %u; run: proa "
                      "kernel add",
                      version, AGENT_VERSION);
    if (r < 0) {
        relay_fail(m, &err);
        return;
    }
    relay_note_time(m, "agent");
    send_orders(m);
}

void relay_started(struct relay *m)
{
    static const char ok[] = "ok\n";
    relay_note_time(m, "started");
    m->phase = PHASE_RUN;
    m->deadline_ms = 0;
    if (spare_answer(m, NULL))
        return;
    (void)!write(m->r->ready_fd, ok, sizeof(ok) - 1);
    close(m->r->ready_fd);
    close_fd(m->r->order_fd);
}

static void on_exit_status(struct relay *m, const struct agent_frame *f)
{
    struct error err = ERROR_INIT;
    uint32_t status;
    if (agent_get_u32(f, &status, &err) < 0) {
        relay_fail(m, &err);
        return;
    }
    relay_note_time(m, "exited");
    m->status = (int)(status & 0xff);
    /* Nobody will read the disk again, so nobody waits for QEMU to let go of it; volumes, though,
     * may have pages that are not written yet. */
    if (m->ephemeral && m->r->qemu->shares->n == 0) {
        kill(m->r->qemu->pid, SIGKILL);
        m->r->qemu->pid = 0;
        relay_kill(m, m->status);
        return;
    }
    m->phase = PHASE_STOP;
    m->deadline_ms = time_monotonic_ms() + STOP_TIMEOUT_MS;
    relay_must(agent_frame_add(&m->guest_out, AGENT_SHUTDOWN, 0, NULL, 0));
}

static void output_flush(struct relay *m, uint8_t channel)
{
    struct output *o = &m->output[channel];
    while (o->buf.len > 0) {
        ssize_t n = o->broken ? (ssize_t)o->buf.len : write(o->fd, o->buf.data, o->buf.len);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0) {
            o->broken = true;
            continue;
        }
        buf_consume(&o->buf, (size_t)n);
        if (m->phase == PHASE_RUN)
            relay_must(agent_add_credit(&m->guest_out, AGENT_WORKLOAD, channel, (uint32_t)n));
    }
}

static void on_data(struct relay *m, const struct agent_frame *f)
{
    struct error err = ERROR_INIT;
    uint8_t channel;
    const char *data;
    size_t len;
    int r = agent_get_data(f, &channel, &data, &len, &err);
    if (r == 0 && channel > 0)
        r = buf_add(&m->output[channel].buf, data, len);
    if (r < 0) {
        error_set(&err, ERROR_CORRUPT, EPROTO, "the machine sent more than was asked for");
        relay_fail(m, &err);
    } else if (channel > 0) {
        output_flush(m, channel);
    }
}

static void on_credit(struct relay *m, const struct agent_frame *f)
{
    uint8_t channel;
    uint32_t n;
    if (agent_get_credit(f, &channel, &n, NULL) == 0 && channel == 0)
        m->stdin_credit = MIN(m->stdin_credit + n, AGENT_WINDOW);
}

static void on_ok(struct relay *m)
{
    if (m->phase == PHASE_START && m->r->qemu->bundle->spare) {
        spare_ready(m);
    } else if (m->phase == PHASE_START) {
        relay_note_time(m, "configured");
    } else if (m->phase == PHASE_STOP) {
        relay_note_time(m, "stopped");
        relay_kill(m, m->status);
    }
}

static void on_guest_error(struct relay *m, const struct agent_frame *f)
{
    struct error err = ERROR_INIT;
    (void)!agent_get_error(f, &err);
    if (m->phase < PHASE_RUN)
        relay_fail(m, &err);
}

static void on_settled(struct relay *m, const struct agent_frame *f)
{
    uint32_t frozen;
    if (agent_get_u32(f, &frozen, NULL) == 0)
        snapshot_settled(m, frozen != 0);
}

static void on_frame(struct relay *m, const struct agent_frame *f)
{
    if (f->stream > AGENT_WORKLOAD) {
        if (!memory_frame(m, f))
            client_frame(m, f);
        return;
    }
    switch (f->type) {
    case AGENT_HELLO:
        on_hello(m, f);
        break;
    case AGENT_OK:
        on_ok(m);
        break;
    case AGENT_ERROR:
        on_guest_error(m, f);
        break;
    case AGENT_STARTED:
        if (m->phase == PHASE_START)
            relay_started(m);
        break;
    case AGENT_DATA:
        on_data(m, f);
        break;
    case AGENT_CREDIT:
        on_credit(m, f);
        break;
    case AGENT_SETTLED:
        on_settled(m, f);
        break;
    case AGENT_EXIT:
        if (m->phase == PHASE_RUN)
            on_exit_status(m, f);
        break;
    default:
        break;
    }
}

static void guest_readable(struct relay *m)
{
    char *space;
    struct error err = ERROR_INIT;
    relay_must(buf_reserve(&m->guest_in, 65536, &space));
    ssize_t n = read(m->r->qemu->agent_fd, space, 65536);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        relay_fail_ended(m);
        return;
    }
    watch_heard(m, WATCH_GUEST);
    m->guest_in.len += (size_t)n;
    size_t at = 0, used = 1;
    while (m->phase != PHASE_END && used > 0) {
        struct agent_frame f;
        if (agent_frame_parse(m->guest_in.data + at, m->guest_in.len - at, &f, &used, &err) < 0) {
            relay_fail(m, &err);
            return;
        }
        if (used > 0)
            on_frame(m, &f);
        at += used;
    }
    if (at > 0)
        buf_consume(&m->guest_in, at);
}

static void console_readable(struct relay *m)
{
    char data[4096];
    ssize_t n = read(m->r->qemu->console_fd, data, sizeof(data));
    if (n > 0)
        vm_console_add(&m->console, data, (size_t)n);
}

static void stdin_readable(struct relay *m)
{
    char data[16384];
    ssize_t n = read(0, data, MIN(sizeof(data), (size_t)m->stdin_credit));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        m->stdin_open = false;
        relay_must(agent_add_close(&m->guest_out, AGENT_WORKLOAD, 0));
        return;
    }
    m->stdin_credit -= (uint32_t)n;
    relay_must(agent_add_data(&m->guest_out, AGENT_WORKLOAD, 0, data, (size_t)n));
}

static void reap(struct relay *m)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == m->r->qemu->pid && m->phase != PHASE_END) {
            m->r->qemu->pid = 0;
            relay_errors_readable(m);
            console_readable(m);
            relay_fail_ended(m);
        }
}

static void resize(struct relay *m)
{
    struct terminal_size size = terminal_size(0);
    if (size.rows)
        relay_must(agent_add_resize(&m->guest_out, AGENT_WORKLOAD, size.rows, size.columns));
}

static void signal_readable(struct relay *m)
{
    struct signalfd_siginfo info;
    if (read(m->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (info.ssi_signo == SIGCHLD) {
        reap(m);
    } else if (info.ssi_signo == SIGWINCH) {
        if (m->phase == PHASE_RUN)
            resize(m);
    } else if (m->phase == PHASE_RUN) {
        relay_must(agent_add_u32(&m->guest_out, AGENT_SIGNAL, AGENT_WORKLOAD, info.ssi_signo));
    } else if (m->phase < PHASE_RUN) {
        struct error e = ERROR_INIT;
        error_set(&e, ERROR_CONFLICT, EINTR, "stopped while the machine was starting");
        relay_fail(m, &e);
    }
}

enum {
    POLL_GUEST,
    POLL_QMP,
    POLL_CONSOLE,
    POLL_ERRORS,
    POLL_SIGNAL,
    POLL_STDIN,
    POLL_STDOUT,
    POLL_STDERR,
    POLL_LISTEN,
    POLL_CLIENTS,
};

static void poll_set(struct relay *m, struct pollfd *set)
{
    const struct vm_qemu *q = m->r->qemu;
    bool room = m->guest_out.len < GUEST_OUT_SOFT;
    bool run = m->phase == PHASE_RUN;
    set[POLL_GUEST] = (struct pollfd){q->agent_fd, POLLIN, 0};
    set[POLL_GUEST].events |= agent_may_send(m) ? POLLOUT : 0;
    set[POLL_QMP] = (struct pollfd){q->qmp_fd, POLLIN, 0};
    set[POLL_QMP].events |= m->qmp_out.len ? POLLOUT : 0;
    set[POLL_CONSOLE] = (struct pollfd){q->console_fd, POLLIN, 0};
    set[POLL_ERRORS] = (struct pollfd){q->stderr_fd, POLLIN, 0};
    set[POLL_SIGNAL] = (struct pollfd){m->signal_fd, POLLIN, 0};
    bool in = run && m->stdin_open && m->stdin_credit && room;
    set[POLL_STDIN] = (struct pollfd){in ? 0 : -1, POLLIN, 0};
    for (int i = 1; i < 3; i++)
        set[POLL_STDIN + i] =
            (struct pollfd){m->output[i].buf.len ? m->output[i].fd : -1, POLLOUT, 0};
    bool listens = run || m->phase == PHASE_SPARE;
    set[POLL_LISTEN] = (struct pollfd){listens ? m->r->listen_fd : -1, POLLIN, 0};
    client_poll_set(m, set + POLL_CLIENTS);
}

static int timeout_of(const struct relay *m)
{
    int64_t nearest = 0, times[] = {m->deadline_ms, snapshot_deadline(m), memory_deadline(),
                                    watch_deadline(m), boot_deadline(m)};
    for (size_t i = 0; i < ARRAY_SIZE(times); i++)
        if (times[i] && (!nearest || times[i] < nearest))
            nearest = times[i];
    return nearest ? (int)MAX(nearest - time_monotonic_ms(), (int64_t)0) : -1;
}

static void turn(struct relay *m)
{
    struct pollfd set[POLL_CLIENTS + CLIENTS_MAX];
    poll_set(m, set);
    if (poll(set, ARRAY_SIZE(set), timeout_of(m)) < 0)
        return;
    if (set[POLL_ERRORS].revents)
        relay_errors_readable(m);
    if (set[POLL_CONSOLE].revents)
        console_readable(m);
    if (set[POLL_QMP].revents)
        relay_qmp_readable(m);
    for (uint8_t i = 1; i < 3; i++)
        if (set[POLL_STDIN + i].revents)
            output_flush(m, i);
    if (set[POLL_STDIN].revents)
        stdin_readable(m);
    if (set[POLL_GUEST].revents & (POLLIN | POLLHUP | POLLERR))
        guest_readable(m);
    if (set[POLL_SIGNAL].revents && m->phase != PHASE_END)
        signal_readable(m);
    client_handle(m, set + POLL_CLIENTS, set[POLL_LISTEN].revents != 0);
    snapshot_tick(m);
    memory_tick(m);
    watch_tick(m);
    boot_tick(m);
    agent_flush(m);
    client_go_on(m);
    relay_flush(m->r->qemu->qmp_fd, &m->qmp_out);
}

static void on_deadline(struct relay *m)
{
    struct error e = ERROR_INIT;
    const char *last = vm_console_last(&m->console);
    if (m->phase == PHASE_STOP) { /* what was written is in QEMU's files all the same */
        relay_kill(m, m->status);
        return;
    }
    if (m->phase == PHASE_SPARE) {
        relay_kill(m, 0);
        return;
    }
    error_set(&e, ERROR_SYSTEM, ETIMEDOUT, "the machine did not start within %d seconds%s%s",
              START_TIMEOUT_MS / 1000, *last ? ": " : "", last);
    relay_fail(m, &e);
}

/* What the workload wrote last may still wait for a slow reader. */
static void drain_output(struct relay *m)
{
    for (uint8_t i = 1; i < 3; i++)
        if (m->output[i].buf.len > 0) {
            (void)!fd_set_nonblock(m->output[i].fd, false);
            output_flush(m, i);
        }
}

int vm_relay_run(const struct vm_relay *r)
{
    static struct relay m = {
        .guest_in = BUF_INIT(2 * AGENT_PAYLOAD_MAX),
        .guest_out = BUF_INIT(8 * AGENT_PAYLOAD_MAX),
        .qmp_in = BUF_INIT(QMP_LINE_MAX),
        .qmp_out = BUF_INIT(QMP_LINE_MAX),
        .errors = BUF_INIT(1024),
        .stdin_credit = AGENT_WINDOW,
        .stdin_open = true,
        .next_stream = AGENT_WORKLOAD,
        .guest = &relay_agent,
    };
    m.r = r;
    m.ephemeral = r->qemu->bundle->ephemeral;
    m.shape = vm_qemu_shape(r->qemu);
    snapshot_init(&m);
    m.phase = r->qemu->memory_fd >= 0 ? PHASE_LOAD : PHASE_BOOT;
    m.console.log_fd = r->logs.console_fd;
    for (int i = 1; i < 3; i++) {
        m.output[i] = (struct output){.fd = i, .buf = BUF_INIT(AGENT_WINDOW)};
        (void)!fd_set_nonblock(i, true);
    }
    m.signal_fd = relay_open_signals();
    m.deadline_ms = time_monotonic_ms() + START_TIMEOUT_MS;
    relay_note_time(&m, r->qemu->role == VM_CLONE ? "restored" : "qemu");
    if (r->qemu->role == VM_CLONE) /* said hello as a template */
        send_orders(&m);
    while (m.phase != PHASE_END) {
        if (m.deadline_ms && time_monotonic_ms() >= m.deadline_ms)
            on_deadline(&m);
        else
            turn(&m);
    }
    drain_output(&m);
    return m.status;
}
