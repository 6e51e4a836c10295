/* Restart policies: the rule and the waiting time, apart from any process. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum restart_policy {
    RESTART_NO,
    RESTART_ON_FAILURE,
    RESTART_ALWAYS,
    RESTART_UNLESS_STOPPED, /* differs from always only for who starts instances after a reboot */
};

struct restart {
    enum restart_policy policy;
    uint32_t max;   /* on-failure: tries after the first; 0: no limit */
    uint32_t count; /* restarts so far */
    int64_t delay_ms;
};

/* "no", "on-failure", "on-failure:N", "always", "unless-stopped". */
int restart_parse(const char *text, struct restart *ret) _must_check_;

/* Whether to start again after a run of ran_ms that ended with exit_code; counts it, and gives the
 * time to wait first: 100 ms, doubled each time up to a minute, afresh after a healthy run. */
bool restart_again(struct restart *r, int exit_code, int64_t ran_ms, int64_t *ret_wait_ms);
