/*
 * What every machine's loop does with QEMU itself: its protocol, its last words, its end. QEMU is
 * not trusted: lines are bounded, and an answer that nobody waits for is dropped.
 *
 * QEMU answers commands in the order in which they are given, so those that wait are a queue.
 *
 * A write that the host has no room for stops the machine (werror=enospc, QEMU's rule for disks)
 * before its system hears of it: it is halted, which is written where commands look
 * (RUNTIME_HALTED), until it is told to go on; then the write is tried again.
 */
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "runtime/vm/relay-internal.h"

#define STATUS_FAILED 125

void relay_must(int r)
{
    if (r < 0) {
        fprintf(stderr, "proa-vm: %s\n", strerror(-r));
        _exit(STATUS_FAILED); /* QEMU dies with us */
    }
}

void relay_note_time(struct relay *m, const char *name)
{
    char line[64];
    int n = snprintf(line, sizeof(line), "%s=%lld\n", name,
                     (long long)(time_monotonic_ms() - m->r->started_ms));
    if (m->r->logs.timing_fd >= 0 && n > 0)
        (void)!write(m->r->logs.timing_fd, line, (size_t)n);
}

void relay_kill(struct relay *m, int status)
{
    /* Waited for: it holds the disk's lock, and the next machine may want it at once. */
    if (m->r->qemu->pid > 0) {
        kill(m->r->qemu->pid, SIGKILL);
        while (waitpid(m->r->qemu->pid, NULL, 0) < 0 && errno == EINTR)
            ;
        m->r->qemu->pid = 0;
    }
    m->status = status;
    m->phase = PHASE_END;
}

/* Before the start has succeeded the monitor gets the error; afterwards the log does. */
void relay_fail(struct relay *m, const struct error *e)
{
    char line[700];
    if (m->phase < PHASE_RUN && spare_answer(m, e))
        return;
    if (m->phase < PHASE_RUN) {
        int n = snprintf(line, sizeof(line), "error %s %d %s\n", error_kind_name(e->kind), e->code,
                         e->msg);
        (void)!write(m->r->ready_fd, line, (size_t)n);
    } else {
        int n = snprintf(line, sizeof(line), "proa-vm: %s\n", e->msg);
        (void)!write(2, line, (size_t)n);
    }
    relay_kill(m, error_exit_code(e));
}

void relay_fail_ended(struct relay *m)
{
    struct error e = ERROR_INIT;
    const char *last = vm_console_last(&m->console);
    const char *why = m->errors.len ? m->errors.data : *last ? last : m->event;
    error_set(&e, ERROR_SYSTEM, EIO, "machine ended unexpectedly%s%s", *why ? ": " : "", why);
    relay_fail(m, &e);
}

void relay_flush(int fd, struct buf *out)
{
    while (out->len > 0) {
        ssize_t n = send(fd, out->data, out->len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n <= 0)
            return; /* full, or gone: its reading side tells */
        buf_consume(out, (size_t)n);
    }
}

/* A descriptor goes with the bytes that are sent with it, so they are sent at once. */
static int send_with(struct relay *m, const char *text, int fd)
{
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec parts[] = {{(char *)text, strlen(text)}, {(char *)"\r\n", 2}};
    struct msghdr message = {.msg_iov = parts,
                             .msg_iovlen = 2,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    *c = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    relay_flush(m->r->qemu->qmp_fd, &m->qmp_out);
    if (m->qmp_out.len > 0)
        return -EAGAIN;
    ssize_t n = sendmsg(m->r->qemu->qmp_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0)
        return -errno;
    /* What did not fit follows without the descriptor, which went with the first byte. */
    size_t sent = (size_t)n, len = parts[0].iov_len;
    int r = sent < len ? buf_add(&m->qmp_out, text + sent, len - sent) : 0;
    size_t tail = sent > len ? sent - len : 0;
    return r < 0 ? r : buf_add(&m->qmp_out, &"\r\n"[tail], 2 - tail);
}

int relay_qmp(struct relay *m, const char *command, json_t *arguments, int fd, relay_qmp_done done,
              void *context)
{
    _cleanup_json_ json_t *o = json_pack("{s:s}", "execute", command);
    if (arguments)
        json_object_set_new(o, "arguments", arguments);
    _cleanup_free_ char *text = json_to_text(o);
    if (m->n_qmp_waits == ARRAY_SIZE(m->qmp_waits))
        return -EBUSY;
    int r = fd < 0 ? buf_addf(&m->qmp_out, "%s\r\n", text) : send_with(m, text, fd);
    if (r < 0)
        return r;
    m->qmp_waits[m->n_qmp_waits++] = (struct qmp_wait){done, context};
    return 0;
}

/* --- standing still --- */

static void set_halted(struct relay *m, const char *why)
{
    (void)!ftruncate(m->r->logs.halted_fd, 0);
    (void)!pwrite(m->r->logs.halted_fd, why, strlen(why), 0);
    m->halted = *why != '\0';
}

static void on_disk_error(struct relay *m, const struct qmp_message *q)
{
    const char *why = q->no_room ? "the host's disk is full" : "the host's disk fails";
    char line[128];
    if (!q->stops || m->halted)
        return;
    set_halted(m, why);
    int n =
        snprintf(line, sizeof(line), "proa-vm: %s: the machine waits for proa unpause\r\n", why);
    (void)!write(2, line, (size_t)n);
}

bool relay_still(const struct relay *m)
{
    return m->frozen || m->halted;
}

int relay_freeze(struct relay *m, bool frozen, struct error *err)
{
    int r = relay_qmp(m, frozen ? "stop" : "cont", NULL, -EBADF, NULL, NULL);
    if (r < 0)
        return error_set(err, ERROR_SYSTEM, ETIMEDOUT,
                         "the machine does not answer: %zu commands wait for its QEMU already",
                         m->n_qmp_waits);
    m->frozen = frozen;
    if (frozen)
        return 0;
    set_halted(m, "");
    m->guest->continued(m);
    return 0;
}

static void on_capabilities(struct relay *m, void *context, const struct qmp_message *q)
{
    (void)context;
    m->qmp_ready = q->type == QMP_RETURN;
    if (m->qmp_ready && m->phase == PHASE_LOAD)
        load_begin(m);
}

static void on_answer(struct relay *m, const struct qmp_message *q)
{
    if (m->n_qmp_waits == 0)
        return;
    struct qmp_wait wait = m->qmp_waits[0];
    m->n_qmp_waits--;
    memmove(m->qmp_waits, m->qmp_waits + 1, m->n_qmp_waits * sizeof(wait));
    if (wait.done)
        wait.done(m, wait.context, q);
}

static void on_qmp(struct relay *m, const struct qmp_message *q)
{
    if (q->type == QMP_GREETING)
        relay_must(relay_qmp(m, "qmp_capabilities", NULL, -EBADF, on_capabilities, NULL));
    else if (q->type != QMP_EVENT)
        on_answer(m, q);
    else if (strcmp(q->name, "MIGRATION") == 0 && m->phase == PHASE_LOAD)
        load_event(m, q);
    else if (strcmp(q->name, "MIGRATION") == 0)
        snapshot_event(m, q);
    else if (strcmp(q->name, "BLOCK_IO_ERROR") == 0)
        on_disk_error(m, q);
    else if (strcmp(q->name, "RESUME") == 0 && m->halted)
        set_halted(m, "");
    else if (strcmp(q->name, "RESET") == 0 && m->guest->reset)
        m->guest->reset(m);
    else if (strcmp(q->name, "DEVICE_DELETED") == 0 && m->guest->let_go)
        m->guest->let_go(q->text);
    else if (strcmp(q->name, "SHUTDOWN") == 0)
        snprintf(m->event, sizeof(m->event), "%.80s", q->text);
}

void relay_qmp_readable(struct relay *m)
{
    char data[4096];
    struct error err = ERROR_INIT;
    ssize_t n = read(m->r->qemu->qmp_fd, data, sizeof(data));
    if (n <= 0)
        return;
    watch_heard(m, WATCH_QEMU);
    if (buf_add(&m->qmp_in, data, (size_t)n) < 0) {
        error_set(&err, ERROR_LIMIT, EFBIG, "QEMU sent a line that is too long");
        relay_fail(m, &err);
        return;
    }
    for (char *end_; (end_ = memchr(m->qmp_in.data, '\n', m->qmp_in.len));) {
        struct qmp_message q;
        size_t len = (size_t)(end_ - m->qmp_in.data);
        if (len > 1 && qmp_parse(m->qmp_in.data, len, &q, &err) == 0)
            on_qmp(m, &q);
        buf_consume(&m->qmp_in, len + 1);
    }
}

/* QEMU's stderr: its last line explains an end. */
void relay_errors_readable(struct relay *m)
{
    char data[1024];
    ssize_t n = read(m->r->qemu->stderr_fd, data, sizeof(data));
    while (n > 0 && data[n - 1] == '\n')
        n--;
    char *line = n > 0 ? memrchr(data, '\n', (size_t)n) : NULL;
    if (n > 0) {
        buf_reset(&m->errors);
        (void)!buf_add(&m->errors, line ? line + 1 : data,
                       line ? (size_t)(data + n - line - 1) : (size_t)n);
    }
}

int relay_open_signals(void)
{
    static const int wanted[] = {SIGCHLD, SIGTERM, SIGINT,   SIGHUP,  SIGQUIT,
                                 SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT, SIGALRM};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
        sigaddset(&set, wanted[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int vm_size_parse(const struct agent_frame *f, uint32_t *ret_cpus, uint64_t *ret_memory,
                  struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    const char *text;
    int64_t memory = 0;
    *ret_cpus = 0;
    int r = agent_get_string(f, &text, err);
    if (r == 0)
        r = json_parse(text, strlen(text), "what to grow by", &o, err);
    if (r == 0)
        r = json_get_u32(o, "grow", "cpus", ret_cpus, err);
    if (r == 0)
        r = json_get_i64(o, "grow", "memory", &memory, err);
    *ret_memory = (uint64_t)MAX(memory, (int64_t)0);
    *ret_memory -= *ret_memory % VM_SHAPE_UNIT;
    return r;
}
