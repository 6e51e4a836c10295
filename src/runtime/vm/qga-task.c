/*
 * Requests to the agent, from their frame to their end. A task belongs to a stream; when nobody
 * waits for it any more it lives on without one until the guest is tidy again.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "runtime/vm/qga-internal.h"

#define PATIENCE_MS 5000 /* how long a command waits for an agent that has not been heard of */

struct qga_task *qga_task_new(struct qga *q, uint32_t stream, enum agent_type type)
{
    for (size_t i = 0; i < QGA_TASKS_MAX; i++) {
        struct qga_task *t = &q->tasks[i];
        if (t->used)
            continue;
        *t = (struct qga_task){
            .used = true,
            .stream = stream,
            .type = type,
            .process = {.handles = {-1, -1, -1}},
            .request = BUF_INIT((size_t)2 << 20),
            .input = BUF_INIT(AGENT_WINDOW),
            .text = BUF_INIT(AGENT_PAYLOAD_MAX - 64),
            .credit = {0, AGENT_WINDOW, AGENT_WINDOW},
        };
        if (q->state != QGA_ANSWERS)
            t->patience_ms = time_monotonic_ms() + PATIENCE_MS;
        return t;
    }
    return NULL;
}

struct qga_task *qga_task_find(struct qga *q, uint32_t stream)
{
    for (size_t i = 0; i < QGA_TASKS_MAX; i++)
        if (q->tasks[i].used && q->tasks[i].stream == stream)
            return &q->tasks[i];
    return NULL;
}

void qga_task_free(struct qga_task *t)
{
    if (!t->used)
        return;
    buf_done(&t->request);
    buf_done(&t->input);
    buf_done(&t->text);
    strv_free(t->process.argv);
    free(t->path);
    json_decref(t->info);
    *t = (struct qga_task){0};
}

void qga_ask(struct qga_task *t, qga_step step)
{
    t->step = step;
    t->idle = false;
    t->not_before_ms = 0;
    t->give_up_ms = QGA_ASK_MS;
}

void qga_wait(struct qga_task *t, unsigned int ms, qga_step step)
{
    t->step = step;
    t->idle = false;
    t->not_before_ms = time_monotonic_ms() + ms;
}

void qga_idle(struct qga_task *t, qga_step step)
{
    t->step = step;
    t->idle = true;
}

int qga_need(const struct qga_answer *a, const char *what, struct error *err)
{
    return a->value ? 0 : error_set(err, ERROR_SYSTEM, EIO, "%s: %s", what, a->error);
}

/* --- answers --- */

void qga_emit(struct qga *q, const struct qga_task *t, enum agent_type type, const void *payload,
              size_t len)
{
    struct agent_frame f = {.type = type, .stream = t->stream, .payload = payload, .len = len};
    if (t->stream)
        q->hooks.emit(q->hooks.context, &f);
}

void qga_emit_buf(struct qga *q, const struct qga_task *t, const struct buf *frame)
{
    if (frame->len >= AGENT_HEADER) {
        struct agent_frame f;
        size_t used;
        if (agent_frame_parse(frame->data, frame->len, &f, &used, NULL) == 0 && used > 0)
            qga_emit(q, t, f.type, f.payload, f.len);
    }
}

/* --- the end --- */

/* What the agent says to tidying up does not matter any more. */
static int sweep(struct qga *q, struct qga_task *t, const struct qga_answer *a, struct error *err)
{
    (void)a;
    (void)err;
    if (q->state == QGA_ANSWERS && qga_process_sweep(t))
        qga_ask(t, sweep);
    else
        qga_task_free(t);
    return 0;
}

void qga_task_end(struct qga *q, struct qga_task *t)
{
    t->stream = 0;
    buf_reset(&t->request);
    if (t == q->current) /* its answer comes, and is passed over */
        qga_ask(t, sweep);
    else
        (void)!sweep(q, t, NULL, NULL);
}

void qga_task_fail(struct qga *q, struct qga_task *t, const struct error *e)
{
    _cleanup_buf_ struct buf frame = BUF_INIT(AGENT_PAYLOAD_MAX);
    if (agent_add_error(&frame, 1, e) == 0)
        qga_emit_buf(q, t, &frame);
    qga_task_end(q, t);
}

/* --- what comes from commands --- */

static int begin(struct qga *q, struct qga_task *t, const struct agent_frame *f, struct error *err)
{
    switch (f->type) {
    case AGENT_EXEC:
        return qga_exec_begin(q, t, f, err);
    case AGENT_TREE_OUT:
    case AGENT_TREE_FOLLOW:
        return qga_tree_out_begin(q, t, f, err);
    case AGENT_TREE_IN:
        return qga_tree_in_begin(q, t, f, err);
    case AGENT_TREE_WHOLE:
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "the files of a machine that boots a disk are in its disk: snapshot or "
                         "export the disk");
    default:
        return qga_query_begin(q, t, err);
    }
}

void qga_open(struct qga *q, const struct agent_frame *f)
{
    struct error err = ERROR_INIT;
    struct qga_task *t = qga_task_new(q, f->stream, f->type);
    struct qga_task none = {.stream = f->stream};
    _cleanup_buf_ struct buf frame = BUF_INIT(AGENT_PAYLOAD_MAX);
    if (!t) {
        error_set(&err, ERROR_LIMIT, EBUSY, "too many requests to the guest agent at once");
        if (agent_add_error(&frame, 1, &err) == 0)
            qga_emit_buf(q, &none, &frame);
    } else if (begin(q, t, f, &err) < 0) {
        qga_task_fail(q, t, &err);
    } else if (t->used && t->patience_ms && q->sync_gap_ms > 1000) {
        q->sync_ms = time_monotonic_ms(); /* somebody waits: look for it now */
        q->sync_gap_ms = 1000;
    }
}

static int on_data(struct qga_task *t, const struct agent_frame *f, struct error *err)
{
    uint8_t channel;
    const char *data;
    size_t len;
    int r = agent_get_data(f, &channel, &data, &len, err);
    if (r < 0 || channel != 0 || t->input_closed)
        return r;
    if (buf_add(&t->input, data, len) < 0)
        return error_set(err, ERROR_LIMIT, EFBIG, "more input than was asked for");
    qga_wake(t);
    return 0;
}

static int on_credit(struct qga_task *t, const struct agent_frame *f, struct error *err)
{
    uint8_t channel;
    uint32_t n;
    int r = agent_get_credit(f, &channel, &n, err);
    if (r < 0 || channel > 2)
        return r;
    t->credit[channel] = MIN(t->credit[channel] + n, AGENT_WINDOW);
    qga_wake(t);
    return 0;
}

void qga_more(struct qga *q, const struct agent_frame *f)
{
    struct error err = ERROR_INIT;
    struct qga_task *t = qga_task_find(q, f->stream);
    uint32_t signum;
    int r = 0;
    if (!t || f->stream == 0)
        return;
    if (f->type == AGENT_DATA) {
        r = on_data(t, f, &err);
    } else if (f->type == AGENT_CREDIT) {
        r = on_credit(t, f, &err);
    } else if (f->type == AGENT_CLOSE) {
        t->input_closed = true;
        qga_wake(t);
    } else if (f->type == AGENT_SIGNAL && t->type == AGENT_EXEC) {
        r = agent_get_u32(f, &signum, &err);
        if (r == 0)
            r = qga_process_kill(q, t, signum, &err);
    }
    if (r < 0)
        qga_task_fail(q, t, &err);
}

/* Not ended at once: this may be called from within a step that sends an answer. */
void qga_gone(struct qga *q, uint32_t stream)
{
    struct qga_task *t = stream ? qga_task_find(q, stream) : NULL;
    if (!t)
        return;
    t->stream = 0;
    t->gone = true;
}

void qga_end_gone(struct qga *q)
{
    for (size_t i = 0; i < QGA_TASKS_MAX; i++) {
        struct qga_task *t = &q->tasks[i];
        if (!t->used || !t->gone)
            continue;
        t->gone = false;
        if (t->type == AGENT_QUIESCE) { /* it ends when the file systems move again */
            t->input_closed = true;
            qga_wake(t);
        } else {
            qga_task_end(q, t);
        }
    }
}
