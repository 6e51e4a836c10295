/*
 * No path may be opened at all. A call that is not listed ends the program, apart from opening
 * files and the like, which libraries try and can do without. Making a thread is on the list until
 * confine_compute_seal; making a process never is.
 */
#include "wire/confine/compute.h"

#include <seccomp.h>

#include "wire/confine/confine.h"

#define MEMORY_BYTES ((rlim_t)3 << 30)
#define FILES        16

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
    /* a thread's beginning, and confine_compute_seal */
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

int confine_compute(struct error *err)
{
    static const struct confine_limit limits[] = {{RLIMIT_NOFILE, FILES},
                                                  {RLIMIT_AS, MEMORY_BYTES}};
    static const struct confine_job job = {
        .limits = limits,
        .n_limits = ARRAY_SIZE(limits),
        .others = CONFINE_END,
        .allowed = allowed,
        .n_allowed = ARRAY_SIZE(allowed),
        .denied = denied,
        .n_denied = ARRAY_SIZE(denied),
        .threads = true,
    };
    return confine_enter(&job, err);
}

int confine_compute_seal(struct error *err)
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
