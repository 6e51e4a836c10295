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
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/unprivileged.h"
#include "kernel/seccomp.h"
#include "runtime/vm/machine.h"
#include "runtime/vm/sandbox.h"

#define NAMESPACES                                                                                 \
    (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |     \
     CLONE_NEWCGROUP)
#define X32_BIT        0x40000000u
#define NOFILE_MAX     4096
#define THREADS_MAX    1024
#define MEMLOCK_MAX    65536
#define RULES_MAX      (2 * ARRAY_SIZE(refused) + 32)
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)
#define JUMP(op, value, yes, no)                                                                   \
    BPF_JUMP(BPF_JMP | (op) | BPF_K, (uint32_t)(value), (uint8_t)(yes), (uint8_t)(no))
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))

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

struct program {
    struct sock_filter *at;
    size_t n;
};

static void add(struct program *p, struct sock_filter f)
{
    p->at[p->n++] = f;
}

static void add_refused(struct program *p, const long *calls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        add(p, (struct sock_filter)JUMP(BPF_JEQ, calls[i], 0, 1));
        add(p, (struct sock_filter)RETURN(SECCOMP_RET_ERRNO | EPERM));
    }
}

static int load_filter(bool self)
{
    struct sock_filter space[RULES_MAX];
    struct program p = {space, 0};
    add(&p, (struct sock_filter)LOAD(arch));
    add(&p, (struct sock_filter)JUMP(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0));
    add(&p, (struct sock_filter)RETURN(SECCOMP_RET_KILL_PROCESS));
    add(&p, (struct sock_filter)LOAD(nr));
    add(&p, (struct sock_filter)JUMP(BPF_JGE, X32_BIT, 0, 1));
    add(&p, (struct sock_filter)RETURN(SECCOMP_RET_KILL_PROCESS));
    add_refused(&p, refused, ARRAY_SIZE(refused));
    if (self)
        add_refused(&p, refused_to_self, ARRAY_SIZE(refused_to_self));
    /* The C library takes this one for one that the kernel lacks, and then clone, whose flags can
     * be seen. */
    add(&p, (struct sock_filter)JUMP(BPF_JEQ, SYS_clone3, 0, 1));
    add(&p, (struct sock_filter)RETURN(SECCOMP_RET_ERRNO | ENOSYS));
    add(&p, (struct sock_filter)JUMP(BPF_JEQ, SYS_clone, 0, 3));
    add(&p, (struct sock_filter)LOAD(args[0]));
    add(&p, (struct sock_filter)JUMP(BPF_JSET, NAMESPACES, 0, 1));
    add(&p, (struct sock_filter)RETURN(SECCOMP_RET_ERRNO | EPERM));
    add(&p, (struct sock_filter)RETURN(SECCOMP_RET_ALLOW));
    struct seccomp_filter filter = {.instructions = space, .n = (unsigned short)p.n};
    return seccomp_filter_load(&filter, NULL);
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
