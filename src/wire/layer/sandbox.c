/*
 * In this order, because each step needs what the next takes away: limits, the unprivileged user
 * (which drops the capabilities), no_new_privs, Landlock (no path may be opened at all), and last
 * the list of system calls. A call that is not listed ends the program, apart from opening files
 * and the like, which libraries try and can do without. Making a thread is on the list until
 * sandbox_seal; making a process never is.
 */
#include "wire/layer/sandbox.h"

#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "base/unprivileged.h"

#define MEMORY_LIMIT ((rlim_t)3 << 30)

static const int allowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(pwrite64),
    SCMP_SYS(writev),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(ftruncate),
    SCMP_SYS(close),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(brk),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(getrandom),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(tgkill),
    SCMP_SYS(restart_syscall),
    /* a thread's beginning, and sandbox_seal */
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rseq),
    SCMP_SYS(seccomp),
};

/* Refused in a way that a library takes as "there is none". */
static const int denied[] = {
    SCMP_SYS(open),    SCMP_SYS(openat),    SCMP_SYS(newfstatat), SCMP_SYS(access),
    SCMP_SYS(stat),    SCMP_SYS(readlink),  SCMP_SYS(ioctl),      SCMP_SYS(fcntl),
    SCMP_SYS(sysinfo), SCMP_SYS(prlimit64), SCMP_SYS(fadvise64),  SCMP_SYS(sched_getaffinity),
};

static int set_limits(void)
{
    int r = unprivileged_limit(RLIMIT_CORE, 0);
    if (r == 0)
        r = unprivileged_limit(RLIMIT_NOFILE, 16);
    if (r == 0 && !UNPRIVILEGED_SANITIZED)
        r = unprivileged_limit(RLIMIT_AS, MEMORY_LIMIT);
    return r;
}

/* Where the kernel has no Landlock, the list of system calls alone keeps files away. */
static int forbid_paths(void)
{
    return unprivileged_paths(NULL, NULL);
}

static int add_rules(scmp_filter_ctx filter)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(allowed); i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(denied); i++) {
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), denied[i], 0);
        if (r == -EDOM) /* this architecture has no such call */
            r = 0;
    }
    /* The C library takes this one for one that the kernel lacks, and then the older one, whose
     * flags can be seen: a thread, never a process. */
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_VM | CLONE_SIGHAND,
                                     CLONE_THREAD | CLONE_VM | CLONE_SIGHAND));
    /* Memory, but never executable. */
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return r;
}

static int filter_calls(void)
{
    if (UNPRIVILEGED_SANITIZED)
        return 0;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return -ENOMEM;
    int r = add_rules(filter);
    if (r == 0)
        r = seccomp_load(filter);
    seccomp_release(filter);
    return r;
}

int sandbox_seal(struct error *err)
{
    static const int over[] = {SCMP_SYS(clone), SCMP_SYS(clone3), SCMP_SYS(seccomp)};
    if (UNPRIVILEGED_SANITIZED)
        return 0;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int r = filter ? seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) : -ENOMEM;
    if (r == 0) /* it is set already, and prctl is not on the list */
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(over); i++)
        r = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, over[i], 0);
    if (r == 0)
        r = seccomp_load(filter);
    if (filter)
        seccomp_release(filter);
    return r < 0 ? error_errno(err, r, "close the system call filter") : 0;
}

int sandbox_enter(struct error *err)
{
    static const struct {
        int (*run)(void);
        const char *what;
    } steps[] = {
        {set_limits, "limit resources"},
        {unprivileged_user, "drop privileges"},
        {forbid_paths, "enter the Landlock domain"},
        {filter_calls, "load the system call filter"},
    };
    if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return error_errno(err, errno, "ignore signals");
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        int r = steps[i].run();
        if (r < 0)
            return error_errno(err, r, "%s", steps[i].what);
    }
    return 0;
}
