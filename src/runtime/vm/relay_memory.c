/*
 * The memory of a light machine that runs: less than it was started with, and that again. What the
 * guest gives back is in its balloon: pages that its kernel has taken for nobody, which QEMU lets
 * the host have. The workload's control group in the guest gets a limit to fit, so that a workload
 * that wants more is refused as in a container, and the kernel and the agent keep their part.
 *
 *   ASK      the guest says how much its kernel has in all: less than the machine
 *   LIMIT    it hears how much that will be, and limits its workload's group to what is left beside
 *            the kernel's own (guest/limits.c); refused when the workload has more in use
 *   BALLOON  QEMU tells the guest's kernel, and is asked until that has done it
 *
 * Less is done in this order. For more the balloon comes first. What fails, or takes too long, is
 * taken back, without waiting for it: the machine is as it was, or is on its way there.
 */
#include "base/text.h"
#include "runtime/vm/relay-internal.h"

#define MIB        ((uint64_t)1 << 20)
#define LEAST      (96 * MIB) /* what a machine can be started with */
#define ANSWER_MS  5000
#define STALL_MS   6000  /* of the balloon, without getting anywhere */
#define BALLOON_MS 10000 /* and in all, and for each MiB */
#define MIB_MS     125
#define LOOK_MS    20

enum step {
    STEP_NONE,
    STEP_ASK,
    STEP_LIMIT,
    STEP_BALLOON,
};
static const enum step shrinking[] = {STEP_ASK, STEP_LIMIT, STEP_BALLOON, STEP_NONE};
static const enum step growing[] = {STEP_BALLOON, STEP_ASK, STEP_LIMIT, STEP_NONE};

static struct {
    const enum step *step; /* NULL: nothing is done */
    struct client *client;
    uint32_t stream;              /* in the guest, of the client's */
    uint64_t was, wanted;         /* bytes of the machine, and of its workload's group: 0 for */
    uint64_t limit_was, limit;    /* no limit */
    bool limiting;                /* the guest has been told the new one */
    uint64_t actual;              /* what QEMU said last */
    int64_t look_ms, deadline_ms; /* when QEMU is asked again; when it has taken too long */
    int64_t end_ms;               /* the latest deadline of the balloon */
    uintptr_t serial;             /* tells answers of QEMU's that come too late */
} resize;

static void enter(struct relay *m);

static int limit_workload(struct relay *m, uint64_t bytes)
{
    char text[64];
    snprintf(text, sizeof(text), "{\"memory\":{\"limit\":%lld}}", bytes ? (long long)bytes : -1ll);
    return agent_add_string(&m->guest_out, AGENT_LIMITS, resize.stream, text);
}

static int set_balloon(struct relay *m, uint64_t left)
{
    return relay_qmp(m, "balloon", json_pack("{s:I}", "value", (json_int_t)left), -EBADF, NULL,
                     NULL);
}

static void finish(const struct error *e)
{
    struct client *c = resize.client;
    resize.step = NULL;
    resize.look_ms = resize.deadline_ms = 0;
    resize.serial++;
    if (c->fd >= 0 && e)
        relay_must(agent_add_error(&c->out, 1, e));
    else if (c->fd >= 0)
        relay_must(agent_frame_add(&c->out, AGENT_OK, 1, NULL, 0));
    client_end(c);
}

/* The guest's answer to what is taken back finds nobody, as its stream has ended. */
static void fail(struct relay *m, const struct error *e)
{
    if (resize.limiting)
        relay_must(limit_workload(m, resize.limit_was));
    if (m->shape.left != resize.was || *resize.step == STEP_BALLOON)
        (void)!set_balloon(m, resize.was);
    m->shape.left = resize.was;
    finish(e);
}

static void advance(struct relay *m)
{
    resize.step++;
    resize.look_ms = 0;
    if (*resize.step != STEP_NONE)
        enter(m);
    else
        finish(NULL);
}

static int64_t mib_to_move(void)
{
    uint64_t bytes = MAX(resize.was, resize.wanted) - MIN(resize.was, resize.wanted);
    return (int64_t)(bytes / MIB);
}

static int begin_step(struct relay *m)
{
    int64_t now = time_monotonic_ms();
    resize.deadline_ms = now + ANSWER_MS;
    switch (*resize.step) {
    case STEP_ASK:
        return agent_frame_add(&m->guest_out, AGENT_STATS, resize.stream, NULL, 0);
    case STEP_LIMIT:
        resize.limiting = true;
        return limit_workload(m, resize.limit);
    case STEP_BALLOON:
        resize.deadline_ms = now + STALL_MS;
        resize.end_ms = now + BALLOON_MS + mib_to_move() * MIB_MS;
        resize.look_ms = now;
        return set_balloon(m, resize.wanted);
    default:
        return 0;
    }
}

static void enter(struct relay *m)
{
    struct error err = ERROR_INIT;
    int r = begin_step(m);
    if (r < 0) {
        error_set(&err, ERROR_SYSTEM, -r, "the machine does not answer");
        fail(m, &err);
    }
}

/* --- answers --- */

/* What the kernel does not even count is the same at any size. At the one that a machine was
 * started with nothing is limited. */
static uint64_t limit_at(const struct relay *m, uint64_t size, uint64_t uncounted)
{
    return size == m->shape.memory ? 0 : size - MIN(uncounted, size - 1);
}

static int choose_limit(struct relay *m, const struct agent_frame *f, struct error *err)
{
    struct agent_stats s;
    int r = agent_stats_get(f, &s, err);
    if (r < 0)
        return r;
    uint64_t uncounted = m->shape.left - MIN(s.memory_limit, m->shape.left);
    resize.limit_was = limit_at(m, resize.was, uncounted);
    resize.limit = limit_at(m, resize.wanted, uncounted);
    return 0;
}

bool memory_frame(struct relay *m, const struct agent_frame *f)
{
    struct error err = ERROR_INIT;
    if (!resize.step || f->stream != resize.stream)
        return false;
    int r = 0;
    if (f->type == AGENT_ERROR)
        r = agent_get_error(f, &err);
    else if (*resize.step == STEP_ASK && f->type == AGENT_STATS_REPLY)
        r = choose_limit(m, f, &err);
    else if (*resize.step != STEP_LIMIT || f->type != AGENT_OK)
        return true;
    if (r < 0)
        fail(m, &err);
    else
        advance(m);
    return true;
}

static void on_balloon(struct relay *m, void *context, const struct qmp_message *q)
{
    struct error err = ERROR_INIT;
    if ((uintptr_t)context != resize.serial || !resize.step || *resize.step != STEP_BALLOON)
        return;
    if (q->type == QMP_ERROR) {
        error_set(&err, ERROR_SYSTEM, EIO, "QEMU: %s", q->text);
        fail(m, &err);
    } else if (q->actual == resize.wanted) {
        m->shape.left = resize.wanted;
        advance(m);
    } else {
        int64_t now = time_monotonic_ms();
        if (q->actual != resize.actual)
            resize.deadline_ms = MIN(now + STALL_MS, resize.end_ms);
        resize.actual = q->actual;
        resize.look_ms = now + LOOK_MS;
    }
}

/* --- time --- */

bool memory_busy(void)
{
    return resize.step != NULL;
}

int64_t memory_deadline(void)
{
    return resize.look_ms ? MIN(resize.look_ms, resize.deadline_ms) : resize.deadline_ms;
}

void memory_tick(struct relay *m)
{
    struct error err = ERROR_INIT;
    int64_t now = time_monotonic_ms();
    if (!resize.step || now < memory_deadline())
        return;
    if (now < resize.deadline_ms) {
        resize.look_ms = 0;
        (void)!relay_qmp(m, "query-balloon", NULL, -EBADF, on_balloon, (void *)resize.serial);
        return;
    }
    if (*resize.step == STEP_BALLOON)
        error_set(&err, ERROR_LIMIT, ENOMEM,
                  "the machine's kernel does not give its memory back: it has %llu MiB as before",
                  (unsigned long long)(resize.was / MIB));
    else
        error_set(&err, ERROR_SYSTEM, ETIMEDOUT, "the machine does not answer");
    fail(m, &err);
}

/* --- the request --- */

static int check(const struct relay *m, uint32_t cpus, uint64_t memory, struct error *err)
{
    if (cpus)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "a light machine keeps the processors that it has started with");
    if (memory > m->shape.memory)
        return error_set(err, ERROR_LIMIT, E2BIG,
                         "--memory: the machine was started with %llu MiB, and has no more while "
                         "it runs: stop it first",
                         (unsigned long long)(m->shape.memory / MIB));
    if (memory < LEAST)
        return error_invalid(err, "--memory: a machine needs at least %llu MiB",
                             (unsigned long long)(LEAST / MIB));
    if (resize.step || m->snapshot.step)
        return error_set(err, ERROR_CONFLICT, EBUSY, "the machine is %s: try again",
                         resize.step ? "being resized already" : "being kept in a snapshot");
    return 0;
}

void memory_request(struct relay *m, struct client *c, const struct agent_frame *f)
{
    struct error err = ERROR_INIT;
    uint32_t cpus;
    uint64_t memory;
    int r = vm_size_parse(f, &cpus, &memory, &err);
    if (r == 0)
        r = check(m, cpus, memory, &err);
    if (r < 0 || memory == m->shape.left) {
        c->stream = 0;
        if (r < 0)
            client_answer_error(c, &err);
        else
            client_answer_ok(c);
        return;
    }
    resize.client = c;
    resize.stream = c->stream;
    resize.was = m->shape.left;
    resize.wanted = memory;
    resize.limiting = false;
    resize.actual = 0;
    resize.step = memory < m->shape.left ? shrinking : growing;
    enter(m);
}
