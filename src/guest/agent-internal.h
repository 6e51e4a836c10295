/* The agent's own parts among themselves: the loop (agent.c), the streams (streams.c) and the
 * host's requests (requests.c). */
#pragma once

#include "guest/guest.h"

#define OUT_SOFT_MAX ((size_t)256 << 10)
#define OUT_MAX      ((size_t)8 << 20)

enum stream_kind {
    STREAM_FREE = 0,
    STREAM_PROCESS,
    STREAM_TREE,
};

struct stream {
    enum stream_kind kind;
    uint32_t id;
    pid_t pid; /* 0 once it has ended */
    int status;
    int fds[3];
    int error_fd;  /* tree: the child's error */
    bool tree_out; /* tree: fds[1] is read, otherwise fds[0] written */
    bool close_in; /* close fds[0] when `in` is empty */
    bool no_in;    /* the process does not read any more: drop what comes */
    bool terminal;
    struct buf in;      /* for fds[0]; at most AGENT_WINDOW */
    uint32_t credit[3]; /* what may still be sent on channels 1 and 2 */
};

struct agent {
    struct guest guest;
    int port, signals;
    struct buf in, out;
    struct stream streams[AGENT_STREAMS_MAX];
    bool configured;
    bool settled; /* the host makes a snapshot: nothing is sent */
};

/* agent.c: the machine cannot be kept: says why and stops it. */
void agent_die(const char *what, const char *why) _noreturn_;
/* Memory gone or a bound passed in the agent itself. */
void agent_must(int r);

/* streams.c */
struct stream *stream_find(struct agent *a, uint32_t id);
int stream_new(struct agent *a, uint32_t id, struct stream **ret, struct error *err) _must_check_;
bool channel_read(struct agent *a, struct stream *s, int channel);
void stream_write(struct agent *a, struct stream *s);
void stream_finish(struct agent *a, struct stream *s);

void stream_drop(struct stream *s); /* nobody listens to it any more; its process goes on */

/* orders.c: AGENT_CONFIGURE and AGENT_REHEARSE. */
int agent_configure(struct agent *a, const struct agent_frame *f, struct error *err) _must_check_;
int agent_rehearse(struct agent *a, const struct agent_frame *f, struct error *err) _must_check_;

/* settle.c: standing still for a snapshot, and going on after it. */
int agent_settle(struct agent *a, const struct agent_frame *f, struct error *err) _must_check_;
int agent_resume(struct agent *a, const struct agent_frame *f, struct error *err) _must_check_;
/* The machine's clock and random numbers; a failure there is not worth a machine. */
void set_clock_and_seed(int64_t clock_ns, const char *seed, size_t seed_len);

/* requests.c: one frame of the host's. */
int agent_handle(struct agent *a, const struct agent_frame *f, struct error *err) _must_check_;
