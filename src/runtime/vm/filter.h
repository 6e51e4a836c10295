/*
 * A filter of system calls, put together from tables and loaded into the calling thread. Rules
 * are asked in the order in which they were added; the first that fits decides.
 */
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>

#include "base/error.h"

#define FILTER_MAX 320u

struct filter {
    struct sock_filter at[FILTER_MAX];
    size_t n;
};

/* A call of another architecture, or of x32, ends the process: no table speaks of them. */
void filter_begin(struct filter *f);
void filter_calls(struct filter *f, const long *calls, size_t n, uint32_t action);
/* That call, with any of these bits in its argument of that number (from 0). */
void filter_any_bit(struct filter *f, long call, size_t argument, uint32_t bits, uint32_t action);
/* With all of them. */
void filter_all_bits(struct filter *f, long call, size_t argument, uint32_t bits, uint32_t action);
/* What no rule fits; loads it. Needs no_new_privs. 0 or -errno. */
int filter_load(struct filter *f, uint32_t action) _must_check_;
