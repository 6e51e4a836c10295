/*
 * A session with QEMU's guest agent in a machine that boots a disk: what a light machine's own
 * agent does (wire/agent/agent.h: processes, trees, measures), done with the means of a stranger's.
 *
 * The session lives in a poll loop: qga_events() and qga_deadline_ms() say what to wait for,
 * qga_turn() does what there is to do. Requests are frames on streams, as commands send them; their
 * answers leave through `emit`. Memory and time are bounded whatever the guest does: a request that
 * the agent does not answer ends with one line that says so.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/agent/agent.h"

struct qga;

struct qga_hooks {
    /* A frame for whoever asked; borrowed. */
    void (*emit)(void *context, const struct agent_frame *f);
    /* What can be measured without the guest. */
    void (*measure)(void *context, struct agent_stats *ret);
    void *context;
};

/* fd: the agent's channel, which must not block; borrowed. */
struct qga *qga_new(int fd, const struct qga_hooks *hooks);
void qga_free(struct qga *q);

short qga_events(const struct qga *q);
int64_t qga_deadline_ms(const struct qga *q); /* time_monotonic_ms; 0: none */
void qga_turn(struct qga *q);

/* AGENT_EXEC, AGENT_TREE_OUT, _FOLLOW, _WHOLE, _IN, AGENT_STATS, AGENT_PROCESSES, AGENT_QUIESCE,
 * AGENT_GUEST_INFO: begins f->stream. */
void qga_open(struct qga *q, const struct agent_frame *f);
/* AGENT_DATA, _CLOSE, _CREDIT, _SIGNAL for an open stream; others are passed over. */
void qga_more(struct qga *q, const struct agent_frame *f);
/* Nobody waits for the stream any more: a process runs on, its output is dropped; file systems that
 * are held still move again. */
void qga_gone(struct qga *q, uint32_t stream);

void qga_set_paused(struct qga *q, bool paused); /* nothing times out */
/* The machine's processors have stood still and go on: the guest's clock is set, as soon as its
 * agent answers. */
void qga_continued(struct qga *q);
/* Asks for an answer and nothing else; false: there is no agent that could give one. */
bool qga_ping(struct qga *q);
/* The system inside begins anew: its agent is looked for again. */
void qga_reset(struct qga *q);
/* Asks the guest to switch itself off; false: no agent answers, press the button. */
bool qga_shutdown(struct qga *q);
/* The machine goes on from a snapshot's memory: its file systems may stand still, its clock does.
 */
void qga_restored(struct qga *q);
/* "answers", "silent", "broken: why", or "none yet". */
const char *qga_state(const struct qga *q);
