/*
 * A spare machine: one that was started before anybody wanted it. It has its disk, its network and
 * its identity, has rehearsed the start of a workload, and waits on agent.sock for a command that
 * takes it over: AGENT_ADOPT, AGENT_CONFIGURE and AGENT_START on one connection, checked here and
 * passed on with the clock and random numbers of now. Answered when the workload runs. Whatever
 * fails after the first of them ends the machine: it is nobody's spare any more.
 */
#include <sys/random.h>

#include "base/fd.h"
#include "base/text.h"
#include "runtime/vm/relay-internal.h"
#include "wire/agent/prepare.h"

#define TAKE_MS 60000 /* from being taken over to a workload that runs */

/* A start that is like the one to come, for all that is known. */
void spare_send_orders(struct relay *m)
{
    struct agent_configure c = *m->r->configure;
    struct buf start = BUF_INIT(2 * AGENT_PAYLOAD_MAX);
    struct agent_frame f;
    size_t used;
    c.clock_ns = time_now_ns();
    relay_must(agent_configure_add(&m->guest_out, &c));
    relay_must(agent_start_add(&start, m->r->start));
    relay_must(agent_frame_parse(start.data, start.len, &f, &used, NULL));
    relay_must(agent_frame_add(&m->guest_out, AGENT_REHEARSE, 0, f.payload, f.len));
    buf_done(&start);
}

/* Its configuration is answered first, and then the rehearsal. */
void spare_ready(struct relay *m)
{
    static const char ok[] = "ok\n";
    if (m->ready)
        return; /* configured anew */
    if (!m->configured) {
        relay_note_time(m, "configured");
        m->configured = true;
        return;
    }
    relay_note_time(m, "spare");
    m->phase = PHASE_SPARE;
    m->ready = true;
    m->deadline_ms = time_monotonic_ms() + SPARE_MS;
    (void)!write(m->r->ready_fd, ok, sizeof(ok) - 1);
    close(m->r->ready_fd);
    close_fd(m->r->order_fd);
}

static int take(struct relay *m, struct client *c, const struct agent_frame *f, struct error *err)
{
    uint32_t flags;
    int r = agent_get_u32(f, &flags, err);
    if (r < 0)
        return r;
    m->adopter = c;
    m->ephemeral = flags & AGENT_ADOPT_EPHEMERAL;
    m->phase = PHASE_START;
    m->deadline_ms = time_monotonic_ms() + TAKE_MS;
    relay_note_time(m, "taken");
    return 0;
}

static int configure(struct relay *m, const struct agent_frame *f, struct error *err)
{
    struct agent_configure c;
    char seed[64];
    int r = agent_configure_get(f, &c, err);
    if (r < 0)
        return r;
    c.clock_ns = time_now_ns();
    c.seed = seed;
    c.seed_len = getrandom(seed, sizeof(seed), 0) == (ssize_t)sizeof(seed) ? sizeof(seed) : 0;
    relay_must(agent_configure_add(&m->guest_out, &c));
    agent_configure_done(&c);
    return 0;
}

static int pass_start(struct relay *m, const struct agent_frame *f, struct error *err)
{
    struct agent_start s;
    int r = agent_start_get(f, &s, err);
    if (r == 0)
        relay_must(agent_start_add(&m->guest_out, &s));
    return r;
}

void spare_request(struct relay *m, struct client *c, const struct agent_frame *f)
{
    struct error err = ERROR_INIT;
    int r;
    if (f->type == AGENT_SIGNAL) { /* there is nothing yet that could be told anything else */
        client_answer_ok(c);
        client_flush(m, c);
        relay_kill(m, 128 + SIGKILL);
        return;
    }
    if (f->type == AGENT_ADOPT && m->phase == PHASE_SPARE)
        r = take(m, c, f, &err);
    else if (f->type == AGENT_CONFIGURE && c == m->adopter)
        r = configure(m, f, &err);
    else if (f->type == AGENT_START && c == m->adopter)
        r = pass_start(m, f, &err);
    else
        r = error_set(&err, ERROR_CONFLICT, EBUSY, "this machine runs nothing yet");
    if (r < 0 && c == m->adopter)
        spare_answer(m, &err);
    else if (r < 0)
        client_answer_error(c, &err);
}

bool spare_answer(struct relay *m, const struct error *e)
{
    struct client *c = m->adopter;
    if (!m->r->qemu->bundle->spare || m->phase < PHASE_START || !m->ready)
        return false;
    m->adopter = NULL;
    if (c && e)
        client_answer_error(c, e);
    else if (c)
        client_answer_ok(c);
    if (c)
        client_flush(m, c);
    if (e)
        relay_kill(m, error_exit_code(e));
    return true;
}
