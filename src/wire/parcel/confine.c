/*
 * What proa-parcel may still do when it reads the first byte: make files in one folder, and speak
 * on the connection that it has.
 */
#include <linux/landlock.h>
#include <seccomp.h>

#include "wire/confine/confine.h"
#include "wire/parcel/program.h"

static const struct confine_limit limits[] = {
    {RLIMIT_NOFILE, 32},
    {RLIMIT_AS, (rlim_t)1 << 30},
};

static const int allowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(pwrite64),
    SCMP_SYS(openat),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(fcntl),
    SCMP_SYS(fsync),
    SCMP_SYS(ftruncate),
    SCMP_SYS(lseek),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getpeername),
    SCMP_SYS(shutdown),
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

/* Refused in a way that a library takes as "there is none". */
static const int denied[] = {
    SCMP_SYS(open),    SCMP_SYS(access), SCMP_SYS(stat),    SCMP_SYS(readlink),
    SCMP_SYS(ioctl),   SCMP_SYS(socket), SCMP_SYS(uname),   SCMP_SYS(sysinfo),
    SCMP_SYS(geteuid), SCMP_SYS(getuid), SCMP_SYS(getegid), SCMP_SYS(getgid),
};

static int allow_folder(int ruleset, const void *context)
{
    return unprivileged_allow_fd(ruleset, *(const int *)context,
                                 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_WRITE_FILE);
}

int parcel_drop(uid_t uid, struct error *err)
{
    int r = unprivileged_limit(RLIMIT_CORE, 0);
    if (r == 0)
        r = unprivileged_become(uid);
    return r < 0 ? error_errno(err, r, "drop privileges") : 0;
}

int parcel_confine(uid_t uid, int folder, struct error *err)
{
    const struct confine_job job = {
        .limits = limits,
        .n_limits = ARRAY_SIZE(limits),
        .uid = uid,
        .paths = folder >= 0 ? allow_folder : NULL,
        .context = &folder,
        .others = CONFINE_END,
        .allowed = allowed,
        .n_allowed = ARRAY_SIZE(allowed),
        .denied = denied,
        .n_denied = ARRAY_SIZE(denied),
    };
    return confine_enter(&job, err);
}
