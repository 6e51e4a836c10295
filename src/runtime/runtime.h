/*
 * How an instance is made to run, and what can be done to one that runs: one table of operations
 * per kind (container/, vm/). Above this header nothing knows which kind it drives.
 *
 * Starting is done by the instance's monitor (runtime/monitor/): it is the parent of the first
 * process (a container's init, or the machine's proa-vm), so it alone can wait for it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/terminal.h"
#include "kernel/tree.h"
#include "runtime/bundle.h"

/* A running instance, as the engine knows it. All borrowed. */
struct runtime_target {
    const char *id;
    const char *bundle;  /* the bundle directory (persistent state) */
    const char *run_dir; /* the instance's directory on tmpfs: sockets, lock */
    pid_t pid;           /* container: its init; vm: its proa-vm process */
    /* container: where its control group is; NULL: as its config.json says */
    const char *cgroup_path;
    const char *scope; /* container: the systemd unit that holds the group; NULL: none */
    /* container: when pid began (clock ticks since boot), where that tells it from a later process
     * with its number; 0: its control group does */
    uint64_t start_ticks;
};

struct container_oci; /* runtime/container/container.h */

/* What the monitor gives to start a first process. */
struct runtime_start {
    const char *id;
    const char *bundle;
    const char *run_dir;
    int stdio[3];              /* the child's ends; all -EBADF with a terminal */
    bool terminal;             /* the runtime gives back a pty master in *ret_console */
    struct terminal_size size; /* which that has from the start; 0x0: as configured */
    int network_fd;            /* container: a network namespace to join; -EBADF: as configured */
    const int *tap_fds;        /* vm: by position, -EBADF where there is none; borrowed */
    size_t n_tap_fds;
    const struct container_oci *oci; /* container: started by the OCI command line; else NULL */
};

struct runtime_started {
    pid_t pid;   /* a child of the caller, which waits for it */
    int console; /* pty master when terminal, else -EBADF; owned by the caller */
};

/* One more process in a running instance. argv, env, cwd and user are borrowed. */
struct runtime_exec {
    char *const *argv;
    char *const *env; /* added to the instance's own environment; may be NULL */
    const char *cwd;  /* NULL: the instance's */
    const char *user; /* "user[:group]" by name or number; NULL: the instance's */
    bool terminal;
    bool interactive;   /* forward stdin; otherwise the process gets /dev/null */
    bool detach;        /* do not wait; stdio is /dev/null */
    bool privileged;    /* keep all capabilities */
    int64_t timeout_ms; /* then it is killed: -ETIMEDOUT; 0: it may take any time */
};

struct runtime_stats {
    uint64_t cpu_ns;       /* total since start */
    uint64_t memory_bytes; /* in use, page cache that can go excluded */
    uint64_t memory_limit; /* 0: the host's memory is the limit */
    uint64_t pids;
    uint64_t pids_limit; /* 0: none */
    uint64_t net_rx_bytes, net_tx_bytes;
    uint64_t block_read_bytes, block_write_bytes;
};

struct runtime_snapshot {
    bool freeze;    /* let the guest bring its file system in order, if it can */
    uint32_t disks; /* bit N: disk N, all at one moment */
    /* For each of them, in order, an empty overlay: the disk is written there from now on. */
    int disk_fds[MACHINE_DISKS_MAX];
    int memory_fd; /* where to write what the machine is doing; -EBADF: it is not kept */
    int moved_fd;  /* with memory: stand still afterwards (wire/agent/snapshot.h); -EBADF: go on */
};
struct runtime_snapshot_done {
    bool frozen;
    uint64_t pause_us; /* how long the workload stood still */
    int lease_fd;      /* with moved_fd: what is to be closed then; else -EBADF */
};

struct runtime_ops {
    const char *name;

    /* Runs a process, relaying stdio[0..2] (the caller's) until it ends. *ret_status is its exit
     * code (128+n by signal). ERROR_COMMAND_NOT_FOUND/NOT_RUN when it could not be executed. */
    int (*exec)(const struct runtime_target *t, const struct runtime_exec *e, const int stdio[3],
                int *ret_status, struct error *err);
    /* Sends a signal to the instance's first process. */
    int (*signal)(const struct runtime_target *t, int signum, struct error *err);
    /* Ends everything at once, without the workload's consent. */
    int (*kill_all)(const struct runtime_target *t, struct error *err);
    int (*freeze)(const struct runtime_target *t, bool frozen, struct error *err);
    int (*stats)(const struct runtime_target *t, struct runtime_stats *ret, struct error *err);
    /* The processes inside, as JSON: {"titles":[...],"processes":[[...],...]} with the columns of
     * `ps -ef` (UID PID PPID C STIME TTY TIME CMD). Owned by the caller. */
    int (*processes)(const struct runtime_target *t, char **ret_json, struct error *err);
    /* `cp` out and in: a stream of wire/archive's own form. path is inside the instance;
     * `follow` as for tree_send (kernel/tree.h). */
    int (*copy_out)(const struct runtime_target *t, const char *path, bool follow, int out_fd,
                    struct error *err);
    int (*copy_in)(const struct runtime_target *t, const char *path, int in_fd, struct error *err);
    /* All of an instance's files, whether it runs or not if this kind can. TREE_LAYER and
     * TREE_CHANGES: what it has changed of its image; TREE_EXPORT: its root without what is mounted
     * on it, where this kind alone can see it. ERROR_UNSUPPORTED otherwise. */
    int (*send_tree)(const struct runtime_target *t, enum tree_form form, int out_fd,
                     struct error *err);
    /* NULL: this kind has none. Of a running instance; what the descriptors are for is in struct
     * runtime_snapshot. On failure the disk may have moved on to the overlay, or not. */
    int (*snapshot)(const struct runtime_target *t, const struct runtime_snapshot *s,
                    struct runtime_snapshot_done *ret, struct error *err);
    /* Changes the limits that linux.resources (JSON) gives, and no others. */
    int (*update)(const struct runtime_target *t, const char *resources, struct error *err);
    /* Removes what a killed start or a killed monitor left behind (cgroups, processes). Idempotent;
     * t->pid may be 0. */
    int (*clean)(const struct runtime_target *t, struct error *err);
};

extern const struct runtime_ops container_ops; /* runtime/container/ops.c */
/* Gives a machine that runs so many processors and so much memory in all; 0: what it has. b: its
 * bundle, which is the caller's to change. One that boots a disk takes more, up to what it was
 * started with room for; a light one less memory, if what runs in it fits, and that again.
 * ERROR_LIMIT: it does not. runtime/vm/ops_limits.c */
int vm_resize(const struct runtime_target *t, const struct bundle *b, uint32_t cpus,
              uint64_t memory_bytes, struct error *err) _must_check_;
/* A spare light machine, whose bundle says by now what it is to run, runs that. ephemeral: its disk
 * is of no use afterwards. On failure it ends. runtime/vm/ops_spare.c */
int vm_take_spare(const struct runtime_target *t, bool ephemeral, struct error *err) _must_check_;
/* A light machine that runs has the bundle's addresses from now on. */
int vm_set_networks(const struct runtime_target *t, const struct bundle *b,
                    struct error *err) _must_check_;
/* A machine that boots a disk gets a network card while it runs, or loses it; not having it is
 * success. position: of its port. runtime/vm/ops_card.c */
int vm_plug_card(const struct runtime_target *t, uint8_t position, const char *mac, int tap_fd,
                 struct error *err) _must_check_;
int vm_unplug_card(const struct runtime_target *t, uint8_t position,
                   struct error *err) _must_check_;
/* A light machine that has joined or left networks: what it knows of names. NULL resolv_conf: as it
 * is. runtime/vm/ops_card.c */
int vm_set_names(const struct runtime_target *t, char *const *gone, const char *more,
                 const char *resolv_conf, struct error *err) _must_check_;
/* What QEMU and its helpers use, by their control group. runtime/vm/ops.c */
int vm_stats_outside(const struct runtime_target *t, struct runtime_stats *ret,
                     struct error *err) _must_check_;
/* A file in a machine's run directory, empty but while it stands still because the host has no room
 * for what it writes: why, in a few words. freeze(false) makes it go on. */
#define RUNTIME_HALTED "halted"
bool vm_halted(const struct runtime_target *t, char *ret_why, size_t size);
/* Another, empty while the machine answers: since when it does not (nanoseconds), and who of it. */
#define RUNTIME_SILENT "silent"
bool vm_silent(const struct runtime_target *t, int64_t *ret_since_ns, char *ret_who, size_t size);
/* What a machine with a screen shows, as PNG. ERROR_UNSUPPORTED: it has none. */
int vm_screenshot(const struct runtime_target *t, int out_fd, struct error *err) _must_check_;
extern const struct runtime_ops vm_ops; /* runtime/vm/ops.c */

static inline const struct runtime_ops *runtime_ops(enum runtime_kind kind)
{
    return kind == RUNTIME_VM ? &vm_ops : &container_ops;
}

/* Used by the monitor only. Both return once the workload's exec has succeeded, or with the error
 * that prevented it; nothing is left behind on error. */
int container_start(const struct runtime_start *s, struct runtime_started *ret,
                    struct error *err) _must_check_; /* runtime/container/start.c */
/* What the system inside a machine that boots a disk says of itself, as JSON: {"agent": its state,
 * "version", "system", "interfaces", "users"}; what is not known is left out. Waits for 3 seconds
 * at most. runtime/vm/ops.c */
int vm_guest_info(const struct runtime_target *t, char **ret_json, struct error *err) _must_check_;
int vm_start(const struct runtime_start *s, struct runtime_started *ret,
             struct error *err) _must_check_; /* runtime/vm/start.c: executes the proa-vm program */
