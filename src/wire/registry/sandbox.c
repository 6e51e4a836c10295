/*
 * What proa-registry may still do: talk over the network, and read what a resolver and TLS read.
 * Order as in wire/layer/sandbox.c: limits, the user, Landlock, system calls. Everything else fails
 * with EPERM rather than ending the program, because libraries of name services try more than they
 * need.
 */
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/unprivileged.h"
#include "wire/registry/client.h"

#define MEMORY_LIMIT ((rlim_t)1 << 30)

static const char *const readable[] = {
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ld.so.cache",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/lib",
    "/usr/lib64",
    "/lib",
    "/lib64",
    "/usr/share/zoneinfo",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/nscd",
    "/dev/urandom",
};

static const int allowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(pwrite64),
    SCMP_SYS(readv),
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
    SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(tgkill),
    SCMP_SYS(open),
    SCMP_SYS(openat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(stat),
    SCMP_SYS(lstat),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(readlink),
    SCMP_SYS(getdents64),
    SCMP_SYS(statx),
    SCMP_SYS(uname),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(select),
    SCMP_SYS(pselect6),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(eventfd2),
    SCMP_SYS(pipe2),
    SCMP_SYS(socket),
    SCMP_SYS(socketpair),
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(shutdown),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(fcntl),
    SCMP_SYS(ioctl),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(prlimit64),
    SCMP_SYS(sched_yield),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(geteuid),
    SCMP_SYS(getuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(sysinfo),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(dup),
    SCMP_SYS(alarm),
};

static int set_limits(void)
{
    int r = unprivileged_limit(RLIMIT_CORE, 0);
    if (r == 0)
        r = unprivileged_limit(RLIMIT_NOFILE, 128);
    if (r == 0 && !UNPRIVILEGED_SANITIZED)
        r = unprivileged_limit(RLIMIT_AS, MEMORY_LIMIT);
    return r;
}

/* A path that is not there needs no rule. */
static int allow_path(int ruleset, const char *path)
{
    struct stat st;
    uint64_t access = LANDLOCK_ACCESS_FS_READ_FILE;
    _cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return 0;
    if (S_ISDIR(st.st_mode))
        access |= LANDLOCK_ACCESS_FS_READ_DIR;
    return unprivileged_allow_fd(ruleset, fd, access);
}

static int allow_paths(int ruleset, const void *context)
{
    int r = 0;
    (void)context;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(readable); i++)
        r = allow_path(ruleset, readable[i]);
    return r;
}

/* Where the kernel has no Landlock, the user alone decides what can be read. */
static int restrict_paths(void)
{
    return unprivileged_paths(allow_paths, NULL);
}

/* Threads (curl's resolver), but no processes; libraries with code, but no code of one's own. */
static int add_conditions(scmp_filter_ctx filter)
{
    int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC));
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
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!filter)
        return -ENOMEM;
    int r = add_conditions(filter);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(allowed); i++) {
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
        if (r == -EDOM) /* this architecture has no such call */
            r = 0;
    }
    if (r == 0)
        r = seccomp_load(filter);
    seccomp_release(filter);
    return r;
}

int registry_sandbox_enter(struct error *err)
{
    static const struct {
        int (*run)(void);
        const char *what;
    } steps[] = {
        {set_limits, "limit resources"},
        {unprivileged_user, "drop privileges"},
        {restrict_paths, "enter the Landlock domain"},
        {filter_calls, "load the system call filter"},
    };
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
        return error_errno(err, errno, "ignore signals");
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        int r = steps[i].run();
        if (r < 0)
            return error_errno(err, r, "%s", steps[i].what);
    }
    return 0;
}
