/*
 * qemu-img reads what an unknown maker wrote, and it is a large program: it is run as if the maker
 * had taken it over. In this order, because each step needs what the next takes away: no network,
 * limits, a user of its own without capabilities, no new privileges, Landlock (the loader's files,
 * the image, and the result; nothing else may be opened, listed or made), and a filter of system
 * calls that takes away what converting has no use for. What is left is reading one file and
 * writing another.
 *
 * Where the kernel has no Landlock, the user and the header's check (format.h) keep files away.
 */
#include "wire/disk/confine.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "base/fd.h"
#include "base/unprivileged.h"

#define MEMORY_BYTES ((rlim_t)2 << 30)
#define CPU_SECONDS  ((rlim_t)3600)
#define THREADS      80 /* QEMU keeps up to 64 for reading and writing, beside its own two */

#define ACCESS_READ (LANDLOCK_ACCESS_FS_READ_FILE)
#define ACCESS_LIBS (ACCESS_READ | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_EXECUTE)

static int leave_network(const struct confine *c)
{
    (void)c;
    int r = unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0 ? -errno : 0;
    return r == -EPERM ? 0 : r; /* not root: sockets are refused below */
}

static int set_limits(const struct confine *c)
{
    const struct {
        int resource;
        rlim_t most;
    } limits[] = {
        {RLIMIT_CORE, 0},          {RLIMIT_NOFILE, 64},       {RLIMIT_NPROC, THREADS},
        {RLIMIT_AS, MEMORY_BYTES}, {RLIMIT_CPU, CPU_SECONDS}, {RLIMIT_FSIZE, c->file_bytes},
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(limits); i++)
        r = unprivileged_limit(limits[i].resource, limits[i].most);
    return r;
}

static int change_user(const struct confine *c)
{
    return unprivileged_become(c->uid);
}

static int allow_paths(int ruleset, const void *context)
{
    const struct confine *c = context;
    static const struct {
        const char *path;
        uint64_t access;
    } paths[] = {
        {"/usr", ACCESS_LIBS},
        {"/lib", ACCESS_LIBS},
        {"/lib64", ACCESS_LIBS},
        {"/etc/ld.so.cache", ACCESS_READ},
        {"/dev/null", ACCESS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE}, /* to probe locking */
    };
    int r = unprivileged_allow_fd(ruleset, c->in, ACCESS_READ);
    if (r == 0)
        r = unprivileged_allow_fd(ruleset, c->out, ACCESS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(paths); i++) {
        _cleanup_close_ int fd = open(paths[i].path, O_PATH | O_CLOEXEC);
        if (fd >= 0)
            r = unprivileged_allow_fd(ruleset, fd, paths[i].access);
    }
    return r;
}

static int limit_paths(const struct confine *c)
{
    return unprivileged_paths(allow_paths, c);
}

static int filter_calls(const struct confine *c)
{
    static const int refused[] = {
        SCMP_SYS(socket),
        SCMP_SYS(socketpair),
        SCMP_SYS(connect),
        SCMP_SYS(bind),
        SCMP_SYS(ptrace),
        SCMP_SYS(process_vm_readv),
        SCMP_SYS(process_vm_writev),
        SCMP_SYS(kill),
        SCMP_SYS(mount),
        SCMP_SYS(umount2),
        SCMP_SYS(move_mount),
        SCMP_SYS(open_tree),
        SCMP_SYS(fsopen),
        SCMP_SYS(pivot_root),
        SCMP_SYS(chroot),
        SCMP_SYS(unshare),
        SCMP_SYS(setns),
        SCMP_SYS(bpf),
        SCMP_SYS(perf_event_open),
        SCMP_SYS(keyctl),
        SCMP_SYS(add_key),
        SCMP_SYS(request_key),
        SCMP_SYS(userfaultfd),
        SCMP_SYS(io_uring_setup),
        SCMP_SYS(open_by_handle_at),
        SCMP_SYS(name_to_handle_at),
        SCMP_SYS(pidfd_open),
        SCMP_SYS(pidfd_getfd),
        SCMP_SYS(fork),
        SCMP_SYS(vfork),
        SCMP_SYS(personality),
        SCMP_SYS(symlink),
        SCMP_SYS(chmod),
        SCMP_SYS(fchmod),
        SCMP_SYS(chown),
        SCMP_SYS(fchown),
    };
    (void)c;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int r = filter ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(refused); i++) {
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
        if (r == -EDOM) /* this architecture has no such call */
            r = 0;
    }
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    /* Threads are needed, processes are not. */
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    if (r == 0)
        r = seccomp_load(filter);
    if (filter)
        seccomp_release(filter);
    return r;
}

int confine_enter(const struct confine *c, struct error *err)
{
    static const struct {
        int (*run)(const struct confine *c);
        const char *what;
    } steps[] = {
        {leave_network, "leave the network"},
        {set_limits, "limit resources"},
        {change_user, "drop privileges"},
        {limit_paths, "enter the Landlock domain"},
        {filter_calls, "load the system call filter"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        int r = steps[i].run(c);
        if (r < 0)
            return error_errno(err, r, "%s", steps[i].what);
    }
    return 0;
}
