/*
 * What a process takes from the host's kernel besides namespaces and limits: scheduler, priorities,
 * processors, memory policy, personality, labels. All of it is kept across exec, and is set while
 * the process still has the right to.
 */
#include <fcntl.h>
#include <linux/ioprio.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "kernel/processors.h"
#include "runtime/container/internal.h"

/* sched_setattr(2); the C library has no declaration. */
struct scheduler_attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t util_min, util_max;
};

int container_processors(const char *list, struct error *err)
{
    return processors_use(list, err);
}

static int set_scheduler(const struct oci_scheduler *s, struct error *err)
{
    struct scheduler_attributes a = {
        .size = sizeof(a),
        .policy = (uint32_t)s->policy,
        .flags = s->flags,
        .nice = s->nice,
        .priority = (uint32_t)s->priority,
        .runtime = s->runtime,
        .deadline = s->deadline,
        .period = s->period,
    };
    if (syscall(SYS_sched_setattr, 0, &a, 0) < 0)
        return error_errno(err, errno, "set the scheduler");
    return 0;
}

int container_host_settings(const struct oci_process *p, struct error *err)
{
    int r = p->has_scheduler ? set_scheduler(&p->scheduler, err) : 0;
    if (r < 0)
        return r;
    if (p->has_io_priority && syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
                                      IOPRIO_PRIO_VALUE(p->io_class, p->io_priority)) < 0)
        return error_errno(err, errno, "set the I/O priority");
    return 0;
}

int container_memory_policy(const struct oci_linux *l, struct error *err)
{
    struct number_set nodes;
    if (!l->has_memory_policy)
        return 0;
    bool has_nodes = l->memory_nodes && *l->memory_nodes;
    if (has_nodes && number_set_parse(l->memory_nodes, &nodes) < 0)
        return error_invalid(err, "linux.memoryPolicy: \"%s\" is no list of nodes",
                             l->memory_nodes);
    if (syscall(SYS_set_mempolicy, l->memory_mode | (int)l->memory_flags,
                has_nodes ? nodes.bits : NULL, has_nodes ? NUMBER_SET_MAX + 1 : 0) < 0)
        return error_errno(err, errno, "set the memory policy");
    return 0;
}

int container_personality(const struct oci_linux *l, struct error *err)
{
    if (l->has_personality && personality(l->personality) < 0)
        return error_errno(err, errno, "set the personality");
    return 0;
}

static int write_label(const char *file, const char *label, struct error *err)
{
    int r = file_write_kernel(AT_FDCWD, file, label);
    return r < 0 ? error_errno(err, r, "give the process the label \"%s\"", label) : 0;
}

/* A host without the module cannot keep the promise, and must say so. */
int container_exec_labels(const struct oci_process *p, struct error *err)
{
    const char *apparmor = p->apparmor_profile, *selinux = p->selinux_label;
    if (selinux && *selinux) {
        if (access("/sys/fs/selinux/enforce", F_OK) < 0)
            return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                             "process.selinuxLabel: SELinux is not active on this host");
        return write_label("/proc/thread-self/attr/exec", selinux, err);
    }
    if (!apparmor || !*apparmor || strcmp(apparmor, "unconfined") == 0)
        return 0;
    if (access("/sys/module/apparmor", F_OK) < 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "process.apparmorProfile: AppArmor is not active on this host");
    _cleanup_free_ char *text = xasprintf("exec %s", apparmor);
    bool own = access("/proc/thread-self/attr/apparmor/exec", F_OK) == 0;
    return write_label(own ? "/proc/thread-self/attr/apparmor/exec" : "/proc/thread-self/attr/exec",
                       text, err);
}
