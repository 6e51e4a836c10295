/*
 * A container of the OCI command line (runtime-spec, runtime.md): it belongs to whoever called, so
 * there is no monitor, and everything that later commands need is in its directory ROOT/ID:
 *
 *   config.json   the configuration as it was at create; later changes of the bundle do not count
 *   state.json    what is below
 *   init.sock     between create and start (runtime/container/hold.c)
 *
 * The directory is there from the moment anything else could be; state.json without a pid means
 * that the create has not ended, or was killed. It is locked (flock) by every command that changes
 * it.
 */
#pragma once

#include <sys/types.h>

#include "runtime/runtime.h"
#include "wire/oci/config.h"

enum oci_status {
    OCI_CREATING,
    OCI_CREATED,
    OCI_RUNNING,
    OCI_PAUSED,
    OCI_STOPPED,
};

const char *oci_status_name(enum oci_status s); /* "created" */

/* All owned. */
struct oci_container {
    char *id, *dir;
    char *bundle, *rootfs, *created; /* created: RFC 3339 */
    char *cgroup_path;               /* below the hierarchies; NULL: it has none of its own */
    char *slice, *scope;             /* the systemd units that hold it; NULL: none */
    char *filter_cache;
    bool rdt_made; /* linux.intelRdt's group goes with it */
    uid_t owner;
    pid_t pid; /* 0: not yet */
    uint64_t start_ticks;
    char **descriptors; /* what the first process got as 0, 1, 2: "pipe:[123]"; NULL: not known */
    struct oci_config *config;
    char
        *warning; /* what stops nothing: hooks that failed, capabilities that are not there; NULL */
    int lock;     /* held while open; -EBADF */
};

void oci_container_init(struct oci_container *c);
void oci_container_done(struct oci_container *c);
#define _cleanup_oci_container_ _cleanup_(oci_container_done)

/* Letters, digits, and "_+-." but neither "." nor ".."; at most 1024. */
int oci_container_check_id(const char *id, struct error *err) _must_check_;

/* Reads state.json and config.json. lock: waits for other commands on this container.
 * ERROR_NOT_FOUND "container ID does not exist". */
int oci_container_load(const char *root, const char *id, bool lock, struct oci_container *ret,
                       struct error *err) _must_check_;
/* Waits for other commands on this container, and holds them up. ERROR_NOT_FOUND when the directory
 * has gone, also meanwhile. */
int oci_container_lock(struct oci_container *c, struct error *err) _must_check_;

/* The bytes of a state.json into c. */
int oci_container_parse(const char *text, size_t len, struct oci_container *c,
                        struct error *err) _must_check_;
int oci_container_save(const struct oci_container *c, struct error *err) _must_check_;

int oci_container_look(const struct oci_container *c, enum oci_status *ret,
                       struct error *err) _must_check_;
/* The same; "running" when it cannot be told: what may run is not to be cleaned away. */
enum oci_status oci_container_status(const struct oci_container *c);

/* What the process asks for and does not get, in one line: capabilities that nobody knows, or that
 * this program could not give (in_user_namespace: there all can be given). Owned; NULL: nothing. */
char *oci_process_warning(const struct oci_process *p, bool in_user_namespace);

/* As runtime.h's operations want it; borrowed from c. */
struct runtime_target oci_container_target(const struct oci_container *c);

/* The OCI state document (owned); extended: with what `state` and `list` add. */
json_t *oci_container_state(const struct oci_container *c, enum oci_status status, bool extended);
char *oci_container_state_json(const struct oci_container *c, enum oci_status status,
                               bool extended);

/* The names in ROOT, sorted; owned. */
int oci_container_names(const char *root, char ***ret, struct error *err) _must_check_;

/* create.c */
struct oci_create {
    const char *root, *id, *bundle;
    const char *console_socket; /* where the terminal goes; NULL: to the caller (*ret_console) */
    const char *pid_file;
    const char *filter_cache; /* a directory of compiled seccomp filters; NULL: none */
    unsigned int preserve_fds;
    bool systemd_cgroup;
    bool keyring, pivot;
    bool leaves; /* the caller will: a terminal then needs a console socket */
};
/* Everything up to `start`. On failure nothing is left. ret->lock is held. *ret_console is owned,
 * -EBADF when there is none. */
int oci_container_create(const struct oci_create *o, struct oci_container *ret, int *ret_console,
                         struct error *err) _must_check_;

/* The parts of a create that a restore has, too. begin: everything before a process is there. undo:
 * of a process that is still a child of this one, as well. */
int oci_create_begin(const struct oci_create *o, struct oci_container *c,
                     struct error *err) _must_check_;
int oci_create_record(const struct oci_create *o, struct oci_container *c, pid_t pid,
                      struct error *err) _must_check_;
void oci_create_undo(struct oci_container *c);
/* The hooks prestart and createRuntime, for the process that the container will be. */
int oci_create_hooks(struct oci_container *c, pid_t pid, struct error *err) _must_check_;

/* criu/: over the program criu, as root. */
struct oci_criu {
    const char *image_path; /* the directory of the image */
    const char *work_path;  /* where CRIU's log goes; NULL: image_path */
    bool tcp_established, external_sockets, shell_job, file_locks, auto_dedup;
    int cgroups;               /* enum criu_cgroups */
    uint32_t empty_namespaces; /* CLONE_NEW*: what is in them is neither saved nor restored */
};
struct oci_checkpoint {
    struct oci_criu common;
    const char *parent_path; /* relative to image_path: only what changed since is saved */
    bool leave_running, tcp_skip_in_flight;
    bool pre_dump; /* memory only, and it goes on */
};
/* Without leave_running the container is deleted. c is locked. */
int oci_container_checkpoint(struct oci_container *c, const struct oci_checkpoint *o,
                             struct error *err) _must_check_;

struct oci_restore {
    struct oci_criu common;
    struct oci_create create;
    const char *lsm_profile, *lsm_mount_context;
};
/* As oci_container_create, but it runs. */
int oci_container_restore(const struct oci_restore *o, struct oci_container *ret, int *ret_console,
                          struct error *err) _must_check_;

/* verbs.c. c is locked. */
int oci_container_start(struct oci_container *c, struct error *err) _must_check_;
/* all: every process of it, also after the first has ended. */
int oci_container_kill(const struct oci_container *c, int signum, bool all,
                       struct error *err) _must_check_;
/* force: also one that runs, or whose create was killed. The directory goes last. */
int oci_container_delete(struct oci_container *c, bool force, struct error *err) _must_check_;
int oci_container_update(const struct oci_container *c, const struct oci_resources *res,
                         struct error *err) _must_check_;
int oci_container_freeze(const struct oci_container *c, bool frozen,
                         struct error *err) _must_check_;

/* exec.c */
struct oci_exec {
    const struct oci_process *process;
    const struct oci_seccomp *seccomp; /* NULL: none */
    const char *console_socket, *pid_file;
    const char *user; /* "user[:group]" to look up inside; NULL: process->user */
    unsigned int preserve_fds;
    bool detach;
};
/* *ret_status is its exit code; 0 with detach, once it has executed. */
int oci_container_exec(struct oci_container *c, const struct oci_exec *e, int *ret_status,
                       struct error *err) _must_check_;

/* events.c */
struct oci_events {
    bool once; /* statistics now, and no more */
    int64_t interval_ms;
    void *context;
    int (*line)(void *context, const json_t *event, struct error *err); /* event is borrowed */
};
/* Returns when the container has ended. */
int oci_container_events(const struct oci_container *c, const struct oci_events *how,
                         struct error *err) _must_check_;

/* console.c: sends a terminal's master over the socket at path, as containerd and conmon expect. */
int oci_console_send(const char *path, int master, struct error *err) _must_check_;

/* foreground.c: passes signals and, with a terminal, bytes on until the child pid ends. */
int oci_foreground(pid_t pid, int console, int *ret_status, struct error *err) _must_check_;

/* criu/descriptors.c: what 0, 1 and 2 of a process are (0: this one); a vector of three, owned. */
char **oci_descriptors_read(pid_t pid);

/* Writes a number as text, whole or not at all. */
int oci_write_pid_file(const char *path, pid_t pid, struct error *err) _must_check_;
