/*
 * qemu-img reads what an unknown maker wrote, and it is a large program: it is run as if the maker
 * had taken it over. No network, a user of its own, the loader's files, the image and the result
 * (nothing else may be opened, listed or made), and no system calls that converting has no use for.
 * What is left is reading one file and writing another.
 *
 * Where the kernel has no Landlock, the user and the header's check (format.h) keep files away.
 */
#include "wire/disk/confine.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>

#include "base/fd.h"
#include "wire/confine/confine.h"

#define MEMORY_BYTES ((rlim_t)2 << 30)
#define CPU_SECONDS  ((rlim_t)3600)
#define FILES        64
#define THREADS      80 /* QEMU keeps up to 64 for reading and writing, beside its own two */

#define ACCESS_READ (LANDLOCK_ACCESS_FS_READ_FILE)
#define ACCESS_LIBS (ACCESS_READ | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_EXECUTE)

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

static int allow_paths(int ruleset, const void *context)
{
    const struct disk_confine *c = context;
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

static int leave_network(struct error *err)
{
    int r = unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0 ? -errno : 0;
    if (r == -EPERM) /* not root: sockets are refused below */
        r = 0;
    return r < 0 ? error_errno(err, r, "leave the network") : 0;
}

int disk_confine(const struct disk_confine *c, struct error *err)
{
    const struct confine_limit limits[] = {
        {RLIMIT_NOFILE, FILES},    {RLIMIT_NPROC, THREADS},       {RLIMIT_AS, MEMORY_BYTES},
        {RLIMIT_CPU, CPU_SECONDS}, {RLIMIT_FSIZE, c->file_bytes},
    };
    const struct confine_job job = {
        .limits = limits,
        .n_limits = ARRAY_SIZE(limits),
        .uid = c->uid,
        .paths = allow_paths,
        .context = c,
        .others = CONFINE_ALLOW,
        .denied = refused,
        .n_denied = ARRAY_SIZE(refused),
        .threads = true,
        .executes = true,
    };
    int r = leave_network(err);
    return r < 0 ? r : confine_enter(&job, err);
}
