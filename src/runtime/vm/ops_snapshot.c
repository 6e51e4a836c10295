/* A snapshot of a running machine: asked of proa-vm, which does it (relay_snapshot.c). */
#include "base/fd_pass.h"
#include "base/text.h"
#include "runtime/vm/client.h"
#include "runtime/vm/ops-internal.h"
#include "wire/agent/snapshot.h"

static int ask(const struct runtime_target *t, const struct runtime_snapshot *s,
               struct runtime_snapshot_done *ret, struct error *err)
{
    _cleanup_client_ struct agent_client c = AGENT_CLIENT_INIT;
    struct agent_frame f;
    int fds[MACHINE_DISKS_MAX + 2];
    size_t n = 0;
    uint32_t flags = s->freeze ? AGENT_SNAPSHOT_FREEZE : 0;
    _Static_assert(MACHINE_DISKS_MAX == AGENT_SNAPSHOT_DISKS_MAX, "a flag for each disk");
    for (unsigned int i = 0; i < MACHINE_DISKS_MAX; i++)
        if (s->disks & 1u << i) {
            flags |= AGENT_SNAPSHOT_DISK(i);
            fds[n] = s->disk_fds[n];
            n++;
        }
    if (s->memory_fd >= 0) {
        flags |= AGENT_SNAPSHOT_MEMORY;
        fds[n++] = s->memory_fd;
    }
    if (s->moved_fd >= 0) {
        flags |= AGENT_SNAPSHOT_HOLD;
        fds[n++] = s->moved_fd;
    }
    ret->lease_fd = -EBADF;
    int r = agent_client_open(&c, t, err);
    if (r == 0)
        r = agent_client_patient(&c, err); /* a whole memory may be written */
    if (r < 0)
        return r;
    r = agent_add_u32(&c.out, AGENT_SNAPSHOT, 1, flags);
    if (r == 0)
        r = fd_pass_many(c.fd, c.out.data, c.out.len, fds, n);
    if (r < 0)
        return error_errno(err, r, "talk to the machine");
    buf_reset(&c.out);
    r = agent_client_answer(&c, &f, err);
    if (r == 0)
        r = agent_get_snapshot_reply(&f, &ret->frozen, &ret->pause_us, err);
    if (r == 0 && s->moved_fd >= 0)
        ret->lease_fd = TAKE_FD(c.fd);
    return r;
}

/* A system of its own freezes its file systems through QEMU's guest agent, while this connection is
 * open. A light machine refuses: its agent does that when it settles. */
static bool quiesce(const struct runtime_target *t, struct agent_client *c)
{
    struct agent_frame f;
    struct error ignored = ERROR_INIT;
    return agent_client_open(c, t, &ignored) == 0 &&
           agent_frame_add(&c->out, AGENT_QUIESCE, 1, NULL, 0) == 0 &&
           agent_client_answer(c, &f, &ignored) == 0 && f.type == AGENT_STARTED;
}

/* False when they have not stood still all the time. */
static bool release(struct agent_client *c)
{
    struct agent_frame f;
    struct error ignored = ERROR_INIT;
    buf_reset(&c->in);
    return agent_add_close(&c->out, 1, 0) == 0 && agent_client_answer(c, &f, &ignored) == 0 &&
           f.type == AGENT_OK;
}

/* Memory with file systems that stand still in it would be no use. */
int vm_ops_snapshot(const struct runtime_target *t, const struct runtime_snapshot *s,
                    struct runtime_snapshot_done *ret, struct error *err)
{
    _cleanup_client_ struct agent_client c = AGENT_CLIENT_INIT;
    struct runtime_snapshot wanted = *s;
    int64_t began_us = time_now_ns() / 1000;
    bool quiet = s->freeze && s->memory_fd < 0 && quiesce(t, &c);
    wanted.freeze = s->freeze && !quiet;
    int r = ask(t, &wanted, ret, err);
    if (quiet && r == 0) {
        ret->frozen = release(&c);
        ret->pause_us = (uint64_t)(time_now_ns() / 1000 - began_us);
    }
    return r;
}
