/*
 * The monitor itself, as a function over a seam: how a workload is started. main.c fills it with
 * the real runtimes, unit tests with a shell.
 */
#pragma once

#include "runtime/monitor/health.h"
#include "runtime/monitor/restart.h"
#include "runtime/runtime.h"

#define MONITOR_MAX_HOLD 768 /* unpacked layers, ports of the host, packs of disks */

struct monitor_runtime {
    /* As container_start and vm_start. Signals are unblocked and at their defaults, save handlers
     * that do nothing, while it runs; every descriptor of the monitor is close-on-exec. */
    int (*start)(const struct runtime_start *s, struct runtime_started *ret, struct error *err);
    /* After a bad end, while pid is still a zombie: whether the kernel killed something of the run
     * for lack of memory. May be NULL. */
    bool (*oom_killed)(pid_t pid);
};

struct monitor_options {
    const char *id, *bundle, *run_dir, *root, *finish;
    enum runtime_kind kind;
    bool terminal, open_stdin;
    struct terminal_size size; /* of the terminal, until a client says otherwise */
    bool spare;                /* what is started waits to be taken over */
    struct restart restart;
    struct health_times health;
    uint64_t log_max_bytes;
    uint32_t log_files;
    int ready_fd, attach_fd, network_fd;
    int tap_fds[BUNDLE_NETWORKS_MAX];
    size_t n_tap_fds;
    uint32_t free_cards; /* so many of the last taps were on no network at the start */
    int lease_fds[BUNDLE_NETWORKS_MAX]; /* by position (lease.h); -EBADF: none */
    int hold_fds[MONITOR_MAX_HOLD];     /* only kept open */
    size_t n_hold_fds;
};

/* The command line of client.h's contract. Strings are borrowed from argv. */
int monitor_options_parse(int argc, char **argv, struct monitor_options *ret,
                          struct error *err) _must_check_;

/* Runs an instance to its final end. Daemonising is the caller's. The error was already told on
 * ready_fd. *ret_finish: nobody took the duty of `internal finish`. */
int monitor_run(const struct monitor_options *o, const struct monitor_runtime *runtime,
                bool *ret_finish, struct error *err) _must_check_;
