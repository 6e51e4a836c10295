/* How the kernel is to schedule a process: scheduler, ioPriority, execCPUAffinity. */
#include <linux/ioprio.h>
#include <sched.h>
#include <string.h>

#include "base/alloc.h"
#include "wire/oci/config-internal.h"

static const struct oci_word policies[] = {
    {"SCHED_OTHER", SCHED_OTHER}, {"SCHED_FIFO", SCHED_FIFO}, {"SCHED_RR", SCHED_RR},
    {"SCHED_BATCH", SCHED_BATCH}, {"SCHED_IDLE", SCHED_IDLE}, {"SCHED_DEADLINE", 6},
};

/* linux/sched.h, which cannot be had together with sched.h. SCHED_FLAG_UTIL_CLAMP_* take values
 * that the specification has no word for. */
static const struct oci_word scheduler_flags[] = {
    {"SCHED_FLAG_RESET_ON_FORK", 0x01},  {"SCHED_FLAG_RECLAIM", 0x02},
    {"SCHED_FLAG_DL_OVERRUN", 0x04},     {"SCHED_FLAG_KEEP_POLICY", 0x08},
    {"SCHED_FLAG_KEEP_PARAMS", 0x10},    {"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20},
    {"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40},
};

static const struct oci_word io_classes[] = {
    {"IOPRIO_CLASS_RT", IOPRIO_CLASS_RT},
    {"IOPRIO_CLASS_BE", IOPRIO_CLASS_BE},
    {"IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE},
};

static int read_flags(const json_t *o, struct oci_scheduler *s, struct error *err)
{
    json_t *flags, *item;
    size_t i;
    int r = json_get_array(o, "process.scheduler", "flags", &flags, err);
    if (r < 0 || !flags)
        return r;
    json_array_foreach(flags, i, item)
    {
        int64_t value;
        const char *name = json_string_value(item);
        r = OCI_WORD(scheduler_flags, name ? name : "", "process.scheduler.flags", &value, err);
        if (r < 0)
            return r;
        s->flags |= (uint64_t)value;
    }
    return 0;
}

static int read_scheduler(const json_t *process, struct oci_process *p, struct error *err)
{
    static const char where[] = "process.scheduler";
    const char *policy = NULL;
    int64_t value, nice = 0, priority = 0, runtime = 0, deadline = 0, period = 0;
    json_t *o;
    int r = json_get_object(process, "process", "scheduler", &o, err);
    if (r < 0 || !o)
        return r;
    if ((r = json_get_string(o, where, "policy", &policy, err)) < 0 ||
        (r = oci_require(policy, where, "policy", err)) < 0 ||
        (r = OCI_WORD(policies, policy, "process.scheduler.policy", &value, err)) < 0 ||
        (r = json_get_i64(o, where, "nice", &nice, err)) < 0 ||
        (r = json_get_i64(o, where, "priority", &priority, err)) < 0 ||
        (r = json_get_i64(o, where, "runtime", &runtime, err)) < 0 ||
        (r = json_get_i64(o, where, "deadline", &deadline, err)) < 0 ||
        (r = json_get_i64(o, where, "period", &period, err)) < 0 ||
        (r = read_flags(o, &p->scheduler, err)) < 0)
        return r;
    if (nice < -20 || nice > 19)
        return error_invalid(err, "%s: \"nice\" is not between -20 and 19", where);
    if (priority < 0 || priority > 99)
        return error_invalid(err, "%s: \"priority\" is not between 0 and 99", where);
    if (runtime < 0 || deadline < 0 || period < 0)
        return error_invalid(err, "%s: a time is negative", where);
    p->has_scheduler = true;
    p->scheduler.policy = (int)value;
    p->scheduler.nice = (int32_t)nice;
    p->scheduler.priority = (int32_t)priority;
    p->scheduler.runtime = (uint64_t)runtime;
    p->scheduler.deadline = (uint64_t)deadline;
    p->scheduler.period = (uint64_t)period;
    return 0;
}

static int read_io_priority(const json_t *process, struct oci_process *p, struct error *err)
{
    static const char where[] = "process.ioPriority";
    const char *class = NULL;
    int64_t value, priority = 0;
    json_t *o;
    int r = json_get_object(process, "process", "ioPriority", &o, err);
    if (r < 0 || !o)
        return r;
    if ((r = json_get_string(o, where, "class", &class, err)) < 0 ||
        (r = oci_require(class, where, "class", err)) < 0 ||
        (r = OCI_WORD(io_classes, class, "process.ioPriority.class", &value, err)) < 0 ||
        (r = json_get_i64(o, where, "priority", &priority, err)) < 0)
        return r;
    if (priority < 0 || priority > 7)
        return error_invalid(err, "%s: \"priority\" is not between 0 and 7", where);
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
