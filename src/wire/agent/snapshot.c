#include "wire/agent/snapshot.h"

#include <stdlib.h>

#include "wire/agent/cursor.h"

static struct agent_reader reader(const struct agent_frame *f)
{
    return (struct agent_reader){(const unsigned char *)f->payload, f->len, 0};
}

int agent_resume_add(struct buf *out, const struct agent_resume *r)
{
    struct agent_writer w = AGENT_WRITER_INIT;
    agent_write_u8(&w, r->restored);
    agent_write_u64(&w, (uint64_t)r->clock_ns);
    agent_write_bytes(&w, r->seed, r->seed_len);
    agent_write_networks(&w, r->networks, r->n_networks);
    return agent_write_end(&w, out, AGENT_RESUME, 0);
}

int agent_resume_get(const struct agent_frame *f, struct agent_resume *ret, struct error *err)
{
    struct agent_reader r = reader(f);
    struct agent_resume m = {.restored = agent_read_bool(&r)};
    m.clock_ns = (int64_t)agent_read_u64(&r);
    m.seed = agent_read_bytes(&r, &m.seed_len);
    m.networks = agent_read_networks(&r, &m.n_networks);
    if (m.clock_ns < 0)
        r.error = -EPROTO;
    int bad = agent_read_end(&r, err);
    if (bad < 0)
        agent_resume_done(&m);
    else
        *ret = m;
    return bad;
}

void agent_resume_done(struct agent_resume *r)
{
    free(r->networks);
    r->networks = NULL;
    r->n_networks = 0;
}

int agent_add_snapshot_reply(struct buf *out, uint32_t stream, bool frozen, uint64_t pause_us)
{
    struct agent_writer w = AGENT_WRITER_INIT;
    agent_write_u8(&w, frozen);
    agent_write_u64(&w, pause_us);
    return agent_write_end(&w, out, AGENT_SNAPSHOT_REPLY, stream);
}

int agent_get_snapshot_reply(const struct agent_frame *f, bool *ret_frozen, uint64_t *ret_pause_us,
                             struct error *err)
{
    struct agent_reader r = reader(f);
    bool frozen = agent_read_bool(&r);
    uint64_t pause_us = agent_read_u64(&r);
    if (f->type != AGENT_SNAPSHOT_REPLY)
        return error_set(err, ERROR_CORRUPT, EPROTO, "unexpected answer from the machine");
    int bad = agent_read_end(&r, err);
    if (bad == 0) {
        *ret_frozen = frozen;
        *ret_pause_us = pause_us;
    }
    return bad;
}
