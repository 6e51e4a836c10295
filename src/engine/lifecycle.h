/*
 * The life of an instance as a table: which verb is possible in which state, for both kinds. Every
 * use case asks here first, so that a refusal reads the same wherever it comes from.
 */
#pragma once

#include "base/error.h"

enum instance_state {
    STATE_CREATED, /* never started */
    STATE_RUNNING,
    STATE_PAUSED,     /* running, frozen */
    STATE_RESTARTING, /* its monitor waits before the next try */
    STATE_EXITED,
};
#define STATE_COUNT 5

enum verb {
    VERB_START,
    VERB_START_ATTACHED, /* run, start -a */
    VERB_STOP,
    VERB_KILL,
    VERB_PAUSE,
    VERB_UNPAUSE,
    VERB_EXEC,
    VERB_ATTACH,
    VERB_OBSERVE, /* top, stats */
    VERB_REMOVE,
    VERB_REMOVE_FORCED,
    VERB_SNAPSHOT,
    VERB_RESTORE,
    VERB_MIGRATE,
    VERB_COUNT,
};

/* Docker's words: "created", "running", "paused", "restarting", "exited". */
const char *instance_state_name(enum instance_state state);

/* 1: go ahead. 0: nothing to do, and that is success. ERROR_CONFLICT: not in this state, and what
 * to do about it. */
int lifecycle_check(enum verb verb, enum instance_state state, const char *name,
                    struct error *err) _must_check_;
