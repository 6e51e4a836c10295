/* How the kernel is to schedule a process: scheduler, ioPriority, execCPUAffinity. */
#include <linux/ioprio.h>
#include <sched.h>
#include <string.h>

#include "base/alloc.h"
#include "wire/oci/config-internal.h"

#define POLICY_DEADLINE 6 /* linux/sched.h, which cannot be had together with sched.h */

static const struct oci_word policies[] = {
    {"SCHED_OTHER", SCHED_OTHER}, {"SCHED_FIFO", SCHED_FIFO}, {"SCHED_RR", SCHED_RR},
    {"SCHED_BATCH", SCHED_BATCH}, {"SCHED_IDLE", SCHED_IDLE}, {"SCHED_DEADLINE", POLICY_DEADLINE},
};

/* SCHED_FLAG_UTIL_CLAMP_* take values that the specification has no word for. */
static const struct oci_word scheduler_flag_words[] = {
    {"SCHED_FLAG_RESET_ON_FORK", 0x01},  {"SCHED_FLAG_RECLAIM", 0x02},
    {"SCHED_FLAG_DL_OVERRUN", 0x04},     {"SCHED_FLAG_KEEP_POLICY", 0x08},
    {"SCHED_FLAG_KEEP_PARAMS", 0x10},    {"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20},
    {"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40},
};

static const struct oci_words scheduler_flags = OCI_WORDS(scheduler_flag_words);

static const struct oci_word io_classes[] = {
    {"IOPRIO_CLASS_RT", IOPRIO_CLASS_RT},
    {"IOPRIO_CLASS_BE", IOPRIO_CLASS_BE},
    {"IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE},
};

/* What a policy does not use would be dropped without a word. */
static int check_scheduler(const struct oci_scheduler *s, struct error *err)
{
    static const char where[] = "process.scheduler";
    if (s->priority != 0 && s->policy != SCHED_FIFO && s->policy != SCHED_RR)
        return error_invalid(err, "%s: \"priority\" is for SCHED_FIFO and SCHED_RR", where);
    if ((s->runtime || s->deadline || s->period) && s->policy != POLICY_DEADLINE)
        return error_invalid(
            err, "%s: \"runtime\", \"deadline\" and \"period\" are for SCHED_DEADLINE", where);
    return 0;
}

static int read_scheduler(const json_t *process, struct oci_process *p, struct error *err)
{
    static const char where[] = "process.scheduler";
    const char *policy = NULL;
    int64_t value, nice = 0, priority = 0, flags = 0, runtime = 0, deadline = 0, period = 0;
    json_t *o;
    int r = json_get_object(process, "process", "scheduler", &o, err);
    if (r < 0 || !o)
        return r;
    if ((r = json_get_string(o, where, "policy", &policy, err)) < 0 ||
        (r = oci_require(policy, where, "policy", err)) < 0 ||
        (r = OCI_WORD(policies, policy, "process.scheduler.policy", &value, err)) < 0 ||
        (r = oci_number(o, where, "nice", -20, 19, &nice, err)) < 0 ||
        (r = oci_number(o, where, "priority", 0, 99, &priority, err)) < 0 ||
        (r = oci_number(o, where, "runtime", 0, INT64_MAX, &runtime, err)) < 0 ||
        (r = oci_number(o, where, "deadline", 0, INT64_MAX, &deadline, err)) < 0 ||
        (r = oci_number(o, where, "period", 0, INT64_MAX, &period, err)) < 0 ||
        (r = oci_word_flags(o, where, "flags", &scheduler_flags, &flags, err)) < 0)
        return r;
    p->has_scheduler = true;
    p->scheduler = (struct oci_scheduler){
        .policy = (int)value,
        .nice = (int32_t)nice,
        .priority = (int32_t)priority,
        .flags = (uint64_t)flags,
        .runtime = (uint64_t)runtime,
        .deadline = (uint64_t)deadline,
        .period = (uint64_t)period,
    };
    return check_scheduler(&p->scheduler, err);
}

static int read_io_priority(const json_t *process, struct oci_process *p, struct error *err)
{
    static const char where[] = "process.ioPriority";
    static const char *const keys[] = {"priority", NULL};
    const char *class = NULL;
    int64_t value, priority = 0;
    json_t *o;
    int r = json_get_object(process, "process", "ioPriority", &o, err);
    if (r < 0 || !o)
        return r;
    if ((r = json_get_string(o, where, "class", &class, err)) < 0 ||
        (r = oci_require(class, where, "class", err)) < 0 ||
        (r = OCI_WORD(io_classes, class, "process.ioPriority.class", &value, err)) < 0 ||
        (r = oci_require_members(o, where, keys, err)) < 0 ||
        (r = oci_number(o, where, "priority", 0, 7, &priority, err)) < 0)
        return r;
    p->has_io_priority = true;
    p->io_class = (int)value;
    p->io_priority = (int)priority;
    return 0;
}

int oci_process_host_from_json(const json_t *o, struct oci_process *p, struct error *err)
{
    static const struct field fields[] = {
        FIELD("initial", STRING, struct oci_process, cpus_initial),
        FIELD("final", STRING, struct oci_process, cpus_final),
    };
    json_t *affinity;
    int r;
    if ((r = read_scheduler(o, p, err)) < 0 || (r = read_io_priority(o, p, err)) < 0 ||
        (r = json_get_object(o, "process", "execCPUAffinity", &affinity, err)) < 0)
        return r;
    return affinity ? OCI_FIELDS(affinity, "process.execCPUAffinity", fields, p, err) : 0;
}
