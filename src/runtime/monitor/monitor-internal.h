/* The monitor's one state, shared by lifecycle (monitor.c), streams.c and clients.c. */
#pragma once

#include <poll.h>

#include "runtime/monitor/client.h"
#include "runtime/monitor/lease.h"
#include "runtime/monitor/log_write.h"
#include "runtime/monitor/monitor.h"
#include "wire/attach.h"

#define MAX_CLIENTS 64

enum phase {
    PHASE_RUNNING,  /* the workload lives */
    PHASE_DRAINING, /* it has ended; its last output is read */
    PHASE_WAITING,  /* for the next try of the restart policy */
    PHASE_TELLING,  /* it has ended for good: clients get the exit code */
    PHASE_DONE,
};

struct attached {
    int fd;          /* -EBADF: a free place */
    bool foreground; /* came by --attach-fd: sees everything from the first byte on */
    bool greeted;    /* has said what it wants */
    bool beginning;  /* has taken a spare one over, and not yet given it its workload */
    bool output;
    bool wants_finish;
    bool pending;        /* has not taken the current chunk yet */
    bool stalled;        /* its next message is stdin, which the workload does not take now */
    bool told;           /* has its EXIT message */
    bool duty;           /* and with it the duty to finish, not yet acknowledged */
    int64_t deadline_ms; /* until when it may keep the others waiting; 0: for ever */
};

struct monitor {
    const struct monitor_options *o;
    const struct monitor_runtime *runtime;
    enum phase phase;
    struct restart restart; /* the options' policy, and what has happened so far */
    struct monitor_status status;
    int bundle_fd, lock_fd, listen_fd;

    struct health health;
    struct leases leases;
    int tap_fds[BUNDLE_NETWORKS_MAX]; /* vm: by the port's position; -EBADF: none */
    int pid_fd;
    int64_t started_ms;  /* monotonic */
    int64_t deadline_ms; /* of the phase; 0: none */
    bool stopping;       /* the end is wanted */
    bool spare;          /* what runs is waiting for its workload: status "starting", with a pid */
    int64_t kill_ms;     /* when a stop by signal becomes SIGKILL; 0: never */

    struct terminal_size size; /* of the terminal, for the next run as well */
    int output[2];    /* what the workload writes; [0] is the pty's master with a terminal */
    int input;        /* what it reads: a pipe, or the same pty's master (not a duplicate) */
    bool close_input; /* when all of stdin below is written */

    enum attach_type chunk_type; /* the output that clients take just now */
    size_t chunk_len;
    size_t stdin_len, stdin_done; /* input that the workload has not taken yet */

    struct attached clients[MAX_CLIENTS];
    bool finish_taken;

    struct log_writer log;
    unsigned char chunk[ATTACH_MAX_DATA];
    unsigned char stdin_data[ATTACH_MAX_MESSAGE];
    unsigned char message[ATTACH_MAX_MESSAGE];
};

/* streams.c: the workload's three streams. */
int streams_make(struct monitor *m, struct runtime_start *s, struct error *err) _must_check_;
void streams_close_child_ends(struct runtime_start *s);
int streams_adopt(struct monitor *m, int console, struct error *err) _must_check_;
bool streams_open(const struct monitor *m); /* output may still come */
void streams_read(struct monitor *m, int which);
void streams_write_input(struct monitor *m);
void streams_end_input(struct monitor *m); /* no more stdin: closes it, or types the end key */
void streams_resize(struct monitor *m, uint16_t rows, uint16_t columns);
void streams_close(struct monitor *m);

/* clients.c: the socket and who is connected. */
int clients_listen(struct monitor *m, struct error *err) _must_check_;
void clients_accept(struct monitor *m);
void clients_add(struct monitor *m, int fd, bool foreground);
void clients_read(struct monitor *m, struct attached *c);
void clients_broadcast(struct monitor *m, enum attach_type type, size_t len);
bool clients_pending(const struct monitor *m, bool *ret_foreground);
void clients_push(struct monitor *m, struct attached *c); /* POLLOUT: the chunk, or EXIT */
void clients_tell_exit(struct monitor *m);
bool clients_all_told(const struct monitor *m);
void clients_drop(struct monitor *m, struct attached *c);
void clients_drop_late(struct monitor *m, int64_t now_ms);
/* One may be added: sockets of a client whose stdin the workload can take again. */
void clients_unstall(struct monitor *m);

/* monitor.c */
void monitor_stop_wanted(struct monitor *m);
bool monitor_begin(struct monitor *m); /* the spare one is taken over; false: it is none */
