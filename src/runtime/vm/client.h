/* A connection to a machine's agent.sock: one request, its answer. Used by ops.c. */
#pragma once

#include "base/buf.h"
#include "runtime/runtime.h"
#include "wire/agent/agent.h"

/* A guest that is not hostile answers long before; also a busy one. */
#define AGENT_ANSWER_MS 30000

struct agent_client {
    int fd;
    struct buf in, out;
};

#define AGENT_CLIENT_INIT                                                                          \
    {                                                                                              \
        -EBADF, BUF_INIT(2 * AGENT_PAYLOAD_MAX), BUF_INIT(2 * AGENT_PAYLOAD_MAX)                   \
    }

/* ERROR_NOT_FOUND when the machine does not run. */
int agent_client_open(struct agent_client *c, const struct runtime_target *t,
                      struct error *err) _must_check_;
void agent_client_done(struct agent_client *c);
#define _cleanup_client_ _cleanup_(agent_client_done)

/* Sends what is in c->out. This and what follows waits AGENT_ANSWER_MS at most. */
int agent_client_flush(struct agent_client *c, struct error *err) _must_check_;

/* Reads what has come, waiting for at least one byte. */
int agent_client_fill(struct agent_client *c, struct error *err) _must_check_;

/* The next frame in what was read; *ret_got is false when it is not whole yet. The frame lives
 * until agent_client_next or _fill is called again. */
int agent_client_next(struct agent_client *c, size_t *used, struct agent_frame *ret, bool *ret_got,
                      struct error *err) _must_check_;

/* For what proa-vm itself answers, and may take long for: no limit. */
int agent_client_patient(struct agent_client *c, struct error *err) _must_check_;

/* The error for a machine that lets wait too long. */
int agent_client_silent(struct error *err);

/* Flushes and waits for one frame; AGENT_ERROR becomes the error. *ret_used is to be consumed. */
int agent_client_answer(struct agent_client *c, struct agent_frame *ret,
                        struct error *err) _must_check_;
