/*
 * What the loops share: relay.c (a light machine and its workload), pc-relay.c (a machine that
 * boots a disk), relay-qemu.c (QEMU, for both) and relay_client.c (commands that connect, for
 * both).
 */
#pragma once

#include <poll.h>
#include <signal.h>

#include <jansson.h>

#include "base/buf.h"
#include "runtime/vm/boot_watch.h"
#include "runtime/vm/machine.h"
#include "runtime/vm/relay_watch.h"
#include "runtime/vm/share.h"
#include "wire/qmp/qmp.h"

#define CLIENTS_MAX     (AGENT_STREAMS_MAX - 1)
#define GUEST_OUT_SOFT  ((size_t)256 << 10)
#define CLIENT_OUT_SOFT ((size_t)1 << 20)

enum relay_phase {
    PHASE_LOAD, /* until the memory of a snapshot is there */
    PHASE_BOOT, /* until the guest's hello */
    PHASE_START,
    PHASE_SPARE, /* configured; somebody will take it over, or time is up */
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
    /* Descriptors that came with its request; -EBADF: none. */
    int passed[AGENT_SNAPSHOT_DISKS_MAX + 2];
    bool close_when_sent;
};

/* relay_snapshot.c */
struct relay_snapshot {
    unsigned int step; /* 0: none is made */
    uint32_t flags;
    struct client *client;                       /* NULL: it has gone, and nobody is told */
    int disk_fds[AGENT_SNAPSHOT_DISKS_MAX];      /* by the disks' numbers */
    unsigned int tops[AGENT_SNAPSHOT_DISKS_MAX]; /* what is put on each, once QEMU has it open */
    int memory_fd, moved_fd;
    bool asked, frozen, stopped; /* the guest was told to settle; its disk is frozen; QEMU stands */
    int64_t deadline_ms;         /* 0: none */
    unsigned int tries;          /* to set QEMU going again */
    int64_t began_us;            /* when something stood still first; 0: not yet */
    unsigned int serial;         /* of the last overlay: its node is "top<serial>" */
    struct error error;
};

struct output {
    int fd;
    struct buf buf; /* at most AGENT_WINDOW */
    bool broken;    /* nobody reads: drop */
};

struct relay;

/* What answers inside: proa's agent in a light machine, QEMU's guest agent or nothing in others. */
struct relay_guest {
    /* A request that takes a while: AGENT_EXEC, a tree, AGENT_STATS, AGENT_PROCESSES. c->stream is
     * its number, and stays until the answer has been sent (client_end, or a frame that ends it).
     */
    void (*open)(struct relay *m, struct client *c, const struct agent_frame *f);
    /* More for it: data, its end, credit, a terminal's size, a signal. */
    void (*more)(struct relay *m, struct client *c, const struct agent_frame *f);
    /* To the machine's first process, or to the machine. */
    int (*signal)(struct relay *m, uint32_t signum, struct error *err);
    /* The command has gone with its request unanswered. Nonzero: the client is kept until the
     * answer comes, and gets nothing of it. */
    int (*gone)(struct relay *m, struct client *c);
    /* Before a snapshot: nothing more is to come from inside, and with freeze the file systems are
     * to be in order. snapshot_settled tells the end of it. NULL: it cannot. */
    int (*settle)(struct relay *m, bool freeze);
    void (*release)(struct relay *m); /* and afterwards, also when it has not settled in time */
    /* Its processors go on: its clock is behind by as long as they have stood. */
    void (*continued)(struct relay *m);
    /* Something that whoever is inside answers at once (watch_heard). False: nobody is known. */
    bool (*ask)(struct relay *m);
    void (*reset)(struct relay *m); /* its system begins anew; NULL: it cannot */
    bool (*resizes)(void);          /* its memory, processors or cards are being changed */
    /* The system inside has let go of a device that it was asked to; NULL: none ever is. */
    void (*let_go)(const char *device);
    /* It runs again, from a snapshot's memory. Leaves PHASE_LOAD, at once or when the guest has
     * answered. */
    void (*restored)(struct relay *m);
};

/* relay-qemu.c: what AGENT_SIZE says, memory in whole VM_SHAPE_UNITs; 0: as it is. */
int vm_size_parse(const struct agent_frame *f, uint32_t *ret_cpus, uint64_t *ret_memory,
                  struct error *err) _must_check_;

/* Called with QEMU's answer (QMP_RETURN or QMP_ERROR) to one command. */
typedef void (*relay_qmp_done)(struct relay *m, void *context, const struct qmp_message *answer);
struct qmp_wait {
    relay_qmp_done done; /* NULL: nobody waits */
    void *context;
};

struct relay {
    const struct vm_relay *r;
    const struct relay_guest *guest;
    enum relay_phase phase;
    int signal_fd;
    struct buf guest_in, guest_out, qmp_in, qmp_out, errors;
    struct vm_console console;
    struct output output[3]; /* 1 and 2 */
    uint32_t stdin_credit;
    bool stdin_open, frozen, qmp_ready, ephemeral;
    bool configured, ready; /* of a spare machine: it has been told what it is; it has waited */
    struct vm_shape shape;  /* what QEMU has by now */
    bool card_cut;          /* a network card that it was started with has lost its tap */
    bool halted;            /* stands still because the host has no room for what it writes */
    int status;
    int64_t deadline_ms; /* 0: none */
    int64_t times[4];
    struct client clients[CLIENTS_MAX];
    struct relay_snapshot snapshot;
    struct relay_watch watch;
    struct boot_watch boot;
    bool settled; /* light machine: guest_out waits, but for its first may_send bytes */
    size_t may_send;
    /* For each disk the overlay that the guest writes to; 0: what it started with. */
    unsigned int tops[AGENT_SNAPSHOT_DISKS_MAX];
    uint32_t next_stream;
    struct client *adopter; /* of a spare machine: waits for the workload to run; or NULL */
    char event[96];         /* the last word of QEMU on why it ends */
    struct qmp_wait qmp_waits[32];
    size_t n_qmp_waits;
};

/* relay-qemu.c */
void relay_must(int r); /* memory gone or a bound of our own passed: the machine ends */
void relay_note_time(struct relay *m, const char *name);
int relay_freeze(struct relay *m, bool frozen, struct error *err) _must_check_;
bool relay_still(const struct relay *m); /* nothing in it moves, by order or for want of room */
void relay_kill(struct relay *m, int status);
void relay_fail(struct relay *m, const struct error *e);
void relay_fail_ended(struct relay *m); /* QEMU has gone, and nobody asked it to */
void relay_flush(int fd, struct buf *out);
void relay_qmp_readable(struct relay *m);
void relay_errors_readable(struct relay *m);
int relay_open_signals(void);
/* Gives QEMU a command. arguments: NULL, or taken. fd: -EBADF, or sent along (for getfd, add-fd)
 * and still the caller's. 0 or -errno, and then done is not called. */
int relay_qmp(struct relay *m, const char *command, json_t *arguments, int fd, relay_qmp_done done,
              void *context) _must_check_;

/* relay.c: the agent of light machines. */
extern const struct relay_guest relay_agent;

void relay_started(struct relay *m); /* the workload runs */

/* relay_spare.c: a machine that waits for somebody who wants it. */
#define SPARE_MS (15 * 60 * 1000)
void spare_send_orders(struct relay *m);
void spare_ready(struct relay *m); /* it has rehearsed */
void spare_request(struct relay *m, struct client *c, const struct agent_frame *f);
/* What came of it; e: NULL when the workload runs. False: nobody has taken it over. */
bool spare_answer(struct relay *m, const struct error *e);

/* relay_settle.c: standing still, for the agent of light machines. */
int agent_settle(struct relay *m, bool freeze);
void agent_release(struct relay *m);
void agent_continued(struct relay *m);
void agent_restored(struct relay *m);
size_t agent_may_send(const struct relay *m); /* how much of guest_out */
void agent_flush(struct relay *m);

/* relay_snapshot.c: begins one for a client's request; every other call is a thing that happens. */
void snapshot_init(struct relay *m);
void snapshot_request(struct relay *m, struct client *c, const struct agent_frame *f);
void snapshot_client_gone(struct relay *m, const struct client *c);
void snapshot_settled(struct relay *m, bool frozen);
void snapshot_event(struct relay *m, const struct qmp_message *q);
int64_t snapshot_deadline(const struct relay *m); /* 0: none */
void snapshot_tick(struct relay *m);              /* after a turn that ends later than that */

/* relay_memory.c: AGENT_SIZE of a light machine. */
void memory_request(struct relay *m, struct client *c, const struct agent_frame *f);
bool memory_busy(void); /* it is being changed */
/* Whether a frame from the guest was an answer to what is asked on the way. */
bool memory_frame(struct relay *m, const struct agent_frame *f);
int64_t memory_deadline(void); /* 0: none */
void memory_tick(struct relay *m);

/* relay_load.c: from the memory of a snapshot. */
void load_begin(struct relay *m); /* when QEMU answers */
void load_event(struct relay *m, const struct qmp_message *q);

/* relay_client.c */
void client_answer_error(struct client *c, const struct error *e);
void client_answer_ok(struct client *c);
void client_end(struct client *c); /* its answer is complete */
void client_flush(struct relay *m, struct client *c);
/* Sets CLIENTS_MAX entries; requests are read while the guest takes what is sent to it. */
void client_poll_set(const struct relay *m, struct pollfd *set);
/* With what was read and waits for the guest to take more. */
void client_go_on(struct relay *m);
/* What poll said of them; connects: so did somebody new. */
void client_handle(struct relay *m, const struct pollfd *set, bool connects);
/* A frame from the guest on a stream that is not the workload's. */
void client_frame(struct relay *m, const struct agent_frame *f);
