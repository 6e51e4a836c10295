/*
 * Carrying bytes between the caller's standard descriptors and a process that runs somewhere else,
 * until that process ends. The process never gets the caller's own descriptors.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* All descriptors are borrowed, except that `in` is closed when the caller's input ends. */
struct relay {
    int stdio[3];        /* the caller's */
    int in;              /* the process's input, to write to; -EBADF: none */
    int out, err;        /* its outputs, to read from; -EBADF: none */
    int console;         /* or its terminal's master, for all three; -EBADF: none */
    int end;             /* readable once the process has ended (a pidfd) */
    int64_t deadline_ms; /* monotonic; then -ETIMEDOUT, with the process still running; 0: none */
};

/* Runs until r->end is readable and what was written until then has been carried. With a console,
 * the caller's terminal is put in raw mode meanwhile, and its size followed. Reading the caller's
 * input is up to r->in, or with a console to `interactive`. */
int relay_run(struct relay *r, bool interactive, struct error *err) _must_check_;
