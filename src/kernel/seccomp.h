/* Loading a compiled seccomp filter (struct sock_filter[], as proa-seccomp writes it). */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct seccomp_filter {
    struct sock_filter *instructions; /* owned */
    unsigned short n;
    unsigned long flags; /* SECCOMP_FILTER_FLAG_LOG, _SPEC_ALLOW, _WAIT_KILLABLE_RECV */
    bool notifies;       /* some calls are asked about through a listener */
};

/* The flag of that name ("SECCOMP_FILTER_FLAG_LOG"); -EINVAL when unknown. TSYNC gives 0: a process
 * that loads a filter here has one thread. */
int seccomp_flag(const char *name, unsigned long *ret) _must_check_;

/* Reads a compiled filter; at most BPF_MAXINSNS instructions. */
int seccomp_filter_read(const char *path, struct seccomp_filter *ret,
                        struct error *err) _must_check_;
void seccomp_filter_done(struct seccomp_filter *f);

/* Applies it to the calling thread: needs no_new_privs or CAP_SYS_ADMIN. *ret_listener (may be
 * NULL) is the listener's descriptor, close-on-exec, when f notifies, else -EBADF. 0 or -errno. */
int seccomp_filter_load(const struct seccomp_filter *f, int *ret_listener) _must_check_;
