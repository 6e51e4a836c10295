/*
 * The system inside a machine that boots a disk: what commands ask of it goes to QEMU's guest
 * agent, where one answers (qga.h). Without one each request is refused in one line that says what
 * works instead; what can be measured from outside is measured all the same.
 */
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "runtime/vm/pc-internal.h"
#include "runtime/vm/qga.h"

static struct {
    struct qga *qga;
    struct relay *relay;
    bool asked; /* to switch itself off */
} inside;

static struct client *find_client(uint32_t stream)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *c = &inside.relay->clients[i];
        if (c->used && c->stream == stream)
            return c;
    }
    return NULL;
}

/* Sent in the loop's next turn: this is called while the client's own input is being read. */
static void emit(void *context, const struct agent_frame *f)
{
    struct client *c = find_client(f->stream);
    (void)context;
    if (!c)
        return;
    relay_must(agent_frame_add(&c->out, f->type, 1, f->payload, f->len));
    if (f->type == AGENT_EXIT || f->type == AGENT_OK || f->type == AGENT_ERROR ||
        f->type == AGENT_STATS_REPLY || f->type == AGENT_TEXT)
        client_end(c);
}

/* Field n (from 1) of /proc/PID/stat, which are counted after the name. */
static uint64_t stat_field(const char *text, unsigned int n)
{
    const char *p = strrchr(text, ')');
    for (unsigned int i = 2; p && i < n; i++)
        p = strchr(p + 1, ' ');
    return p ? strtoull(p + 1, NULL, 10) : 0;
}

static void measure(void *context, struct agent_stats *ret)
{
    const struct vm_qemu *q = inside.relay->r->qemu;
    _cleanup_free_ char *path = xasprintf("/proc/%d/stat", (int)q->pid), *text = NULL;
    (void)context;
    ret->memory_limit = vm_shape_memory(&inside.relay->shape);
    if (file_read_kernel(AT_FDCWD, path, 4096, &text) < 0)
        return;
    uint64_t ticks = stat_field(text, 14) + stat_field(text, 15);
    ret->cpu_ns = ticks * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
    ret->memory_bytes = stat_field(text, 24) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static struct qga *session(struct relay *m)
{
    static const struct qga_hooks hooks = {.emit = emit, .measure = measure};
    if (!inside.qga) {
        inside.relay = m;
        inside.qga = qga_new(m->r->qemu->agent_fd, &hooks);
    }
    qga_set_paused(inside.qga, relay_still(m) || m->snapshot.stopped);
    return inside.qga;
}

void pc_guest_open(struct relay *m, struct client *c, const struct agent_frame *f)
{
    struct agent_frame own = *f;
    own.stream = c->stream;
    qga_open(session(m), &own);
}

void pc_guest_more(struct relay *m, struct client *c, const struct agent_frame *f)
{
    struct agent_frame own = *f;
    own.stream = c->stream;
    qga_more(session(m), &own);
}

int pc_guest_gone(struct relay *m, struct client *c)
{
    qga_gone(session(m), c->stream);
    return 0;
}

short pc_guest_events(struct relay *m)
{
    return qga_events(session(m));
}

void pc_guest_ready(struct relay *m, short events)
{
    if (events & POLLIN)
        watch_heard(m, WATCH_GUEST);
    qga_turn(session(m));
}

int64_t pc_guest_deadline(struct relay *m)
{
    return qga_deadline_ms(session(m));
}

void pc_guest_tick(struct relay *m)
{
    qga_turn(session(m));
}

void pc_guest_continued(struct relay *m)
{
    qga_continued(session(m));
}

bool pc_guest_ask(struct relay *m)
{
    return qga_ping(session(m));
}

/* The agent of what begins now, if there is one, has not been heard yet. */
void pc_guest_reset(struct relay *m)
{
    qga_reset(session(m));
    watch_heard(m, WATCH_GUEST);
}

void pc_guest_restored(struct relay *m)
{
    qga_restored(session(m));
}

bool pc_guest_shutdown(struct relay *m)
{
    bool ask = !inside.asked && qga_shutdown(session(m));
    inside.asked |= ask;
    return ask;
}
