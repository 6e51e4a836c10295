/* The modules of the container runtime among themselves. */
#pragma once

#include "base/macro.h"
#include "kernel/cgroup.h"
#include "kernel/passwd.h"
#include "kernel/seccomp.h"
#include "runtime/bundle.h"
#include "runtime/container/channel.h"
#include "runtime/container/container.h"
#include "runtime/container/filter.h"
#include "runtime/runtime.h"
#include "wire/oci/config.h"

/*
 * One container being started. It lives in the starter and, as a copy, in the first process; the
 * monitor never has one.
 */
struct container {
    const struct runtime_start *start;
    struct oci_config *config;
    struct bundle bundle;
    bool has_bundle; /* there is a proa.json */
    struct seccomp_filter filter;
    bool has_filter;
    struct cgroup cgroup;
    char *cgroup_path; /* NULL: it stays in the caller's */
    bool hold;         /* wait for container_release before executing */
    int hold_socket;   /* listening, when hold */
    pid_t caller;      /* the first process's parent */
    int report;        /* the starter's, to the caller */

    /* Only the first process has these. */
    int channel;  /* to the starter */
    int *sources; /* of binds, by mount, where the starter had to open them; else NULL */
    int root;     /* the mounted root */
    int proc;     /* our own procfs, as mounted in the root; -EBADF without one */
    int dev;      /* the root's /dev, when the default devices belong there */
    int pts;      /* the container's devpts; -EBADF without one */
    int console;  /* the terminal's slave; -EBADF without one */
    struct passwd_user user;
};

static inline bool container_is_new(const struct container *c, int type)
{
    const struct oci_namespace *ns = oci_config_namespace(c->config, type);
    return ns && !ns->path;
}

/* start.c: the fork of the caller that starts the container; launch.c hears what it reports. */
_noreturn_ void container_starter(const struct runtime_start *s, bool hold, pid_t caller,
                                  int report);

/* hold.c: *ret_socket is owned. The wait gives the connection that says go. */
int container_hold(const char *run_dir, int *ret_socket, struct error *err) _must_check_;
int container_hold_wait(int socket, int *ret_connection) _must_check_;

/* init.c: the first process, from its birth to its exec. */
_noreturn_ void container_init(struct container *c);
/* Puts the first process into the groups it was not born into. */
int container_join_groups(struct container *c, struct error *err) _must_check_;

/* userns.c: what the starter does for a first process in a user namespace, which can neither map
 * its ids, nor join its groups, nor open what belongs to the host; and the other side of it. */
/* True when the first process waits for that: with a user namespace, or mounts with shifted owners.
 */
bool container_needs_preparation(const struct container *c);
int container_prepare(struct container *c, pid_t pid, int channel, struct error *err) _must_check_;
bool container_is_privileged(void); /* over the namespaces it is in */
int container_take_prepared(struct container *c, struct error *err) _must_check_;

/* root.c */
/* The root as a detached mount; user_ns >= 0: with its owners shifted for that namespace. */
int container_make_root(const struct container *c, int user_ns, int *ret_fd,
                        struct error *err) _must_check_;
int container_root(struct container *c, struct error *err) _must_check_;
int container_pivot(struct container *c, struct error *err) _must_check_;

/* mounts.c */
int container_mounts(struct container *c, struct error *err) _must_check_;
/* What a bind mount binds: its path, owned; and detached. */
char *container_bind_path(const struct container *c, const struct oci_mount *m);
int container_bind_source(const struct container *c, const struct oci_mount *m, bool recursive,
                          int *ret_fd, struct error *err) _must_check_;
int container_cgroup_mounts(struct container *c, struct error *err) _must_check_;

/* target.c: the place for a mount inside the root, made when it is not there. */
int container_target(int root, const char *path, bool directory, int *ret_fd,
                     struct error *err) _must_check_;
/* The same for /proc, /sys and /dev: no component may be a symlink. */
int container_target_strict(int root, const char *path, int *ret_fd,
                            struct error *err) _must_check_;

/* devices.c */
int container_devices(struct container *c, struct error *err) _must_check_;
int container_console(struct container *c, struct error *err) _must_check_;
/* Allocates a terminal from a devpts: *ret_master and *ret_slave are owned. */
int container_terminal(int pts, int *ret_master, int *ret_slave, struct error *err) _must_check_;
/* Gives it the size that the process asks for, or this one if any. */
void container_terminal_size(const struct oci_process *p, struct terminal_size size, int master);
/* All device rules of a container: the configuration's and those every container needs. Owned. */
struct device_rule *container_device_rules(const struct oci_config *config, size_t *ret_n);

/* seal.c */
int container_load_filter(const struct seccomp_filter *f, int channel,
                          struct error *err) _must_check_;

/* host.c: what a process takes from the host's kernel, kept across exec. */
int container_host_settings(const struct oci_process *p, struct error *err) _must_check_;
int container_personality(const struct oci_linux *l, struct error *err) _must_check_;
int container_memory_policy(const struct oci_linux *l, struct error *err) _must_check_;
/* list as in cpuset(7); NULL: all. */
int container_processors(const char *list, struct error *err) _must_check_;
/* While the host's /proc can be seen; takes effect at exec. */
int container_exec_labels(const struct oci_process *p, struct error *err) _must_check_;

/* paths.c */
int container_masked_paths(struct container *c, struct error *err) _must_check_;
int container_readonly_paths(struct container *c, struct error *err) _must_check_;
int container_sysctls(struct container *c, struct error *err) _must_check_;

/* limits.c */
int container_cgroup_create(struct container *c, struct error *err) _must_check_;

/*
 * process.c: what a process of a container becomes, for the first one and for exec alike.
 */
struct container_process {
    const struct oci_process *oci;
    const struct oci_linux *linux_;
    const struct passwd_user *user;
    const struct seccomp_filter *filter; /* NULL: none */
    bool all_capabilities;
    int channel;     /* where the listener of a filter that notifies goes */
    bool seal_later; /* container_become leaves the filter to container_seal */
};
/* Who the configuration, or `spec` when not NULL, means; looked up in the root. */
int container_user(int root, const struct oci_user *oci, const char *spec, struct passwd_user *ret,
                   struct error *err) _must_check_;
/* Becomes the root of the user namespace that it is in. 0 or -errno. */
int container_namespace_root(bool keep_groups) _must_check_;
/* Changes to a directory of the root; refuses what is outside. */
int container_chdir(int root, const char *cwd, struct error *err) _must_check_;
/* Limits, ids, capabilities, no_new_privs, filter: everything up to exec. */
int container_become(const struct container_process *p, struct error *err) _must_check_;
int container_seal(const struct container_process *p, struct error *err) _must_check_;
/* A session of its own, with the terminal (when >= 0) as 0, 1, 2 and controlling terminal. */
int container_session(int console, struct error *err) _must_check_;
/* The file that name means with env's PATH, as this user may execute it; owned. */
int container_find_executable(const char *name, char *const *env, char **ret,
                              struct error *err) _must_check_;
/* Executes file, or what argv[0] means when it is NULL; comes back only with an error of one of the
 * two command kinds. */
int container_execute(const char *file, char *const *argv, char *const *env,
                      struct error *err) _must_check_;
/* env with HOME added when it has none; owned. */
char **container_environment(char *const *env, const struct passwd_user *user);

/* reaper.c: --init. The caller goes on as the workload; the process that called stays process 1 and
 * never comes back from here. */
int container_reaper(struct error *err) _must_check_;
