/*
 * Standing still, from inside. After a pause the host says what the time is (AGENT_RESUME). For a
 * snapshot there is more to do: the host asks the agent to settle: the writable disk's file system
 * is frozen, so that what is on the disk is in order, and AGENT_SETTLED is the last that is sent.
 * Then both directions of the port are between two frames, and the machine's memory can be kept and
 * loaded into another process: there the agent finds a host that knows nothing of the streams that
 * were open, but for the workload's.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "base/fd.h"
#include "guest/agent-internal.h"
#include "wire/agent/snapshot.h"

static bool freeze(bool frozen)
{
    _cleanup_close_ int fd = open(GUEST_DISK, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && ioctl(fd, frozen ? FIFREEZE : FITHAW, 0) == 0;
}

int agent_settle(struct agent *a, const struct agent_frame *f, struct error *err)
{
    uint32_t wanted;
    int r = agent_get_u32(f, &wanted, err);
    if (r < 0)
        return r;
    bool frozen = wanted && freeze(true);
    a->settled = true;
    agent_must(agent_add_u32(&a->out, AGENT_SETTLED, 0, frozen));
    return 0;
}

/* The new host's windows are open as they are at the start. */
static void forget_streams(struct agent *a)
{
    for (size_t i = 0; i < AGENT_STREAMS_MAX; i++) {
        struct stream *s = &a->streams[i];
        if (s->kind != STREAM_FREE && s->id != AGENT_WORKLOAD)
            stream_drop(s);
        else if (s->kind != STREAM_FREE)
            s->credit[1] = s->credit[2] = AGENT_WINDOW;
        s->in.max = 2 * AGENT_WINDOW; /* what it has not read yet is not known there, either */
    }
}

int agent_resume(struct agent *a, const struct agent_frame *f, struct error *err)
{
    struct agent_resume m;
    int r = agent_resume_get(f, &m, err);
    if (r < 0)
        return r;
    a->settled = false;
    set_clock_and_seed(m.clock_ns, m.seed, m.seed_len);
    if (m.restored) {
        forget_streams(a);
        (void)!guest_network_move(m.networks, m.n_networks, NULL);
    }
    agent_resume_done(&m);
    (void)freeze(false);
    return 0;
}
