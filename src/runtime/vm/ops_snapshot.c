/* A snapshot of a running machine: asked of proa-vm, which does it (relay_snapshot.c). */
#include "base/fd_pass.h"
#include "runtime/vm/client.h"
#include "runtime/vm/ops-internal.h"
#include "wire/agent/snapshot.h"

int vm_ops_snapshot(const struct runtime_target *t, const struct runtime_snapshot *s,
                    struct runtime_snapshot_done *ret, struct error *err)
{
    _cleanup_client_ struct agent_client c = AGENT_CLIENT_INIT;
    struct agent_frame f;
    int fds[3];
    size_t n = 0;
    uint32_t flags = s->freeze ? AGENT_SNAPSHOT_FREEZE : 0;
    if (s->disk_fd >= 0) {
        flags |= AGENT_SNAPSHOT_DISK;
        fds[n++] = s->disk_fd;
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
