/*
 * Two more walls around QEMU and proa-vm, after they have given up root: system calls that neither
 * needs and that weaknesses of the kernel have been reached by are refused, and a Landlock domain
 * leaves QEMU its programs to read and proa-vm nothing at all. Both are inherited, so that they
 * hold whatever QEMU's own filter (-sandbox) allows.
 *
 * The filter lists what is refused, not what is allowed: what QEMU calls differs between its
 * versions, and its own filter is a list of the same kind. A refused call fails with EPERM: QEMU
 * does without io_uring where it has to.
 */
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/unprivileged.h"
#include "runtime/vm/filter.h"
#include "runtime/vm/machine.h"
#include "runtime/vm/sandbox.h"

#define NAMESPACES                                                                                 \
    (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |     \
     CLONE_NEWCGROUP)
#define NOFILE_MAX  4096
#define THREADS_MAX 1024
#define MEMLOCK_MAX 65536

static const long refused[] = {
    /* everything of theirs is connected before */
    SYS_socket, SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register,
    /* other processes */
    SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_pidfd_getfd, SYS_kcmp,
    SYS_process_madvise,
    /* namespaces, mounts, devices, files by handle */
    SYS_unshare, SYS_setns, SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_fsopen,
    SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_open_tree, SYS_move_mount, SYS_mount_setattr,
    SYS_mknod, SYS_mknodat, SYS_name_to_handle_at, SYS_open_by_handle_at, SYS_fanotify_init,
    SYS_quotactl, SYS_quotactl_fd,
    /* the kernel itself */
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_keyctl, SYS_add_key, SYS_request_key,
    SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load,
    SYS_reboot, SYS_swapon, SYS_swapoff, SYS_acct, SYS_syslog, SYS_iopl, SYS_ioperm, SYS_modify_ldt,
    SYS_personality, SYS_settimeofday, SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime,
    SYS_sethostname, SYS_setdomainname, SYS_vhangup, SYS_lookup_dcookie};

static const long refused_to_self[] = {SYS_execve, SYS_execveat};

static int load_filter(bool self)
{
    static struct filter f;
    filter_begin(&f);
    filter_calls(&f, refused, ARRAY_SIZE(refused), SECCOMP_RET_ERRNO | EPERM);
    if (self)
        filter_calls(&f, refused_to_self, ARRAY_SIZE(refused_to_self), SECCOMP_RET_ERRNO | EPERM);
    /* The C library takes this one for one that the kernel lacks, and then clone, whose flags can
     * be seen. */
    filter_calls(&f, (const long[]){SYS_clone3}, 1, SECCOMP_RET_ERRNO | ENOSYS);
    filter_any_bit(&f, SYS_clone, 0, NAMESPACES, SECCOMP_RET_ERRNO | EPERM);
    return filter_load(&f, SECCOMP_RET_ALLOW);
}

/* QEMU's root is read-only and holds nothing of the host's but programs; /dev and /proc are there
 * where it needs a device or its own descriptors. */
static int allow_root(int ruleset, const void *context)
{
    static const char *const writable[] = {"/dev", "/proc"};
    const uint64_t reading =
        LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    (void)context;
    _cleanup_close_ int root = open("/", O_PATH | O_CLOEXEC);
    int r = root < 0 ? -errno : unprivileged_allow_fd(ruleset, root, reading);
    for (size_t i = 0; i < ARRAY_SIZE(writable) && r == 0; i++) {
        _cleanup_close_ int fd = open(writable[i], O_PATH | O_CLOEXEC);
        if (fd >= 0)
            r = unprivileged_allow_fd(ruleset, fd, LANDLOCK_ACCESS_FS_WRITE_FILE);
    }
    return r;
}

static int limit_qemu(void)
{
    static const struct {
        int resource;
        rlim_t most;
    } limits[] = {{RLIMIT_CORE, 0},
                  {RLIMIT_NOFILE, NOFILE_MAX},
                  {RLIMIT_NPROC, THREADS_MAX},
                  {RLIMIT_MEMLOCK, MEMLOCK_MAX},
                  {RLIMIT_MSGQUEUE, 0}};
    int r = 0;
    for (size_t i = 0; i < ARRAY_SIZE(limits) && r == 0; i++)
        r = unprivileged_limit(limits[i].resource, limits[i].most);
    return r;
}

int vm_confine_qemu(struct error *err)
{
    int r = limit_qemu();
    if (r == 0)
        r = unprivileged_paths(allow_root, NULL);
    if (r == 0)
        r = load_filter(false);
    return r < 0 ? error_errno(err, r, "confine QEMU") : 0;
}

int vm_confine_self(struct error *err)
{
    int r = unprivileged_limit(RLIMIT_CORE, 0);
    if (r == 0 && !UNPRIVILEGED_SANITIZED)
        r = unprivileged_paths(NULL, NULL);
    if (r == 0 && !UNPRIVILEGED_SANITIZED)
        r = load_filter(true);
    return r < 0 ? error_errno(err, r, "confine proa-vm") : 0;
}
