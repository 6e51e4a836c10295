/*
 * In this order, because each step needs what the next takes away: limits, the unprivileged user
 * (which drops the capabilities), no_new_privs, Landlock (no path may be opened at all), and last
 * the list of system calls. A call that is not listed ends the program, apart from opening files
 * and the like, which libraries try and can do without.
 */
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/unprivileged.h"
#include "wire/serve/program.h"

static const struct {
    rlim_t files, memory;
} limits[] = {
    [CONFINE_STREAM] = {16, (rlim_t)1 << 30},
    [CONFINE_SERVER] = {8192, (rlim_t)16 << 30}, /* address space: threads' stacks, mostly */
};

static const int for_all[] = {
    SCMP_SYS(read),
    SCMP_SYS(pread64),
    SCMP_SYS(readv),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(close),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(brk),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(getrandom),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(tgkill),
    SCMP_SYS(sched_yield),
    SCMP_SYS(restart_syscall),
};

static const int for_server[] = {
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendfile),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(eventfd2),
    SCMP_SYS(pipe2),
    SCMP_SYS(fcntl),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(getrusage),
    SCMP_SYS(times),
    SCMP_SYS(prctl),
};

/* Refused in a way that a library takes as "there is none". */
static const int denied[] = {
    SCMP_SYS(open),
    SCMP_SYS(openat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(access),
    SCMP_SYS(stat),
    SCMP_SYS(readlink),
    SCMP_SYS(ioctl),
    SCMP_SYS(socket),
    SCMP_SYS(sysinfo),
    SCMP_SYS(prlimit64),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(uname),
};

static int set_limits(enum confine_job job)
{
    int r = unprivileged_limit(RLIMIT_CORE, 0);
    if (r == 0)
        r = unprivileged_limit(RLIMIT_NOFILE, limits[job].files);
    if (r == 0 && job == CONFINE_STREAM) /* threads count as processes of the user */
        r = unprivileged_limit(RLIMIT_NPROC, 0);
    if (r == 0 && !UNPRIVILEGED_SANITIZED)
        r = unprivileged_limit(RLIMIT_AS, limits[job].memory);
    return r;
}

static int drop_user(enum confine_job job)
{
    (void)job;
    return unprivileged_user();
}

/* Where the kernel has no Landlock, the list of system calls alone keeps files away. */
static int forbid_paths(enum confine_job job)
{
    (void)job;
    return unprivileged_paths(NULL, NULL);
}

static int allow(scmp_filter_ctx filter, const int *calls, size_t n)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    return r;
}

/* Threads, but no processes: clone(2) with what pthread_create gives it. The library takes that
 * when clone3(2), whose flags a filter cannot see, is not there. Socket pairs are how requests to
 * the other half are answered. */
static int allow_server(scmp_filter_ctx filter)
{
    int r = allow(filter, for_server, ARRAY_SIZE(for_server));
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (r == 0)
        r = seccomp_rule_add(
            filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
            SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_NEWUSER | CLONE_NEWNS, CLONE_THREAD));
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1,
                             SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
    return r;
}

static int add_rules(scmp_filter_ctx filter, enum confine_job job)
{
    int r = allow(filter, for_all, ARRAY_SIZE(for_all));
    if (r == 0 && job == CONFINE_SERVER)
        r = allow_server(filter);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(denied); i++) {
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), denied[i], 0);
        if (r == -EDOM) /* this architecture has no such call */
            r = 0;
    }
    /* Memory, but never executable. */
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return r;
}

static int filter_calls(enum confine_job job)
{
    if (UNPRIVILEGED_SANITIZED)
        return 0;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return -ENOMEM;
    int r = add_rules(filter, job);
    if (r == 0)
        r = seccomp_load(filter);
    seccomp_release(filter);
    return r;
}

int confine_enter(enum confine_job job, struct error *err)
{
    static const struct {
        int (*run)(enum confine_job job);
        const char *what;
    } steps[] = {
        {set_limits, "limit resources"},
        {drop_user, "drop privileges"},
        {forbid_paths, "enter the Landlock domain"},
        {filter_calls, "load the system call filter"},
    };
    if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return error_errno(err, errno, "ignore signals");
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        int r = steps[i].run(job);
        if (r < 0)
            return error_errno(err, r, "%s", steps[i].what);
    }
    return 0;
}
