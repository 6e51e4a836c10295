/*
 * When health checks are made. A check is a process that the monitor starts and waits for; what is
 * checked, and what comes of it, is the engine's (engine/health.h). So the monitor stays small, and
 * an instance without checks costs nothing.
 */
#pragma once

#include <stdint.h>

#include "runtime/monitor/call.h"

struct health_times {
    uint64_t interval_ms; /* from the end of a check to the next; 0: no checks */
    uint64_t start_interval_ms, start_period_ms; /* while the run is younger than the period */
};

struct health {
    const struct health_times *times;
    int64_t started_ms, next_ms; /* monotonic; next_ms 0: none is due, or one is being made */
    struct call check;           /* that is being made */
};

/* A run has begun. */
void health_begin(struct health *h, const struct health_times *times, int64_t now_ms);
/* It has ended, and a check with it. */
void health_end(struct health *h);

/* Starts a check: PROGRAM --root ROOT internal health ID. */
void health_start(struct health *h, const char *program, const char *root, const char *id,
                  int64_t now_ms);
/* The check's pid_fd is readable. */
void health_reap(struct health *h, int64_t now_ms);
