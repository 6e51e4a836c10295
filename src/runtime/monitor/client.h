/*
 * Talking to an instance's monitor: starting one, attaching to its terminal, telling it to stop.
 *
 * The monitor is the program proa-monitor, one process per instance. Its contract with the engine:
 *
 *   argv     --id ID --kind container|vm --bundle DIR --run-dir DIR [--terminal] [--size
 * ROWSxCOLUMNS]
 *            [--stdin] [--spare] [--restart no|on-failure[:N]|always|unless-stopped] [--log-max
 * BYTES] [--log-files N]
 *            [--ready-fd N] [--attach-fd N] [--network-fd N] [--hold-fd N]... [--lease-fd I:N]...
 *            [--tap-fd N]... [--free-cards N]
 *            [--finish PROGRAM] [--root DIR] [--health-interval MS] [--health-start-interval MS]
 *            [--health-start-period MS]
 *   lock     RUN_DIR/lock is flock()ed exclusively while the monitor lives: the only truth about
 *            whether an instance runs.
 *   ready    one line on ready-fd: "ok PID\n" once the workload's exec succeeded, or
 *            "error KIND CODE MESSAGE\n"; then the descriptor is closed.
 *   status   BUNDLE/status, replaced atomically at each change: key=value lines, see
 *            struct monitor_status.
 *   socket   RUN_DIR/monitor.sock (SOCK_SEQPACKET, 0600): attach and commands; wire/attach.h.
 *   log      BUNDLE/log: JSON lines {"log":"...","stream":"stdout","time":"..."}, rotated to
 *            log.1, log.2... when log-max is reached.
 *   finish   when the instance has ended for good and no client took over the duty, the monitor
 *            drops its lock and executes PROGRAM --root DIR internal finish ID, which releases
 *            addresses, rules and, with --rm, the instance.
 *   health   every so many ms of a run the monitor executes PROGRAM --root DIR internal health ID.
 *   lease-fd when one is readable the monitor executes PROGRAM --root DIR internal lease ID I with
 *            it (monitor/lease.h).
 *   hold-fd  descriptors kept open while the instance runs (reserved host ports, network).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/terminal.h"
#include "runtime/bundle.h"

struct monitor_spec {
    const char *program; /* path of proa-monitor */
    const char *id, *bundle, *run_dir, *root;
    const char *finish_program; /* path of proa; NULL: nothing is executed at the end */
    enum runtime_kind kind;
    bool terminal, open_stdin;
    struct terminal_size size;   /* of the terminal from the start; 0x0: not told */
    bool spare;                  /* monitor_begin comes later */
    const char *restart;         /* as --restart; NULL: no */
    uint64_t health_interval_ms; /* 0: no health check */
    uint64_t health_start_interval_ms, health_start_period_ms;
    uint64_t log_max_bytes; /* 0: the default, 16 MiB */
    uint32_t log_files;     /* 0: the default, 2 */
    int network_fd;         /* container: its network namespace; -EBADF: none */
    const int *tap_fds;     /* vm: a tap for each card */
    size_t n_tap_fds;
    size_t free_cards;    /* so many of the last ones are on no network */
    const int *lease_fds; /* by the ports' positions, BUNDLE_NETWORKS_MAX of them (-EBADF: none) */
    const int *hold_fds;
    size_t n_hold_fds;
    bool attach; /* the caller attaches before the first byte can be lost */
};

/* Starts a monitor and waits for its ready line. *ret_attach is a connected attach descriptor when
 * spec->attach (owned), else -EBADF. *ret_pid is the workload's pid. */
int monitor_start(const struct monitor_spec *spec, pid_t *ret_pid, int *ret_attach,
                  struct error *err) _must_check_;

/* A spare instance is taken over: it counts as started now, but ends when *ret (owned) is closed
 * before monitor_begun has said that it has its workload. With attach *ret goes on as that of
 * monitor_start. */
int monitor_begin_spare(const char *run_dir, bool attach, int *ret, struct error *err) _must_check_;
void monitor_begun(int connection); /* it may have ended by then */

/* Connects to a running monitor. *ret_fd is owned. ENOENT/ECONNREFUSED: ERROR_NOT_FOUND. */
int monitor_connect(const char *run_dir, int *ret_fd, struct error *err) _must_check_;

struct monitor_attach {
    bool terminal; /* put the local terminal in raw mode and follow its size */
    bool forward_stdin;
    bool proxy_signals;      /* INT, TERM, HUP, QUIT, USR1, USR2 are passed on to the workload */
    bool finish;             /* take over the duty of `internal finish` when the workload ends */
    const char *detach_keys; /* "ctrl-p,ctrl-q" is the default when NULL; "" for none */
    int (*signal)(void *context, int signum); /* how a proxied signal reaches the workload */
    void *context;
};

struct monitor_end {
    int exit_code; /* valid when not detached */
    bool detached; /* the detach keys were typed, or the monitor went away: lost is then set */
    bool lost;
    bool finish; /* the duty of `internal finish` is the caller's now (asked for, and granted) */
};

/* Relays between the caller's descriptors 0, 1, 2 and the instance until it ends or detaches.
 * Takes ownership of fd. */
int monitor_attach(int fd, const struct monitor_attach *how, struct monitor_end *ret,
                   struct error *err) _must_check_;

/* From now on the monitor has this restart policy, as --restart says it. */
int monitor_set_restart(const char *run_dir, const char *policy, struct error *err) _must_check_;

/* The monitor holds fd as the lease-fd of that position, in the place of what it had. */
int monitor_put_lease(const char *run_dir, uint8_t position, int fd,
                      struct error *err) _must_check_;

/* The same with a machine's tap, which its next run gets; -EBADF: it has none there any more. */
int monitor_put_tap(const char *run_dir, uint8_t position, int fd, struct error *err) _must_check_;

/* Tells the monitor that the coming end is wanted, so that no restart policy applies. */
int monitor_stopping(const char *run_dir, struct error *err) _must_check_;

/* Waits until the monitor has gone (its lock is free), at most timeout_ms (-1: for ever).
 * -ETIMEDOUT when it is still there. */
int monitor_wait_gone(const char *run_dir, int timeout_ms) _must_check_;

/* Waits for the end as an attached client that wants no output, so that the exit code is known even
 * of an instance that is removed at once. Fails when the monitor is not there or was killed. */
int monitor_wait_end(const char *run_dir, int *ret_code, struct error *err) _must_check_;

enum monitor_state {
    MONITOR_NONE = 0, /* never started */
    MONITOR_STARTING,
    MONITOR_RUNNING,
    MONITOR_RESTARTING, /* waiting before the next try */
    MONITOR_EXITED,
};

struct monitor_status {
    enum monitor_state state;
    bool alive;           /* the lock is held; when false, state RUNNING means it was killed */
    pid_t pid;            /* the workload's, 0 when it does not run */
    uint64_t start_ticks; /* when that began (process_start_ticks); 0: not told */
    pid_t monitor_pid;
    int exit_code;
    bool oom_killed;
    uint32_t restarts;
    int64_t started_ns, finished_ns; /* wall clock; 0: not yet */
    char error[256];                 /* why a start failed */
    uint64_t log_dropped;            /* lines that could not be written (disk full) */
};

/* Reads BUNDLE/status and probes the lock. A missing file is MONITOR_NONE. */
int monitor_status_read(const char *bundle, const char *run_dir, struct monitor_status *ret,
                        struct error *err) _must_check_;
/* Used by the monitor, and by the engine's repair for one that was killed. */
int monitor_status_write(const char *bundle, const struct monitor_status *status,
                         struct error *err) _must_check_;
