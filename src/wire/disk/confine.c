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
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define MEMORY_BYTES ((rlim_t)2 << 30)
#define CPU_SECONDS  ((rlim_t)3600)

#define ACCESS_ALL  ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1) /* the first version's */
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
        {RLIMIT_CORE, 0},          {RLIMIT_NOFILE, 64},       {RLIMIT_NPROC, 64},
        {RLIMIT_AS, MEMORY_BYTES}, {RLIMIT_CPU, CPU_SECONDS}, {RLIMIT_FSIZE, c->file_bytes},
    };
    for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
        struct rlimit l;
        if (getrlimit(limits[i].resource, &l) < 0)
            return -errno;
        l.rlim_max = MIN(l.rlim_max, limits[i].most);
        l.rlim_cur = l.rlim_max;
        if (setrlimit(limits[i].resource, &l) < 0)
            return -errno;
    }
    return 0;
}

static int change_user(const struct confine *c)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    bool root = geteuid() == 0;
    for (int cap = 0; root && cap <= 63; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL && errno != EPERM)
            return -errno;
    if (root && (setgroups(0, NULL) < 0 || setresgid(c->uid, c->uid, c->uid) < 0 ||
                 setresuid(c->uid, c->uid, c->uid) < 0))
        return -errno;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
        return -errno;
    if (syscall(SYS_capset, &header, none) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    return 0;
}

static int allow(int ruleset, int fd, uint64_t access)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0
               ? -errno
               : 0;
}

static int allow_paths(int ruleset, const struct confine *c)
{
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
    int r = allow(ruleset, c->in, ACCESS_READ);
    if (r == 0)
        r = allow(ruleset, c->out, ACCESS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(paths); i++) {
        _cleanup_close_ int fd = open(paths[i].path, O_PATH | O_CLOEXEC);
        if (fd >= 0)
            r = allow(ruleset, fd, paths[i].access);
    }
    return r;
}

static int limit_paths(const struct confine *c)
{
    struct landlock_ruleset_attr all = {.handled_access_fs = ACCESS_ALL};
    _cleanup_close_ int ruleset =
        (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all.handled_access_fs), 0);
    if (ruleset < 0)
        return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
    int r = allow_paths(ruleset, c);
    if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        r = -errno;
    return r;
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
