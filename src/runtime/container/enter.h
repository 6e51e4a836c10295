/*
 * One more process in a running container, for the programs proa-exec and proa-oci. The caller's
 * own program must be one that cannot be written to (kernel/exe.h), and it should hold nothing
 * that it can do without.
 */
#pragma once

#include "base/terminal.h"
#include "kernel/cgroup.h"
#include "kernel/seccomp.h"
#include "runtime/container/channel.h"
#include "wire/oci/config.h"

struct container_enter {
    const struct oci_process *process;   /* what it is to be; its env is all it gets, and HOME */
    const struct oci_linux *linux_;      /* the container's */
    const char *user;                    /* "user[:group]", looked up inside; NULL: process->user */
    const struct seccomp_filter *filter; /* NULL: none */
    const struct cgroup *cgroup;         /* where it is born */
    const char *scope;                   /* systemd's unit that the group is; NULL: none */
    int pidfd;                           /* the container's first process */
    pid_t pid;                           /* its number, which pidfd keeps from being another's */
    bool own_user_namespace;             /* the container has one */
    bool all_capabilities;
    bool terminal;             /* a terminal of the container's own is sent over the channel */
    struct terminal_size size; /* which it has from the start; 0x0: as the process says */
    unsigned int preserve_fds; /* descriptors from 3 on that stay open in it */
    int channel; /* above those; sends CONSOLE, STARTED (the pid) and ERROR, and ends at exec */
};

/* Makes the process, a child of the caller: *ret_helper is a child too, which ends at once and is
 * to be waited for. 0, 1 and 2 become the process's. */
int container_enter(const struct container_enter *e, pid_t *ret_helper,
                    struct error *err) _must_check_;

/* True when that process's user namespace is not this one's. */
bool container_has_user_namespace(pid_t pid);
