#include "engine/lifecycle.h"

/* What a state means for a verb. */
enum answer {
    GO,
    DONE,           /* already so */
    NOT_RUNNING,    /* refuse */
    IS_PAUSED,      /* refuse */
    IS_RUNNING,     /* refuse */
    IS_RESTARTING,  /* refuse */
    NOT_PAUSED,     /* refuse */
    STOP_FIRST,     /* refuse */
    ALREADY_PAUSED, /* refuse */
};

static const char *const refusals[] = {
    [NOT_RUNNING] = "is not running (proa start %s)",
    [IS_PAUSED] = "is paused (proa unpause %s)",
    [IS_RUNNING] = "is running (proa stop %s)",
    [IS_RESTARTING] = "is waiting to be restarted (proa stop %s ends that)",
    [ALREADY_PAUSED] = "is already paused (proa unpause %s)",
    [STOP_FIRST] = "is not stopped (proa stop %s, or rm -f)",
    [NOT_PAUSED] = "is not paused (proa pause %s)",
};

/* One row a verb; columns: created, running, paused, restarting, exited. */
static const unsigned char table[VERB_COUNT][STATE_COUNT] = {
    [VERB_START] = {GO, DONE, IS_PAUSED, DONE, GO},
    [VERB_START_ATTACHED] = {GO, IS_RUNNING, IS_PAUSED, IS_RESTARTING, GO},
    [VERB_STOP] = {DONE, GO, GO, GO, DONE},
    [VERB_KILL] = {NOT_RUNNING, GO, GO, IS_RESTARTING, NOT_RUNNING},
    [VERB_PAUSE] = {NOT_RUNNING, GO, ALREADY_PAUSED, IS_RESTARTING, NOT_RUNNING},
    [VERB_UNPAUSE] = {NOT_RUNNING, NOT_PAUSED, GO, NOT_PAUSED, NOT_RUNNING},
    [VERB_EXEC] = {NOT_RUNNING, GO, IS_PAUSED, IS_RESTARTING, NOT_RUNNING},
    [VERB_ATTACH] = {NOT_RUNNING, GO, IS_PAUSED, IS_RESTARTING, NOT_RUNNING},
    [VERB_OBSERVE] = {NOT_RUNNING, GO, GO, IS_RESTARTING, NOT_RUNNING},
    [VERB_REMOVE] = {GO, STOP_FIRST, STOP_FIRST, STOP_FIRST, GO},
    [VERB_REMOVE_FORCED] = {GO, GO, GO, GO, GO},
    [VERB_SNAPSHOT] = {GO, GO, GO, IS_RESTARTING, GO},
    [VERB_MIGRATE] = {GO, GO, IS_PAUSED, IS_RESTARTING, GO},
    [VERB_RESTORE] = {GO, IS_RUNNING, IS_PAUSED, IS_RESTARTING, GO},
};

const char *instance_state_name(enum instance_state state)
{
    static const char *const names[STATE_COUNT] = {"created", "running", "paused", "restarting",
                                                   "exited"};
    return (size_t)state < STATE_COUNT ? names[state] : "unknown";
}

int lifecycle_check(enum verb verb, enum instance_state state, const char *name, struct error *err)
{
    unsigned int answer = table[verb][state];
    char why[128];
    if (answer == GO)
        return 1;
    if (answer == DONE)
        return 0;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(why, sizeof(why), refusals[answer], name);
#pragma GCC diagnostic pop
    return error_set(err, ERROR_CONFLICT, EBUSY, "instance %s %s", name, why);
}
