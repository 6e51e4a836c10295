/*
 * In this order, because each step needs what the next takes away: limits, the unprivileged user
 * (which drops the capabilities), no_new_privs, Landlock, and last the list of system calls. Where
 * the kernel has no Landlock, the list and the user alone keep files away.
 */
#include "wire/confine/confine.h"

#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>

static int ignore_signals(const struct confine_job *job)
{
    bool failed = !job->executes &&
                  (signal(SIGXFSZ, SIG_IGN) == SIG_ERR || signal(SIGPIPE, SIG_IGN) == SIG_ERR);
    return failed ? -errno : 0;
}

static int set_limits(const struct confine_job *job)
{
    int r = unprivileged_limit(RLIMIT_CORE, 0);
    for (size_t i = 0; r == 0 && i < job->n_limits; i++) {
        const struct confine_limit *l = &job->limits[i];
        if (l->resource != RLIMIT_AS || job->executes || !UNPRIVILEGED_SANITIZED)
            r = unprivileged_limit(l->resource, l->most);
    }
    return r;
}

static int drop_user(const struct confine_job *job)
{
    if (job->stays)
        return geteuid() == 0 ? -EPERM : 0;
    return job->uid ? unprivileged_become(job->uid) : unprivileged_user();
}

static int limit_paths(const struct confine_job *job)
{
    return unprivileged_paths(job->paths, job->context);
}

static int add_list(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t n)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        r = seccomp_rule_add(filter, action, calls[i], 0);
        if (r == -EDOM) /* this architecture has no such call */
            r = 0;
    }
    return r;
}

/* The C library takes clone3(2), whose flags a filter cannot see, for one that the kernel lacks,
 * and then the older one. */
static int add_threads(scmp_filter_ctx filter, const struct confine_job *job)
{
    bool all = job->others == CONFINE_ALLOW;
    scmp_datum_t wanted = all ? 0 : CLONE_THREAD;
    int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (r == 0)
        r = seccomp_rule_add(filter, all ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_ALLOW, SCMP_SYS(clone),
                             1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, wanted));
    return r;
}

/* Memory, but never executable, unless it is a library's and read-only. */
static int add_memory(scmp_filter_ctx filter, const struct confine_job *job)
{
    int r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (r == 0 && job->libraries)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC));
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return r;
}

static int add_rules(scmp_filter_ctx filter, const struct confine_job *job)
{
    uint32_t deny = SCMP_ACT_ERRNO(job->others == CONFINE_ALLOW ? EPERM : EACCES);
    int r = add_list(filter, SCMP_ACT_ALLOW, job->allowed, job->n_allowed);
    if (r == 0)
        r = add_list(filter, SCMP_ACT_ALLOW, job->more, job->n_more);
    if (r == 0)
        r = add_list(filter, deny, job->denied, job->n_denied);
    if (r == 0 && job->threads)
        r = add_threads(filter, job);
    if (r == 0 && job->others != CONFINE_ALLOW)
        r = add_memory(filter, job);
    if (r == 0 && job->conditions)
        r = job->conditions(filter);
    return r;
}

static int filter_calls(const struct confine_job *job)
{
    static const uint32_t others[] = {
        [CONFINE_END] = SCMP_ACT_KILL_PROCESS,
        [CONFINE_REFUSE] = SCMP_ACT_ERRNO(EPERM),
        [CONFINE_ALLOW] = SCMP_ACT_ALLOW,
    };
    if (UNPRIVILEGED_SANITIZED && !job->executes)
        return 0;
    scmp_filter_ctx filter = seccomp_init(others[job->others]);
    int r = filter ? add_rules(filter, job) : -ENOMEM;
    if (r == 0)
        r = seccomp_load(filter);
    if (filter)
        seccomp_release(filter);
    return r;
}

int confine_enter(const struct confine_job *job, struct error *err)
{
    static const struct {
        int (*run)(const struct confine_job *job);
        const char *what;
    } steps[] = {
        {ignore_signals, "ignore signals"},
        {set_limits, "limit resources"},
        {drop_user, "drop privileges"},
        {limit_paths, "enter the Landlock domain"},
        {filter_calls, "load the system call filter"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        int r = steps[i].run(job);
        if (r < 0)
            return error_errno(err, r, "%s", steps[i].what);
    }
    return 0;
}
