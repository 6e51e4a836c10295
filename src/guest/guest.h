/*
 * guest: process 1 and agent of a light machine. One thread, one poll loop (agent.c); everything
 * that may block or that enters the workload's namespaces happens in a child.
 *
 * Order of life: boot.c (file systems, modules, the port) -> hello -> AGENT_CONFIGURE: identity,
 * network, the overlay root at GUEST_ROOT -> AGENT_START: the workload in namespaces of its own
 * (so that it is process 1 for itself and cannot touch the agent) -> exec, cp, stats -> the
 * workload's end is reported; AGENT_SHUTDOWN flushes the disks and stops the machine.
 */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "wire/agent/agent.h"
#include "wire/oci/config.h"

#define GUEST_ROOT        "/root"
#define GUEST_DISK        "/disk"
#define GUEST_UPPER       "/disk/upper"
#define GUEST_PREPARED    "/run/prepared"
#define GUEST_SPARE       "/run/spare" /* where a prepared process has a root without any mounts */
#define GUEST_FILES       "/run/files"
#define GUEST_MACHINE_ID  "machine-id"  /* there */
#define GUEST_SHARED      "/run/shared" /* the host's files, until each is bound in its place */
#define GUEST_CGROUP_NAME "workload"
#define GUEST_CGROUP      "/sys/fs/cgroup/" GUEST_CGROUP_NAME
#define GUEST_PORT        "/dev/vport0p1"

/* boot.c */
int guest_boot(struct error *err) _must_check_;
int guest_prepare_shares(struct error *err) _must_check_; /* once, when there are volumes */
void guest_stop(void);                                    /* flushes, makes the disks read-only */

/* layers.c: layer i is partition i + 1 of the disk from then on. */
int guest_layers_split(const char *device, uint32_t n_wanted, struct error *err) _must_check_;

/* root.c: the overlay at GUEST_ROOT, and the files whose content was sent. */
/* Remembers which disk is which; mounts the writable one, when it is new. */
int guest_root_prepare(bool disk, struct error *err) _must_check_;
/* Nothing is left to do when it was built in a template. */
int guest_root_build(const struct agent_configure *c, struct error *err) _must_check_;
/* room.c: at a mount of the writable disk, so that it can be mounted when it is full. */
void guest_room_keep(void);
/* Empty ones, so that they can be bound before their content is known. */
int guest_files_prepare(size_t n, struct error *err) _must_check_;
int guest_files_store(const struct agent_configure *c, struct error *err) _must_check_;

/* Of the files that it was given, /etc/hosts and /etc/resolv.conf change, in place. */
struct guest;
int guest_names_change(const struct guest *g, const struct agent_names *n,
                       struct error *err) _must_check_;

/* network.c */
int guest_network_prepare(struct error *err) _must_check_;
int guest_network_up(const struct agent_configure *c, struct error *err) _must_check_;
/* A machine that was restored, has joined or left a network, or that the LAN has given another
 * address: card n is to be list[n], or on no network. Where it has the same, nothing happens. */
int guest_network_move(const struct agent_network *list, size_t n, struct error *err) _must_check_;

/* What was configured and is needed when processes start; strings owned. */
struct guest_file {
    char *path;
    bool readonly;
};
struct guest_share {
    char *tag, *path, *file; /* as in struct agent_share */
    bool readonly;
};
struct guest_prepared;
struct guest {
    struct guest_file *files;
    size_t n_files;
    struct guest_share *shares;
    size_t n_shares;
    struct oci_config *config;  /* the workload's, from AGENT_START on */
    struct sock_filter *filter; /* seccomp, for every process of the workload; NULL: none */
    size_t n_filter;
    char *program;                   /* to be read by a template of an image; NULL: none is known */
    struct guest_prepared *prepared; /* the workload's process, made ahead; NULL: none */
    bool mounts_ready;               /* in that process: GUEST_PREPARED has the usual mounts */
    int outer;  /* there: the machine's own root; its root is the workload's, with them; 0: not yet
                 */
    char *home; /* there: of uid 0; NULL: to be looked up */
    pid_t workload; /* 0 before the start */
};

/* limits.c */
int guest_limits_apply(const struct oci_resources *r, struct error *err) _must_check_;
/* The kernel will have that many bytes in all: the workload gets what it leaves of them; -1: no
 * limit but that. ERROR_LIMIT: the workload has more in use. */
int guest_limits_memory(int64_t total, struct error *err) _must_check_;
/* The first: what r does not limit is not limited, whatever a template has had. */
int guest_limits_begin(const struct oci_resources *r, struct error *err) _must_check_;

int guest_open_random(void); /* requests.c: its descriptor, or negative */

struct guest_spawn;
/* prepared.c: what a template does once for all its clones (AGENT_PREPARE). */
int guest_prepare(struct guest *g, uint32_t flags, struct error *err) _must_check_;
/* And then, in a template of one image, its root with the usual mounts on it. */
int guest_prepare_root(struct guest *g, uint32_t n_layers, struct error *err) _must_check_;
/* Gives the process, which g->prepared is, its orders: both messages as they came. Its stdio is
 * what it has, or with a terminal nothing. *ret_report is what guest_spawn's child reports on. */
int guest_prepared_start(struct guest *g, bool terminal, int ret_stdio[3], pid_t *ret_pid,
                         int *ret_report) _must_check_;
/* Keeps a message for that; nothing when there is no such process. */
int guest_prepared_keep(struct guest *g, const struct agent_frame *f,
                        struct error *err) _must_check_;
void guest_prepared_forget(struct guest *g); /* what was kept */
/* Lets it do what was kept and f, a start, but for the program. */
int guest_prepared_rehearse(struct guest *g, const struct agent_frame *f,
                            struct error *err) _must_check_;
/* What AGENT_CONFIGURE and AGENT_START say, for g and for the start: agent and prepared process
 * read them alike. spawn borrows from g->config and start. */
void guest_remember(struct guest *g, const struct agent_configure *c);
int guest_start_read(struct guest *g, const struct agent_frame *f, struct guest_spawn *ret,
                     struct error *err) _must_check_;

/* mounts.c: in the workload's own mount namespace, everything on GUEST_ROOT, and into it. */
int guest_mounts_apply(const struct guest *g, struct error *err) _must_check_;
/* Before that, in a process that was placed: where the workload wants it otherwise, it is not. */
int guest_mounts_check(struct guest *g, struct error *err) _must_check_;
/* The usual mounts, in GUEST_PREPARED: guest_mounts_apply takes them when they are asked for. */
int guest_mounts_prepare(struct error *err) _must_check_;
/* They move to GUEST_ROOT, the files every workload has are bound there, and it becomes the root.
 * *ret_outer: what was. */
int guest_mounts_place(int *ret_outer, struct error *err) _must_check_;
/* As many files as every workload has. */
#define GUEST_USUAL_FILES 3u

/* process.c: starting a process. */
struct guest_spawn {
    const struct oci_process *process;
    char *const *argv, *const *env;
    const char *cwd, *user; /* user: NULL for the configuration's */
    bool terminal, stdin_open, discard_output, privileged;
    bool workload, init; /* workload: makes the namespaces; otherwise enters them */
    uint32_t rows, columns;
};
struct guest_spawned {
    pid_t pid;
    int fds[3]; /* ours: 0 to write, 1 and 2 to read; with a terminal 0 and 1 are its master */
};
int guest_spawn(struct guest *g, const struct guest_spawn *s, struct guest_spawned *ret,
                struct error *err) _must_check_;
/* The child's part: becomes the process, or reports why it cannot. stdio is closed by exec. */
_noreturn_ void guest_spawn_child(const struct guest *g, const struct guest_spawn *s,
                                  const int stdio[3], int report);
/* In the agent and the prepared process: the control group of the workload. */
int guest_enter_cgroup(void) _must_check_;
/* execute.c: as execvp(3), without trying what is not there. Returns an errno. */
int guest_execute(char *const *argv);
/* Has looked for a program, and read it: "NAME\nPATH", as a template was told. */
void guest_rehearse(const char *program);
/* identity.c: in the child: user, groups, limits, capabilities, working directory. */
int guest_identity_apply(const struct guest *g, const struct guest_spawn *s,
                         struct error *err) _must_check_;

/* A child that calls run(rootfd, path, fd) and sends its error. place: the directory of rootfd,
 * seen from here; NULL: the root of the workload's mount namespace, which the child enters. */
typedef int (*guest_tree_fn)(int rootfd, const char *path, int fd, struct error *err);
int guest_spawn_tree(const struct guest *g, guest_tree_fn run, const char *place, const char *path,
                     bool out, pid_t *ret_pid, int *ret_fd, int *ret_error_fd,
                     struct error *err) _must_check_;

/* credentials.c: in the child, last before exec: limits, ids, capabilities, seccomp. */
int guest_credentials_apply(const struct guest *g, const struct oci_process *p, uid_t uid,
                            gid_t gid, const gid_t *groups, size_t n_groups, bool privileged,
                            struct error *err) _must_check_;

/* stats.c */
void guest_stats(struct agent_stats *ret);
char *guest_processes(const struct guest *g); /* JSON, owned */

/* agent.c: never returns. */
_noreturn_ void guest_agent(int port);
