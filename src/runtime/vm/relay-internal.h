/* What relay.c (the machine and its workload) and relay_client.c (commands that connect) share. */
#pragma once

#include <poll.h>
#include <signal.h>

#include "base/buf.h"
#include "runtime/vm/machine.h"

#define CLIENTS_MAX     (AGENT_STREAMS_MAX - 1)
#define GUEST_OUT_SOFT  ((size_t)256 << 10)
#define CLIENT_OUT_SOFT ((size_t)1 << 20)

enum relay_phase {
    PHASE_BOOT, /* until the guest's hello */
    PHASE_CONFIGURE,
    PHASE_START,
    PHASE_RUN,
    PHASE_STOP, /* the workload has ended, the disks are being flushed */
    PHASE_END,
};

/* A connection to agent.sock: one request. fd -EBADF with a stream: the command has gone, its
 * process runs on and its output is dropped. */
struct client {
    bool used;
    int fd;
    uint32_t stream; /* in the guest; 0: none */
    bool tree;       /* a copy: ended when the command goes */
    struct buf in, out;
    bool close_when_sent;
};

struct output {
    int fd;
    struct buf buf; /* at most AGENT_WINDOW */
    bool broken;    /* nobody reads: drop */
};

struct relay {
    const struct vm_relay *r;
    enum relay_phase phase;
    int signal_fd;
    struct buf guest_in, guest_out, qmp_in, qmp_out, errors;
    struct vm_console console;
    struct output output[3]; /* 1 and 2 */
    uint32_t stdin_credit;
    bool stdin_open, frozen, qmp_ready;
    int status;
    int64_t deadline_ms; /* 0: none */
    int64_t times[4];
    struct client clients[CLIENTS_MAX];
    uint32_t next_stream;
    char event[96]; /* the last word of QEMU on why it ends */
};

/* relay.c */
void relay_must(int r); /* memory gone or a bound of our own passed: the machine ends */
void relay_freeze(struct relay *m, bool frozen);
void relay_kill(struct relay *m, int status);

/* relay_client.c */
void client_accept(struct relay *m);
void client_readable(struct relay *m, struct client *c);
void client_flush(struct relay *m, struct client *c);
/* A frame from the guest on a stream that is not the workload's. */
void client_frame(struct relay *m, const struct agent_frame *f);
