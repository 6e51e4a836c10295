/*
 * The parts of proa-vm, the program that is to its monitor what any workload is: it starts QEMU,
 * relays between its own stdio and the machine's process, and ends with that process's status.
 *
 * Order (main.c): options and bundle -> shares and files planned from config.json -> disks opened
 * and locked -> accelerator probed -> virtiofsd and QEMU started in their sandboxes -> proa-vm
 * gives up root -> relay.c until the workload has ended.
 *
 * Everything that needs root happens before the first byte from the guest is read.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "kernel/cgroup.h"
#include "runtime/bundle.h"
#include "wire/agent/agent.h"
#include "wire/agent/snapshot.h"
#include "wire/oci/config.h"
#include "wire/qmp/shape.h"

/* microvm has 24 virtio-mmio slots with its second IOAPIC; a machine that fills the last one hangs
 * at its start (seen with QEMU 7.2). */
#define VM_DEVICES_MAX   23u
#define VM_DEVICES_FIXED 2u /* that every machine has: the serial port, the balloon */

struct vm_options {
    const char *bundle, *run_dir;
    int ready_fd;
    int tap_fds[BUNDLE_NETWORKS_MAX];
    size_t n_taps;
    bool terminal;
};

/* setup.c: the taps, by position, which must be as many as the bundle has networks. */
int vm_take_taps(const struct vm_options *o, const struct bundle *b, int *ret_fds,
                 struct error *err) _must_check_;

/* The same for a light machine: taps of cards that are on no network follow. */
struct vm_qemu;
int vm_take_cards(const struct vm_options *o, const struct bundle *b, struct vm_qemu *q,
                  struct error *err) _must_check_;

/* setup.c */
int vm_listen(const char *run_dir, const char *name, int *ret_fd, struct error *err) _must_check_;
struct vm_logs {
    int timing_fd;
    int console_fd;
    int halted_fd; /* RUNTIME_HALTED */
    int silent_fd; /* RUNTIME_SILENT */
};
int vm_open_logs(const struct vm_options *o, struct vm_logs *ret, struct error *err) _must_check_;
/* RUN, for an instance's directory RUN/instances/ID; owned, NULL for one that is elsewhere. */
char *vm_find_run(const char *run_dir);
/* RUN/accelerator, for an instance's directory RUN/instances/ID; owned, or NULL. */
char *vm_accelerator_cache(const char *run_dir);
uid_t vm_machine_uid(const char *id);
/* The slave becomes a plain pipe: the terminal's own work is done by the one inside. */
int vm_take_terminal(struct error *err) _must_check_;
/* The last of the steps that need root. */
int vm_finish_sandbox(uid_t uid, struct error *err) _must_check_;

/* accel.c: whether KVM works here, and the host's time stamp counter. `cache` is a file that
 * remembers both, or NULL. */
void vm_accelerator(const char *cache, bool *ret_kvm, unsigned int *ret_tsc_khz);

/* setup.c: the memory of a snapshot, and the shape that it needs (0 processors: as the bundle
 * says). Its name goes before the machine moves on: memory fits the disk once only. Where it has
 * gone, as in a restart by the monitor, -EBADF: the machine boots. */
int vm_open_memory(const char *path, int *ret_fd, struct vm_shape *ret_shape,
                   struct error *err) _must_check_;

/* disk.c: opened read-write and flock()ed, made from an empty template when absent. */
int vm_disk_open(const char *path, uint64_t bytes, const char *template_dir, int *ret_fd,
                 struct error *err) _must_check_;
/* A new one made of what a template of machines has on its disk. */
int vm_disk_make(const char *path, int from, struct error *err) _must_check_;
/* Into an open file of that size: an empty file system. */
int vm_disk_fill(const char *template_dir, uint64_t bytes, int to, struct error *err) _must_check_;
#define VM_LOWER_MAX 80u /* more than a chain of snapshots is allowed to have */
/* The files below it, to read; nobody writes them any more. */
int vm_disk_open_lower(char *const *paths, int *ret_fds, size_t *ret_n,
                       struct error *err) _must_check_;

/* group.c: the control group of QEMU and virtiofsd. */
/* res: of what else of the host the machine is to have a part, and which (group.c); or NULL. */
int vm_group_make(const struct bundle *b, const struct oci_resources *res, size_t n_shares,
                  bool kvm, struct cgroup *ret, struct error *err) _must_check_;
/* Of one that runs, what it is bounded by from now on: as many bytes as the guest has, with what
 * its helpers need (0: as it is), and what else res gives (NULL: nothing). */
int vm_group_change(const struct bundle *b, uint64_t memory_bytes, size_t n_shares,
                    const struct oci_resources *res, struct error *err) _must_check_;
/* In a new process of one thread that was cloned into the group: into its other hierarchies. */
int vm_group_join(const struct cgroup *g, struct error *err) _must_check_;

/* qemu.c */
struct vm_pc; /* pc.h */
enum vm_role {
    VM_COLD,     /* boots */
    VM_TEMPLATE, /* boots with its memory in ram_fd and nothing behind its devices */
    VM_CLONE,    /* goes on from ram_fd, copy on write, and state_fd */
    VM_IMAGE,    /* goes on from them as a template for one image, with its memory in ram_fd */
};
struct vm_qemu {
    enum vm_role role;
    const struct bundle *bundle;
    struct vm_shape shape;  /* with memory_fd: of what it was written by; else left out */
    const struct vm_pc *pc; /* of a machine that boots a disk; else NULL */
    const struct vm_shares *shares;
    const struct oci_process *process; /* what it runs; NULL: not known */
    const struct cgroup *group;        /* that it is born in */
    bool kvm;
    unsigned int tsc_khz;
    uid_t uid;
    const char *processors; /* of the host, as in cpuset(7); NULL: all */
    int disk_fd;
    int tap_fds[BUNDLE_NETWORKS_MAX]; /* by position; -EBADF: no card is there */
    size_t n_cards;                   /* of a light machine: each has its tap */
    int memory_fd;                    /* of a snapshot, to go on from; -EBADF: boot */
    int *lower_fds; /* below the disk, bottom first: as many as bundle->disk_lower */
    size_t n_lower;
    int *layer_fds;
    int layers_table_fd, layers_map_fd; /* layers.c, when they are on one disk; else -EBADF */
    size_t layer_slots;                 /* disks for layers: those that it has none for are empty */
    int ram_fd, state_fd;               /* template and clone */
    bool disk_is_new;                   /* nothing has been written to it */
    pid_t pid;
    int agent_fd, qmp_fd, console_fd, stderr_fd; /* our ends */
};
#define VM_QEMU_INIT                                                                               \
    {                                                                                              \
        .disk_fd = -EBADF, .memory_fd = -EBADF, .ram_fd = -EBADF, .state_fd = -EBADF,              \
        .layers_table_fd = -EBADF, .layers_map_fd = -EBADF, .agent_fd = -EBADF, .qmp_fd = -EBADF,  \
        .console_fd = -EBADF, .stderr_fd = -EBADF                                                  \
    }
int vm_qemu_start(struct vm_qemu *q, struct error *err) _must_check_;
/* Ends it at once, waits for that, and closes what it was reached by. */
void vm_qemu_end(struct vm_qemu *q);
/* Of what size QEMU is to be. */
struct vm_shape vm_qemu_shape(const struct vm_qemu *q);
/* The command line, with all its descriptors: owned. ends: agent, QMP and console. */
char **vm_qemu_argv(const struct vm_qemu *q, const int ends[static 3]);
#define VM_QEMU         "/usr/bin/qemu-system-x86_64"
#define VM_TEMPLATE_UID 0x74000000u /* past the machines' */

/* layers.c: all layers on one disk; fills in the two descriptors. */
int vm_layers_join(struct vm_qemu *q, struct error *err) _must_check_;
/* QEMU's numbers for descriptors; the other disks' follow the layers. */
#define VM_LAYER_SET(i)     ((i) + 1)
#define VM_LAYERS_TABLE_SET ((size_t)1000)
#define VM_LAYERS_MAP_SET   1001

/* console.c: the serial console, bounded, with its last line kept for messages. */
struct vm_console {
    int log_fd;
    size_t written;
    char line[256], last[256];
    size_t len;
};
void vm_console_add(struct vm_console *c, const char *data, size_t len);
const char *vm_console_last(const struct vm_console *c); /* "" when it said nothing */

/* pc-screen.c: memory for a picture of the screen; made as root. */
struct vm_picture {
    int write_fd, read_fd;
};
int vm_picture_open(struct vm_picture *ret, struct error *err) _must_check_;

/* relay.c: until the machine has ended; gives the exit status. */
struct vm_relay {
    struct vm_qemu *qemu;
    const struct agent_configure *configure;
    const struct agent_start *start;
    const struct agent_resume *resume; /* with qemu->memory_fd */
    int ready_fd, listen_fd;
    struct vm_logs logs;
    int order_fd; /* closed once the workload runs */
    int vnc_fd;   /* listens for viewers; -EBADF: no screen */
    struct vm_picture picture;
    bool terminal;
    int64_t started_ms;
};
int vm_relay_run(const struct vm_relay *r);
int vm_pc_relay_run(const struct vm_relay *r); /* pc-relay.c */

/* pc-main.c: a machine that boots a disk, from its bundle to its end: its exit status, or -errno
 * before it was started. */
int vm_pc_main(const struct vm_options *o, struct bundle *b, int64_t started_ms,
               struct error *err) _must_check_;
