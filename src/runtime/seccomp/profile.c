/*
 * The default profile: what a container may ask of the kernel. Everything that is not listed fails
 * with EPERM. It follows the list that Docker's users are used to, so that what runs there runs
 * here, less what has given a way out of containers: io_uring, AF_ALG and AF_VSOCK sockets, and
 * without their capability new namespaces, mounts, BPF, keys, userfaultfd and module loading.
 *
 * clone3 fails with ENOSYS: its flags are in memory, where a filter cannot look, and C libraries
 * fall back to clone.
 */
#include <errno.h>
#include <linux/capability.h>

#include "runtime/seccomp/compile.h"

#define NAMES(...)                                                                                 \
    (char **)(char *const[])                                                                       \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }
#define CAP(c) (UINT64_C(1) << CAP_##c)

/* Socket families without AF_ALG (38) and AF_VSOCK (40), of which the kernel looks at 32 bits: by
 * masks, since a comparison is of 64. The highest family there is is 45. */
static const struct oci_seccomp_arg families[][1] = {
    {{0, OCI_SECCOMP_MASKED_EQ, 0xffffffe0, 0}},  {{0, OCI_SECCOMP_MASKED_EQ, 0xfffffffc, 32}},
    {{0, OCI_SECCOMP_MASKED_EQ, 0xfffffffe, 36}}, {{0, OCI_SECCOMP_MASKED_EQ, 0xffffffff, 39}},
    {{0, OCI_SECCOMP_MASKED_EQ, 0xffffffff, 41}}, {{0, OCI_SECCOMP_MASKED_EQ, 0xfffffffe, 42}},
    {{0, OCI_SECCOMP_MASKED_EQ, 0xfffffffc, 44}},
};

/* All CLONE_NEW* flags. */
static const struct oci_seccomp_arg no_namespaces[] = {{0, OCI_SECCOMP_MASKED_EQ, 0x7e020000, 0}};

/* PER_LINUX, PER_LINUX32, each with UNAME26, and the query. */
static const struct oci_seccomp_arg personalities[5][1] = {
    {{0, OCI_SECCOMP_EQ, 0x0, 0}},        {{0, OCI_SECCOMP_EQ, 0x8, 0}},
    {{0, OCI_SECCOMP_EQ, 0x20000, 0}},    {{0, OCI_SECCOMP_EQ, 0x20008, 0}},
    {{0, OCI_SECCOMP_EQ, 0xffffffff, 0}},
};

#define ALLOW_IF(name, list)                                                                       \
    {                                                                                              \
        .names = NAMES(name), .action = OCI_SECCOMP_ALLOW,                                         \
        .args = (struct oci_seccomp_arg *)(list), .n_args = 1                                      \
    }
#define WITH_CAP(caps, ...)                                                                        \
    {                                                                                              \
        .names = NAMES(__VA_ARGS__), .action = OCI_SECCOMP_ALLOW, .caps_needed = (caps)            \
    }

static const struct oci_seccomp_rule rules[] = {
    {
        .action = OCI_SECCOMP_ALLOW,
        .names = NAMES(
            "accept", "accept4", "access", "adjtimex", "alarm", "arch_prctl", "bind", "brk",
            "cachestat", "capget", "capset", "chdir", "chmod", "chown", "chown32", "clock_adjtime",
            "clock_adjtime64", "clock_getres", "clock_getres_time64", "clock_gettime",
            "clock_gettime64", "clock_nanosleep", "clock_nanosleep_time64", "close", "close_range",
            "connect", "copy_file_range", "creat", "dup", "dup2", "dup3", "epoll_create",
            "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2",
            "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2", "execve", "execveat", "exit",
            "exit_group", "faccessat", "faccessat2", "fadvise64", "fadvise64_64", "fallocate",
            "fanotify_mark", "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchown32",
            "fchownat", "fcntl", "fcntl64", "fdatasync", "fgetxattr", "flistxattr", "flock", "fork",
            "fremovexattr", "fsetxattr", "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64",
            "fsync", "ftruncate", "ftruncate64", "futex", "futex_requeue", "futex_time64",
            "futex_wait", "futex_waitv", "futex_wake", "futimesat", "getcpu", "getcwd", "getdents",
            "getdents64", "getegid", "getegid32", "geteuid", "geteuid32", "getgid", "getgid32",
            "getgroups", "getgroups32", "getitimer", "getpeername", "getpgid", "getpgrp", "getpid",
            "getppid", "getpriority", "getrandom", "getresgid", "getresgid32", "getresuid",
            "getresuid32", "getrlimit", "get_robust_list", "getrusage", "getsid", "getsockname",
            "getsockopt", "get_thread_area", "gettid", "gettimeofday", "getuid", "getuid32",
            "getxattr", "getxattrat", "inotify_add_watch", "inotify_init", "inotify_init1",
            "inotify_rm_watch", "io_cancel", "ioctl", "io_destroy", "io_getevents", "io_pgetevents",
            "io_pgetevents_time64", "ioprio_get", "ioprio_set", "io_setup", "io_submit", "ipc",
            "kill", "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self",
            "lchown", "lchown32", "lgetxattr", "link", "linkat", "listen", "listxattr",
            "listxattrat", "llistxattr", "_llseek", "lremovexattr", "lseek", "lsetxattr", "lstat",
            "lstat64", "madvise", "map_shadow_stack", "membarrier", "memfd_create", "memfd_secret",
            "mincore", "mkdir", "mkdirat", "mknod", "mknodat", "mlock", "mlock2", "mlockall",
            "mmap", "mmap2", "mprotect", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive",
            "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64", "mq_unlink", "mremap",
            "mseal", "msgctl", "msgget", "msgrcv", "msgsnd", "msync", "munlock", "munlockall",
            "munmap", "name_to_handle_at", "nanosleep", "newfstatat", "_newselect", "open",
            "openat", "openat2", "pause", "pidfd_open", "pidfd_send_signal", "pipe", "pipe2",
            "pkey_alloc", "pkey_free", "pkey_mprotect", "poll", "ppoll", "ppoll_time64", "prctl",
            "pread64", "preadv", "preadv2", "prlimit64", "process_mrelease", "process_vm_readv",
            "process_vm_writev", "pselect6", "pselect6_time64", "ptrace", "pwrite64", "pwritev",
            "pwritev2", "read", "readahead", "readlink", "readlinkat", "readv", "recv", "recvfrom",
            "recvmmsg", "recvmmsg_time64", "recvmsg", "remap_file_pages", "removexattr",
            "removexattrat", "rename", "renameat", "renameat2", "restart_syscall", "riscv_hwprobe",
            "rmdir", "rseq", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo",
            "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64",
            "rt_tgsigqueueinfo", "sched_getaffinity", "sched_getattr", "sched_getparam",
            "sched_get_priority_max", "sched_get_priority_min", "sched_getscheduler",
            "sched_rr_get_interval", "sched_rr_get_interval_time64", "sched_setaffinity",
            "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield", "seccomp",
            "select", "semctl", "semget", "semop", "semtimedop", "semtimedop_time64", "send",
            "sendfile", "sendfile64", "sendmmsg", "sendmsg", "sendto", "setfsgid", "setfsgid32",
            "setfsuid", "setfsuid32", "setgid", "setgid32", "setgroups", "setgroups32", "setitimer",
            "setpgid", "setpriority", "setregid", "setregid32", "setresgid", "setresgid32",
            "setresuid", "setresuid32", "setreuid", "setreuid32", "setrlimit", "set_robust_list",
            "setsid", "setsockopt", "set_thread_area", "set_tid_address", "setuid", "setuid32",
            "setxattr", "setxattrat", "shmat", "shmctl", "shmdt", "shmget", "shutdown",
            "sigaltstack", "signalfd", "signalfd4", "sigpending", "sigprocmask", "sigreturn",
            "socketcall", "socketpair", "splice", "stat", "stat64", "statfs", "statfs64", "statx",
            "symlink", "symlinkat", "sync", "sync_file_range", "syncfs", "sysinfo", "tee", "tgkill",
            "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime",
            "timer_gettime64", "timer_settime", "timer_settime64", "timerfd_create",
            "timerfd_gettime", "timerfd_gettime64", "timerfd_settime", "timerfd_settime64", "times",
            "tkill", "truncate", "truncate64", "ugetrlimit", "umask", "uname", "unlink", "unlinkat",
            "uretprobe", "utime", "utimensat", "utimensat_time64", "utimes", "vfork", "vmsplice",
            "wait4", "waitid", "waitpid", "write", "writev", "modify_ldt", "arm_fadvise64_64",
            "arm_sync_file_range", "sync_file_range2", "breakpoint", "cacheflush", "set_tls"),
    },
    ALLOW_IF("socket", families[0]),
    ALLOW_IF("socket", families[1]),
    ALLOW_IF("socket", families[2]),
    ALLOW_IF("socket", families[3]),
    ALLOW_IF("socket", families[4]),
    ALLOW_IF("socket", families[5]),
    ALLOW_IF("socket", families[6]),
    ALLOW_IF("personality", personalities[0]),
    ALLOW_IF("personality", personalities[1]),
    ALLOW_IF("personality", personalities[2]),
    ALLOW_IF("personality", personalities[3]),
    ALLOW_IF("personality", personalities[4]),
    {.names = NAMES("clone"),
     .action = OCI_SECCOMP_ALLOW,
     .args = (struct oci_seccomp_arg *)no_namespaces,
     .n_args = 1,
     .caps_excluded = CAP(SYS_ADMIN)},
    {.names = NAMES("clone3"),
     .action = OCI_SECCOMP_ERRNO,
     .has_errno = true,
     .errno_ret = ENOSYS,
     .caps_excluded = CAP(SYS_ADMIN)},
    WITH_CAP(CAP(DAC_READ_SEARCH), "open_by_handle_at"),
    WITH_CAP(CAP(SYS_ADMIN), "bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount",
             "fsopen", "fspick", "lookup_dcookie", "mount", "mount_setattr", "move_mount",
             "open_tree", "perf_event_open", "pivot_root", "quotactl", "quotactl_fd",
             "setdomainname", "sethostname", "setns", "syslog", "umount", "umount2", "unshare"),
    WITH_CAP(CAP(SYS_BOOT), "reboot"),
    WITH_CAP(CAP(SYS_CHROOT), "chroot"),
    WITH_CAP(CAP(SYS_MODULE), "delete_module", "init_module", "finit_module"),
    WITH_CAP(CAP(SYS_PACCT), "acct"),
    WITH_CAP(CAP(SYS_PTRACE), "kcmp", "pidfd_getfd", "process_madvise"),
    WITH_CAP(CAP(SYS_RAWIO), "iopl", "ioperm"),
    WITH_CAP(CAP(SYS_TIME), "settimeofday", "stime", "clock_settime", "clock_settime64"),
    WITH_CAP(CAP(SYS_TTY_CONFIG), "vhangup"),
    WITH_CAP(CAP(SYS_NICE), "get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"),
    WITH_CAP(CAP(SYSLOG), "syslog"),
    WITH_CAP(CAP(BPF), "bpf"),
    WITH_CAP(CAP(PERFMON), "perf_event_open"),
};

const struct oci_seccomp seccomp_default_profile = {
    .default_action = OCI_SECCOMP_ERRNO,
    .has_default_errno = true,
    .default_errno = EPERM,
    .rules = (struct oci_seccomp_rule *)rules,
    .n_rules = sizeof(rules) / sizeof(rules[0]),
};
