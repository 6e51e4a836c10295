/*
 * What a program gives away before it reads bytes from outside. Each such program has a job: a
 * table of what it may still do (seccomp(2), landlock(7), setrlimit(2)).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/unprivileged.h"

/* What becomes of a system call that is in neither list. */
enum confine_others {
    CONFINE_END,    /* the program ends: it has no reason to make it */
    CONFINE_REFUSE, /* EPERM: its libraries try more than they need */
    CONFINE_ALLOW,  /* a large program of somebody else's, of which no list can be made */
};

struct confine_limit {
    int resource; /* RLIMIT_* */
    rlim_t most;
};

struct confine_job {
    const struct confine_limit *limits;
    size_t n_limits;
    bool stays;                /* was started as its user, and outlives who started it */
    uid_t uid;                 /* of nobody else; 0: "nobody" */
    unprivileged_allow *paths; /* what may be opened; NULL: nothing */
    const void *context;       /* for paths */
    enum confine_others others;
    /* System calls (SCMP_SYS). Denied ones get EACCES, which a library takes as "there is none". */
    const int *allowed, *more, *denied;
    size_t n_allowed, n_more, n_denied;
    int (*conditions)(void *filter); /* further rules (seccomp_rule_add(3)); may be NULL */
    bool threads;                    /* may be made; processes never */
    bool libraries; /* may be loaded: memory with code, but none that was written here */
    bool executes;  /* another program is executed next: signals stay as they are */
};

/* Called once, single-threaded, with all files open that are needed. SIGPIPE and SIGXFSZ are
 * ignored afterwards. A sanitized program has no list of system calls and no bound on memory. */
int confine_enter(const struct confine_job *job, struct error *err) _must_check_;
