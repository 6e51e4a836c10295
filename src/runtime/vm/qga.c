/*
 * The line to the agent: one request at a time, those of all tasks in turn.
 *
 *   none -> answers   the agent sent our number back
 *   answers -> silent a request took longer than it may
 *        -> broken    what came is no answer
 *   silent, broken -> answers   as from none
 *
 * While the agent is not there a number is sent again and again, ever more seldom; it is the latest
 * that counts, and whatever comes before its answer is passed over. So bytes of an earlier life (a
 * guest that was switched off and on, an answer that came too late) are nobody's answer.
 *
 * After each try only so much is read as can have been left over, and after a loss nothing until
 * the next one: a guest that writes without end waits for us and not we for it.
 */
#include <poll.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "runtime/vm/qga-internal.h"

#define SYNC_FIRST_MS 1000
#define SYNC_LAST_MS  15000

struct qga *qga_new(int fd, const struct qga_hooks *hooks)
{
    struct qga *q = xnew(struct qga);
    q->fd = fd;
    q->hooks = *hooks;
    q->in = (struct buf)BUF_INIT(QGA_LINE_MAX + ((size_t)64 << 10));
    q->out = (struct buf)BUF_INIT((size_t)1 << 20);
    q->sync_ms = time_monotonic_ms();
    q->sync_gap_ms = SYNC_FIRST_MS;
    random_hex(q->shown, 4);
    q->number = strtoul(q->shown, NULL, 16) & 0xffffff;
    return q;
}

void qga_free(struct qga *q)
{
    if (!q)
        return;
    for (size_t i = 0; i < QGA_TASKS_MAX; i++)
        qga_task_free(&q->tasks[i]);
    buf_done(&q->in);
    buf_done(&q->out);
    free(q);
}

const char *qga_state(const struct qga *q)
{
    static const char *const words[] = {"none yet", "answers", "silent", "broken"};
    return q->state == QGA_BROKEN ? q->why : words[q->state];
}

/* --- finding each other --- */

static void fail_all(struct qga *q, const char *why)
{
    struct error e = ERROR_INIT;
    error_set(&e, ERROR_SYSTEM, ETIMEDOUT, "%s", why);
    for (size_t i = 0; i < QGA_TASKS_MAX; i++)
        if (q->tasks[i].used && q->tasks[i].patience_ms == 0)
            qga_task_fail(q, &q->tasks[i], &e);
}

/* The agent is lost: what it was doing has failed, and it is looked for again. */
static void lose(struct qga *q, enum qga_link_state state, const char *why)
{
    char line[200];
    q->state = state;
    q->current = NULL;
    snprintf(q->why, sizeof(q->why), "broken: %.100s", why);
    buf_reset(&q->in);
    buf_reset(&q->out);
    q->passed = QGA_PASSED_MAX;
    q->sync_gap_ms = SYNC_FIRST_MS;
    q->sync_ms = time_monotonic_ms() + q->sync_gap_ms;
    snprintf(line, sizeof(line), "the guest agent %s",
             state == QGA_SILENT ? "stopped answering" : why);
    fail_all(q, line);
}

static void send_sync(struct qga *q)
{
    /* One that still waits to be sent will do. */
    if (q->out.len == 0) {
        q->number++;
        (void)!qga_add_sync(&q->out, q->number);
    }
    q->passed = 0;
    q->sync_ms = time_monotonic_ms() + q->sync_gap_ms;
    q->sync_gap_ms = MIN(q->sync_gap_ms * 2, SYNC_LAST_MS);
}

static void found(struct qga *q)
{
    q->state = QGA_ANSWERS;
    q->sync_ms = 0;
    q->old = 0;
    for (size_t i = 0; i < QGA_TASKS_MAX; i++)
        q->tasks[i].patience_ms = 0;
    if (q->held) /* nobody who held file systems outlived the loss */
        qga_own_thaw(q);
    if (q->late)
        qga_own_clock(q);
    q->late = false;
}

static void on_sync_line(struct qga *q, const char *line, size_t len, bool delimited)
{
    struct qga_answer a;
    struct error ignored = ERROR_INIT;
    int64_t number;
    if (!delimited || qga_parse(line, len, &a, &ignored) < 0)
        return;
    if (a.value && qga_get_number(&a, &number, &ignored) == 0 &&
        number == (int64_t)(q->number & INT32_MAX))
        found(q);
    qga_answer_done(&a);
}

/* --- requests and answers --- */

static void step(struct qga *q, struct qga_task *t, const struct qga_answer *a)
{
    struct error err = ERROR_INIT;
    t->not_before_ms = 0;
    if (t->step(q, t, a, &err) < 0)
        qga_task_fail(q, t, &err);
}

static void on_line(struct qga *q, const char *line, size_t len, bool delimited)
{
    struct qga_answer a;
    struct error err = ERROR_INIT;
    struct qga_task *t = q->current;
    if (q->state != QGA_ANSWERS) {
        on_sync_line(q, line, len, delimited);
        return;
    }
    if (delimited && q->old++ < QGA_LATE_MAX) /* the answer to an older number, which came late */
        return;
    if (!t || delimited) {
        lose(q, QGA_BROKEN, "speaks without being asked");
        return;
    }
    if (qga_parse(line, len, &a, &err) < 0) {
        lose(q, QGA_BROKEN, "sends what is no answer");
        return;
    }
    q->current = NULL;
    step(q, t, &a);
    qga_answer_done(&a);
}

static void take_lines(struct qga *q)
{
    size_t at = 0, used = 1;
    while (used > 0) {
        const char *line;
        size_t len;
        bool delimited;
        struct error err = ERROR_INIT;
        if (qga_line(q->in.data + at, q->in.len - at, &line, &len, &delimited, &used, &err) < 0) {
            lose(q, QGA_BROKEN, "sends a line without end");
            return;
        }
        if (used > 0)
            on_line(q, line, len, delimited);
        if (q->in.len == 0) /* lost on the way */
            return;
        at += used;
    }
    buf_consume(&q->in, at);
}

static void take_input(struct qga *q)
{
    char *space;
    if (buf_reserve(&q->in, 65536, &space) < 0)
        return;
    ssize_t n = read(q->fd, space, 65536);
    if (n <= 0)
        return;
    q->in.len += (size_t)n;
    q->passed += (size_t)n;
    take_lines(q);
}

static void put_output(struct qga *q)
{
    while (q->out.len > 0) {
        ssize_t n = write(q->fd, q->out.data, q->out.len);
        if (n <= 0)
            return;
        buf_consume(&q->out, (size_t)n);
    }
}

/* A request of the next task in turn goes out; what only waited goes on. */
static void serve_tasks(struct qga *q, int64_t now)
{
    for (size_t k = 0; k < QGA_TASKS_MAX && q->state == QGA_ANSWERS; k++) {
        size_t i = (q->turn + k) % QGA_TASKS_MAX;
        struct qga_task *t = &q->tasks[i];
        if (!t->used || t->idle || t == q->current || t->not_before_ms > now)
            continue;
        if (t->request.len == 0)
            step(q, t, NULL);
        if (!t->used || t->request.len == 0 || q->current)
            continue;
        if (buf_add(&q->out, t->request.data, t->request.len) < 0)
            continue;
        buf_reset(&t->request);
        q->current = t;
        q->current_ms = now + t->give_up_ms;
        q->turn = i + 1;
    }
}

/* Those whose agent has not been found in time. */
static void end_patience(struct qga *q, int64_t now)
{
    struct error e = ERROR_INIT;
    error_set(&e, ERROR_UNSUPPORTED, EOPNOTSUPP,
              "no QEMU guest agent answers in the machine (%s): its console (proa attach) and its "
              "power button (proa stop) work without one",
              qga_state(q));
    for (size_t i = 0; i < QGA_TASKS_MAX; i++) {
        struct qga_task *t = &q->tasks[i];
        if (!t->used || t->patience_ms == 0 || t->patience_ms > now)
            continue;
        t->patience_ms = 0;
        qga_task_fail(q, t, &e);
    }
}

short qga_events(const struct qga *q)
{
    if (q->paused_ms)
        return 0;
    return (short)((q->state == QGA_ANSWERS || q->passed < QGA_PASSED_MAX ? POLLIN : 0) |
                   (q->out.len ? POLLOUT : 0));
}

static void earliest(int64_t *ret, int64_t ms)
{
    if (ms && (*ret == 0 || ms < *ret))
        *ret = ms;
}

int64_t qga_deadline_ms(const struct qga *q)
{
    int64_t ms = 0;
    if (q->paused_ms)
        return 0;
    earliest(&ms, q->sync_ms);
    if (q->current)
        earliest(&ms, q->current_ms);
    for (size_t i = 0; i < QGA_TASKS_MAX; i++) {
        const struct qga_task *t = &q->tasks[i];
        if (!t->used)
            continue;
        earliest(&ms, t->gone ? 1 : t->patience_ms);
        if (q->state == QGA_ANSWERS && t != q->current && !t->idle &&
            (t->request.len == 0 || !q->current))
            earliest(&ms, MAX(t->not_before_ms, (int64_t)1));
    }
    return ms;
}

void qga_turn(struct qga *q)
{
    int64_t now = time_monotonic_ms();
    if (q->paused_ms)
        return;
    if (qga_events(q) & POLLIN)
        take_input(q);
    if (q->current && now >= q->current_ms)
        lose(q, QGA_SILENT, "");
    if (q->sync_ms && now >= q->sync_ms)
        send_sync(q);
    qga_end_gone(q);
    end_patience(q, now);
    serve_tasks(q, now);
    put_output(q);
}

void qga_reset(struct qga *q)
{
    if (q->state != QGA_NONE)
        lose(q, QGA_NONE, "has gone: the system began anew");
}

void qga_restored(struct qga *q)
{
    q->held = q->late = true;
    q->state = QGA_NONE;
    q->sync_ms = time_monotonic_ms();
}

void qga_set_paused(struct qga *q, bool paused)
{
    int64_t now = time_monotonic_ms(), gone = now - q->paused_ms;
    if (paused == (q->paused_ms != 0))
        return;
    q->paused_ms = paused ? now : 0;
    if (paused)
        return;
    q->current_ms += gone;
}

void qga_continued(struct qga *q)
{
    if (q->state == QGA_ANSWERS)
        qga_own_clock(q);
    else
        q->late = true;
}
