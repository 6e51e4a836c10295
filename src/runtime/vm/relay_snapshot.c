/*
 * A snapshot of the running machine, of either kind. The steps below are done in order, those that
 * the request does not want left out; each waits for one answer, QEMU's or the guest's. What fails
 * skips to the end, where everything that stood still goes on again.
 *
 * Nothing stands still before the overlays are open in QEMU. For the disks alone QEMU's processors
 * are not stopped: it changes files between two requests of the guest's, those of all disks at one
 * moment. For the memory they are, and
 * the agent of a light machine must have settled first (relay_settle.c).
 */
#include <string.h>

#include "base/fd.h"
#include "base/text.h"
#include "runtime/vm/relay-internal.h"

#define SETTLE_MS   10000
#define MEMORY_MS   600000
#define GO_ON_MS    2
#define GO_ON_TRIES 5000
#define FDSET       1000 /* and upwards: sets of overlays */

static void advance(struct relay *m);
static void answered(struct relay *m, void *context, const struct qmp_message *q);

static bool wants(const struct relay *m, uint32_t flag)
{
    return (m->snapshot.flags & flag) != 0;
}

static bool wants_disks(const struct relay *m)
{
    return wants(m, AGENT_SNAPSHOT_DISKS);
}

static bool wants_memory(const struct relay *m)
{
    return wants(m, AGENT_SNAPSHOT_MEMORY);
}

/* A paused guest does not answer. */
static bool wants_settled(const struct relay *m)
{
    return !relay_still(m) && m->guest->settle &&
           (wants_memory(m) || wants(m, AGENT_SNAPSHOT_FREEZE));
}

static bool wants_hold(const struct relay *m)
{
    return wants(m, AGENT_SNAPSHOT_HOLD) && m->snapshot.error.kind == ERROR_NONE;
}

static bool is_stopped(const struct relay *m)
{
    return m->snapshot.stopped;
}

static int64_t now_us(void)
{
    return time_now_ns() / 1000;
}

static void begin_pause(struct relay *m)
{
    if (m->snapshot.began_us == 0)
        m->snapshot.began_us = now_us();
}

/* What an answer belongs to: QEMU may tell of an end before it answers the command. */
static void *this_step(const struct relay *m)
{
    return (void *)(uintptr_t)m->snapshot.step;
}

static int command(struct relay *m, const char *name, json_t *arguments)
{
    return relay_qmp(m, name, arguments, -EBADF, answered, this_step(m));
}

/* The next disk whose overlay QEMU does not have yet; AGENT_SNAPSHOT_DISKS_MAX: there is none. */
static unsigned int next_disk(const struct relay *m)
{
    unsigned int i = 0;
    while (i < AGENT_SNAPSHOT_DISKS_MAX && (m->snapshot.disk_fds[i] < 0 || m->snapshot.tops[i] > 0))
        i++;
    return i;
}

static int open_overlay(struct relay *m)
{
    m->snapshot.serial++;
    return relay_qmp(m, "add-fd", json_pack("{s:i}", "fdset-id", (int)(FDSET + m->snapshot.serial)),
                     m->snapshot.disk_fds[next_disk(m)], answered, this_step(m));
}

static int add_node(struct relay *m)
{
    char file[32], node[24];
    snprintf(file, sizeof(file), "/dev/fdset/%u", FDSET + m->snapshot.serial);
    snprintf(node, sizeof(node), "top%u", m->snapshot.serial);
    return command(m, "blockdev-add",
                   json_pack("{s:s, s:s, s:n, s:s, s:{s:b}, s:{s:s, s:s, s:s, s:s}}", "driver",
                             "qcow2", "node-name", node, "backing", "discard", "unmap", "cache",
                             "no-flush", (int)m->r->qemu->bundle->ephemeral, "file", "driver",
                             "file", "filename", file, "locking", "off", "discard", "unmap"));
}

static int settle(struct relay *m)
{
    begin_pause(m);
    m->snapshot.asked = true;
    m->snapshot.deadline_ms = time_monotonic_ms() + SETTLE_MS;
    return m->guest->settle(m, wants(m, AGENT_SNAPSHOT_FREEZE));
}

static int stop(struct relay *m)
{
    begin_pause(m);
    m->snapshot.stopped = true;
    return command(m, "stop", NULL);
}

/* The node that the guest writes to: the last overlay, or what the machine started with. */
static json_t *change_of(const struct relay *m, unsigned int disk)
{
    char below[24], above[24];
    snprintf(below, sizeof(below), "disk");
    if (m->r->qemu->pc)
        snprintf(below, sizeof(below), "disk%u", disk);
    if (m->tops[disk] > 0)
        snprintf(below, sizeof(below), "top%u", m->tops[disk]);
    snprintf(above, sizeof(above), "top%u", m->snapshot.tops[disk]);
    return json_pack("{s:s, s:{s:s, s:s}}", "type", "blockdev-snapshot", "data", "node", below,
                     "overlay", above);
}

/* QEMU lets all disks come to rest before it changes the first: all of them, or none. */
static int change_disks(struct relay *m)
{
    json_t *actions = json_array();
    begin_pause(m);
    for (unsigned int i = 0; i < AGENT_SNAPSHOT_DISKS_MAX; i++)
        if (m->snapshot.tops[i] > 0)
            json_array_append_new(actions, change_of(m, i));
    return command(m, "transaction", json_pack("{s:o}", "actions", actions));
}

static void disks_changed(struct relay *m)
{
    for (unsigned int i = 0; i < AGENT_SNAPSHOT_DISKS_MAX; i++)
        if (m->snapshot.tops[i] > 0)
            m->tops[i] = m->snapshot.tops[i];
}

/* A clone was loaded with the second one on, which QEMU writes into the stream: whoever loads that
 * would have to have it on, too, and its memory is all there. */
static int set_capabilities(struct relay *m)
{
    return command(m, "migrate-set-capabilities",
                   json_pack("{s:[{s:s,s:b},{s:s,s:b}]}", "capabilities", "capability", "events",
                             "state", 1, "capability", "x-ignore-shared", "state", 0));
}

static int set_speed(struct relay *m)
{
    return command(m, "migrate-set-parameters",
                   json_pack("{s:I}", "max-bandwidth", (json_int_t)100 << 30));
}

/* Behind the shape, without which nobody could load it. */
static int give_file(struct relay *m)
{
    char shape[VM_SHAPE_BYTES];
    vm_shape_write(&m->shape, shape);
    int r = fd_write_all(m->snapshot.memory_fd, shape, sizeof(shape));
    if (r < 0)
        return r;
    return relay_qmp(m, "getfd", json_pack("{s:s}", "fdname", "memory"), m->snapshot.memory_fd,
                     answered, this_step(m));
}

/* Its answer comes at once; the step is over with the event (snapshot_event). */
static int write_memory(struct relay *m)
{
    m->snapshot.deadline_ms = time_monotonic_ms() + MEMORY_MS;
    return command(m, "migrate", json_pack("{s:s}", "uri", "fd:memory"));
}

static uint64_t pause_us(const struct relay *m)
{
    return m->snapshot.began_us ? (uint64_t)(now_us() - m->snapshot.began_us) : 0;
}

/* The reply, after which the client's connection is a lease (snapshot_client_gone). */
static int hold(struct relay *m)
{
    struct relay_snapshot *s = &m->snapshot;
    return s->client ? agent_add_snapshot_reply(&s->client->out, 1, s->frozen, pause_us(m))
                     : -EPIPE;
}

/* QEMU says that the memory is written a moment before it can be set going: it is asked again, and
 * also when it cannot be asked, because it answers nobody. */
static int go_on(struct relay *m)
{
    m->snapshot.stopped = false;
    if (command(m, "cont", NULL) < 0)
        m->snapshot.deadline_ms = time_monotonic_ms() + GO_ON_MS;
    return 0;
}

enum {
    STEP_NONE,
    STEP_OPEN,
    STEP_NODE,
    STEP_EVENTS,
    STEP_SPEED,
    STEP_GIVE,
    STEP_SETTLE,
    STEP_STOP,
    STEP_CHANGE,
    STEP_WRITE,
    STEP_HOLD,
    STEP_GO_ON,
    STEP_END,
};

static const struct {
    bool (*wanted)(const struct relay *m);
    int (*enter)(struct relay *m);
} steps[STEP_END] = {
    [STEP_OPEN] = {wants_disks, open_overlay},
    [STEP_NODE] = {wants_disks, add_node},
    [STEP_EVENTS] = {wants_memory, set_capabilities},
    [STEP_SPEED] = {wants_memory, set_speed},
    [STEP_GIVE] = {wants_memory, give_file},
    [STEP_SETTLE] = {wants_settled, settle},
    [STEP_STOP] = {wants_memory, stop},
    [STEP_CHANGE] = {wants_disks, change_disks},
    [STEP_WRITE] = {wants_memory, write_memory},
    [STEP_HOLD] = {wants_hold, hold},
    [STEP_GO_ON] = {is_stopped, go_on},
};

static void reset(struct relay *m)
{
    struct relay_snapshot *s = &m->snapshot;
    *s = (struct relay_snapshot){.memory_fd = -EBADF, .moved_fd = -EBADF, .serial = s->serial};
    for (size_t i = 0; i < ARRAY_SIZE(s->disk_fds); i++)
        s->disk_fds[i] = -EBADF;
}

static void finish(struct relay *m)
{
    struct relay_snapshot *s = &m->snapshot;
    struct client *c = s->client;
    if (s->asked)
        m->guest->release(m);
    if (c && s->error.kind != ERROR_NONE) {
        client_answer_error(c, &s->error);
    } else if (c) {
        relay_must(agent_add_snapshot_reply(&c->out, 1, s->frozen, pause_us(m)));
        c->close_when_sent = true;
    }
    for (size_t i = 0; i < ARRAY_SIZE(s->disk_fds); i++)
        close_fd(s->disk_fds[i]);
    close_fd(s->memory_fd);
    close_fd(s->moved_fd);
    reset(m);
}

static void step_failed(struct relay *m, const struct error *why)
{
    struct relay_snapshot *s = &m->snapshot;
    if (s->error.kind == ERROR_NONE)
        s->error = *why;
    s->step = MAX(s->step, (unsigned int)STEP_WRITE);
    advance(m);
}

static void advance(struct relay *m)
{
    struct relay_snapshot *s = &m->snapshot;
    struct error err = ERROR_INIT;
    s->deadline_ms = 0;
    do
        s->step++;
    while (s->step < STEP_END && !steps[s->step].wanted(m));
    if (s->step == STEP_END) {
        finish(m);
        return;
    }
    int r = steps[s->step].enter(m);
    if (r < 0) {
        error_errno(&err, r, "talk to QEMU");
        step_failed(m, &err);
    }
}

/* The next disk's overlay comes first, if there is one. */
static void node_added(struct relay *m)
{
    struct relay_snapshot *s = &m->snapshot;
    s->tops[next_disk(m)] = s->serial;
    if (next_disk(m) < AGENT_SNAPSHOT_DISKS_MAX)
        s->step = STEP_OPEN - 1;
}

/* QEMU's answer to the step's command. */
static void answered(struct relay *m, void *context, const struct qmp_message *q)
{
    struct relay_snapshot *s = &m->snapshot;
    struct error err = ERROR_INIT;
    if (context != this_step(m))
        return;
    if (q->type == QMP_ERROR && s->step == STEP_GO_ON && s->tries++ < GO_ON_TRIES) {
        s->deadline_ms = time_monotonic_ms() + GO_ON_MS;
    } else if (q->type == QMP_ERROR) {
        error_set(&err, ERROR_SYSTEM, EIO, "%s", q->text);
        step_failed(m, &err);
    } else if (s->step != STEP_WRITE) {
        if (s->step == STEP_CHANGE)
            disks_changed(m);
        if (s->step == STEP_NODE)
            node_added(m);
        if (s->step == STEP_GO_ON)
            m->guest->continued(m);
        advance(m);
    }
}

void snapshot_event(struct relay *m, const struct qmp_message *q)
{
    struct error err = ERROR_INIT;
    if (m->snapshot.step != STEP_WRITE)
        return;
    if (strcmp(q->text, "completed") == 0)
        advance(m);
    else if (strcmp(q->text, "failed") == 0)
        error_set(&err, ERROR_SYSTEM, EIO, "QEMU could not write the machine's memory");
    if (err.kind != ERROR_NONE)
        step_failed(m, &err);
}

static int check_request(const struct relay *m, const struct client *c, uint32_t flags,
                         struct error *err)
{
    size_t wanted = !!(flags & AGENT_SNAPSHOT_MEMORY) + !!(flags & AGENT_SNAPSHOT_HOLD);
    size_t got = 0;
    for (unsigned int i = 0; i < AGENT_SNAPSHOT_DISKS_MAX; i++)
        wanted += (flags & AGENT_SNAPSHOT_DISK(i)) != 0;
    while (got < ARRAY_SIZE(c->passed) && c->passed[got] >= 0)
        got++;
    if (wanted != got || wanted == 0)
        return error_invalid(err, "a snapshot of %zu parts came with %zu descriptors", wanted, got);
    if (m->snapshot.step != STEP_NONE)
        return error_set(err, ERROR_CONFLICT, EBUSY, "another snapshot of the machine is made");
    if ((flags & AGENT_SNAPSHOT_MEMORY) && relay_still(m))
        return error_set(err, ERROR_CONFLICT, EBUSY,
                         "the machine is paused: unpause it, or leave its memory out");
    if ((flags & AGENT_SNAPSHOT_MEMORY) && m->guest->resizes())
        return error_set(err, ERROR_CONFLICT, EBUSY,
                         "the machine's size or its network cards are being changed: try again");
    if ((flags & AGENT_SNAPSHOT_MEMORY) && m->card_cut)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "the machine has left a network that it was started on, so its memory "
                         "fits no machine that could be started: leave it out, or restart first");
    if ((flags & AGENT_SNAPSHOT_MEMORY) && m->r->qemu->shares->n > 0)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "the machine has directories or files of the host mounted, so its memory "
                         "cannot be kept: leave it out");
    return 0;
}

void snapshot_request(struct relay *m, struct client *c, const struct agent_frame *f)
{
    struct relay_snapshot *s = &m->snapshot;
    struct error err = ERROR_INIT;
    uint32_t flags;
    if (agent_get_u32(f, &flags, &err) < 0 || check_request(m, c, flags, &err) < 0) {
        client_answer_error(c, &err);
        return;
    }
    size_t at = 0;
    s->flags = flags;
    s->client = c;
    for (unsigned int i = 0; i < AGENT_SNAPSHOT_DISKS_MAX; i++)
        if (flags & AGENT_SNAPSHOT_DISK(i))
            s->disk_fds[i] = TAKE_FD(c->passed[at++]);
    s->memory_fd = flags & AGENT_SNAPSHOT_MEMORY ? TAKE_FD(c->passed[at++]) : -EBADF;
    s->moved_fd = flags & AGENT_SNAPSHOT_HOLD ? TAKE_FD(c->passed[at]) : -EBADF;
    advance(m);
}

void snapshot_client_gone(struct relay *m, const struct client *c)
{
    struct relay_snapshot *s = &m->snapshot;
    char mark = 0;
    if (s->client != c || s->step == STEP_NONE)
        return;
    s->client = NULL;
    if (s->step != STEP_HOLD)
        return;
    if (pread(s->moved_fd, &mark, 1, 0) == 1 && mark == AGENT_SNAPSHOT_MOVED)
        relay_kill(m, 0);
    else
        advance(m);
}

void snapshot_settled(struct relay *m, bool frozen)
{
    if (m->snapshot.step != STEP_SETTLE)
        return; /* too late */
    m->snapshot.frozen = frozen;
    advance(m);
}

int64_t snapshot_deadline(const struct relay *m)
{
    return m->snapshot.deadline_ms;
}

void snapshot_tick(struct relay *m)
{
    struct relay_snapshot *s = &m->snapshot;
    struct error err = ERROR_INIT;
    if (s->deadline_ms == 0 || time_monotonic_ms() < s->deadline_ms)
        return;
    s->deadline_ms = 0;
    error_set(&err, ERROR_SYSTEM, ETIMEDOUT, "the machine does not answer");
    if (s->step == STEP_GO_ON)
        relay_must(go_on(m));
    else if (s->step == STEP_SETTLE && !wants_memory(m))
        advance(m); /* as it is: in order after a power failure, like every disk */
    else
        step_failed(m, &err);
}

void snapshot_init(struct relay *m)
{
    reset(m);
}
