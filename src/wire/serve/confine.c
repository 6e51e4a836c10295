/*
 * No path may be opened at all. A call that is not listed ends the program, apart from opening
 * files and the like, which libraries try and can do without.
 */
#include <seccomp.h>
#include <sys/socket.h>

#include "wire/confine/confine.h"
#include "wire/serve/program.h"

#define GIBIBYTE ((rlim_t)1 << 30)

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

/* Socket pairs are how requests to the other half are answered. */
static int allow_pairs(void *filter)
{
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1,
                            SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
}

/* Threads count as processes of the user. The server's address space is their stacks, mostly. */
static const struct confine_limit stream_limits[] = {
    {RLIMIT_NOFILE, 16}, {RLIMIT_NPROC, 0}, {RLIMIT_AS, GIBIBYTE}};
static const struct confine_limit server_limits[] = {{RLIMIT_NOFILE, 8192},
                                                     {RLIMIT_AS, 16 * GIBIBYTE}};

int serve_confine(enum serve_job job, struct error *err)
{
    static const struct confine_job jobs[] = {
        [SERVE_STREAM] = {.limits = stream_limits, .n_limits = ARRAY_SIZE(stream_limits)},
        [SERVE_SERVER] = {.limits = server_limits,
                          .n_limits = ARRAY_SIZE(server_limits),
                          .more = for_server,
                          .n_more = ARRAY_SIZE(for_server),
                          .conditions = allow_pairs,
                          .threads = true},
    };
    struct confine_job all = jobs[job];
    all.others = CONFINE_END;
    all.allowed = for_all;
    all.n_allowed = ARRAY_SIZE(for_all);
    all.denied = denied;
    all.n_denied = ARRAY_SIZE(denied);
    return confine_enter(&all, err);
}
