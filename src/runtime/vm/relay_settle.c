/*
 * The channel to a light machine's agent while a snapshot is made: AGENT_SETTLE is the last that is
 * sent, and what comes behind it in guest_out waits until AGENT_RESUME has gone before it.
 */
#include <sys/socket.h>

#include "base/text.h"
#include "runtime/vm/relay-internal.h"

int agent_settle(struct relay *m, bool freeze)
{
    int r = agent_add_u32(&m->guest_out, AGENT_SETTLE, 0, freeze);
    m->settled = r == 0;
    m->may_send = m->guest_out.len;
    return r;
}

void agent_release(struct relay *m)
{
    static const struct agent_resume resume = {.seed = ""};
    struct buf all = BUF_INIT(m->guest_out.max);
    /* What of AGENT_SETTLE, and before it, has not gone yet stays in front. */
    relay_must(buf_add(&all, m->guest_out.data, m->may_send));
    relay_must(agent_resume_add(&all, &resume));
    relay_must(buf_add(&all, m->guest_out.data + m->may_send, m->guest_out.len - m->may_send));
    buf_done(&m->guest_out);
    m->guest_out = all;
    m->settled = false;
}

/* A guest that takes nothing more does not need to hear it again and again. */
void agent_continued(struct relay *m)
{
    const struct agent_resume resume = {.seed = "", .clock_ns = time_now_ns()};
    if (m->guest_out.len < GUEST_OUT_SOFT)
        relay_must(agent_resume_add(&m->guest_out, &resume));
}

void agent_restored(struct relay *m)
{
    struct agent_resume resume = *m->r->resume;
    resume.clock_ns = time_now_ns();
    relay_must(agent_resume_add(&m->guest_out, &resume));
    relay_started(m);
}

size_t agent_may_send(const struct relay *m)
{
    return m->settled ? m->may_send : m->guest_out.len;
}

void agent_flush(struct relay *m)
{
    for (size_t may; (may = agent_may_send(m)) > 0;) {
        ssize_t n = send(m->r->qemu->agent_fd, m->guest_out.data, may, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n <= 0)
            return; /* full, or gone: its reading side tells */
        buf_consume(&m->guest_out, (size_t)n);
        m->may_send -= m->settled ? (size_t)n : 0;
    }
}
