/* Loading a compiled seccomp filter (struct sock_filter[], as proa-seccomp writes it). */
#pragma once

#include <linux/filter.h>
#include <stddef.h>

#include "base/error.h"

struct seccomp_filter {
    struct sock_filter *instructions; /* owned */
    unsigned short n;
};

/* Reads a compiled filter; at most BPF_MAXINSNS instructions. */
int seccomp_filter_read(const char *path, struct seccomp_filter *ret,
                        struct error *err) _must_check_;
void seccomp_filter_done(struct seccomp_filter *f);

/* Applies it to the calling thread: needs no_new_privs or CAP_SYS_ADMIN. 0 or -errno. */
int seccomp_filter_load(const struct seccomp_filter *f) _must_check_;
