/*
 * Runs CRIU's worker for one request (wire/criu/rpc.h). The program is looked up in PATH and in
 * /usr/sbin; nothing of it is linked.
 */
#pragma once

#include <sys/types.h>

#include "base/process.h"
#include "kernel/cgroup.h"
#include "wire/criu/rpc.h"

/* The worker's descriptors: the standard ones, its socket, and what is given to it besides. */
#define CRIU_SOCKET    3
#define CRIU_FIRST_FD  4
#define CRIU_MAX_GIVEN 8

struct criu_call {
    const char *action;        /* for messages: "checkpoint", "restore" */
    const char *image_path;    /* NULL: no directory is needed */
    const char *work_path;     /* of the log; NULL: image_path */
    int stdio[3];              /* -EBADF: /dev/null */
    int given[CRIU_MAX_GIVEN]; /* CRIU_FIRST_FD and up in the worker; borrowed */
    size_t n_given;
    const struct cgroup *group; /* what the worker is put into; NULL: it stays where it is */
    const char *root;           /* bound to root_place, in a mount namespace of the worker's own */
    const char *root_place;
    /* Refused in this notification, the worker is killed, because it would go on. NULL: none. */
    const char *last_script;
    void *context;
    /* A notification; fd is borrowed, -EBADF without one. May be NULL. */
    int (*notify)(void *context, const char *script, pid_t pid, int fd, struct error *err);
};

/* 317 for 3.17. */
int criu_version(const char *action, unsigned int *ret, struct error *err) _must_check_;

/* Fills in the directories of the request. *ret is the answer; the pid of what a restore restored
 * is a child of the caller. */
int criu_run(const struct criu_call *call, struct criu_request *request, struct criu_answer *ret,
             struct error *err) _must_check_;
