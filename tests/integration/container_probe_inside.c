/* What the probe does inside: list its descriptors; try what the default filter must refuse. */
#include <dirent.h>
#include <linux/bpf.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/macro.h"
#include "container_probe.h"

static int list_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 1;
    bool seen[64] = {false};
    for (struct dirent *e; (e = readdir(dir));) {
        unsigned long fd = strtoul(e->d_name, NULL, 10);
        if (e->d_name[0] != '.' && fd < 64 && (int)fd != dirfd(dir))
            seen[fd] = true;
    }
    closedir(dir);
    for (int fd = 0; fd < 64; fd++)
        if (seen[fd])
            printf("%d ", fd);
    printf("\n");
    return 0;
}

#define NOSYS_CLONE3 435

/* Each must fail with this error: by the filter, before the kernel looks at the arguments. */
static const struct {
    const char *name;
    long number;
    long args[3];
    int wanted;
} denied[] = {
    {"unshare(user)", SYS_unshare, {CLONE_NEWUSER}, EPERM},
    {"unshare(mount)", SYS_unshare, {CLONE_NEWNS}, EPERM},
    {"clone(user)", SYS_clone, {CLONE_NEWUSER | SIGCHLD}, EPERM},
    {"clone(net)", SYS_clone, {CLONE_NEWNET | SIGCHLD}, EPERM},
    {"clone3", NOSYS_CLONE3, {0, 0}, ENOSYS},
    {"setns", SYS_setns, {-1, 0}, EPERM},
    {"mount", SYS_mount, {0}, EPERM},
    {"umount2", SYS_umount2, {0}, EPERM},
    {"pivot_root", SYS_pivot_root, {0}, EPERM},
    {"fsopen", SYS_fsopen, {0}, EPERM},
    {"fsconfig", SYS_fsconfig, {-1}, EPERM},
    {"fsmount", SYS_fsmount, {-1}, EPERM},
    {"move_mount", SYS_move_mount, {-1}, EPERM},
    {"open_tree", SYS_open_tree, {-1}, EPERM},
    {"mount_setattr", SYS_mount_setattr, {-1}, EPERM},
    {"bpf", SYS_bpf, {BPF_MAP_CREATE}, EPERM},
    {"perf_event_open", SYS_perf_event_open, {0}, EPERM},
    {"userfaultfd", SYS_userfaultfd, {0}, EPERM},
    {"io_uring_setup", SYS_io_uring_setup, {1, 0}, EPERM},
    {"io_uring_enter", SYS_io_uring_enter, {-1}, EPERM},
    {"io_uring_register", SYS_io_uring_register, {-1}, EPERM},
    {"keyctl", SYS_keyctl, {KEYCTL_GET_KEYRING_ID}, EPERM},
    {"add_key", SYS_add_key, {0}, EPERM},
    {"request_key", SYS_request_key, {0}, EPERM},
    {"kexec_load", SYS_kexec_load, {0}, EPERM},
    {"kexec_file_load", SYS_kexec_file_load, {-1}, EPERM},
    {"init_module", SYS_init_module, {0}, EPERM},
    {"finit_module", SYS_finit_module, {-1}, EPERM},
    {"delete_module", SYS_delete_module, {0}, EPERM},
    {"reboot", SYS_reboot, {0}, EPERM},
    {"swapon", SYS_swapon, {0}, EPERM},
    {"settimeofday", SYS_settimeofday, {0}, EPERM},
    {"clock_settime", SYS_clock_settime, {0}, EPERM},
    {"open_by_handle_at", SYS_open_by_handle_at, {-1}, EPERM},
    {"acct", SYS_acct, {0}, EPERM},
    {"quotactl", SYS_quotactl, {0}, EPERM},
    {"iopl", SYS_iopl, {3}, EPERM},
    {"ioperm", SYS_ioperm, {0, 1, 1}, EPERM},
    {"lookup_dcookie", SYS_lookup_dcookie, {0}, EPERM},
    {"move_pages", SYS_move_pages, {-1}, EPERM},
    {"fanotify_init", SYS_fanotify_init, {0}, EPERM},
    {"syslog", SYS_syslog, {3}, EPERM},
    {"personality(bad)", SYS_personality, {ADDR_NO_RANDOMIZE}, EPERM},
    {"socket(AF_ALG)", SYS_socket, {38, SOCK_SEQPACKET}, EPERM},
    {"socket(AF_VSOCK)", SYS_socket, {40, SOCK_STREAM}, EPERM},
    {"x32 getpid", 0x40000000 + SYS_getpid, {0}, EPERM},
};

static const struct {
    const char *name;
    long number;
    long args[3];
} allowed[] = {
    {"getpid", SYS_getpid, {0}},
    {"personality(query)", SYS_personality, {0xffffffff}},
    {"socket(unix)", SYS_socket, {AF_UNIX, SOCK_STREAM}},
    {"socket(inet)", SYS_socket, {AF_INET, SOCK_STREAM}},
    {"memfd_create", SYS_memfd_create, {(long)"x", 0}},
    {"gettid", SYS_gettid, {0}},
};

#ifdef __x86_64__
/* A 32-bit call from a 64-bit process: socketcall(SYS_SOCKET, {AF_ALG, ...}). */
static long call_32(long number, long a, long b)
{
    long result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(a), "c"(b), "d"(0), "S"(0), "D"(0)
                     : "memory", "r8", "r9", "r10", "r11");
    return result;
}

/* Memory that a 32-bit pointer reaches. */
static unsigned int *low_memory(void)
{
    void *p =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void compatibility_calls(void)
{
    enum { SOCKETCALL = 102, SOCKET = 359, MOUNT = 21, GETPID = 20 };
    unsigned int *args = low_memory();
    if (!args)
        return;
    args[0] = 38;
    args[1] = SOCK_SEQPACKET;
    args[2] = 0;
    if (call_32(SOCKETCALL, 1, (long)args) != -EPERM)
        printf("32-bit socketcall(AF_ALG) gives %ld\n", call_32(SOCKETCALL, 1, (long)args));
    if (call_32(SOCKET, 38, SOCK_SEQPACKET) != -EPERM)
        printf("32-bit socket(AF_ALG) gives %ld\n", call_32(SOCKET, 38, SOCK_SEQPACKET));
    if (call_32(MOUNT, 0, 0) != -EPERM)
        printf("32-bit mount gives %ld\n", call_32(MOUNT, 0, 0));
    if (call_32(GETPID, 0, 0) != getpid())
        printf("32-bit getpid gives %ld\n", call_32(GETPID, 0, 0));
}
#else
static void compatibility_calls(void)
{
}
#endif

static int try_system_calls(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(denied); i++) {
        const long *a = denied[i].args;
        errno = 0;
        long r = syscall(denied[i].number, a[0], a[1], a[2], 0, 0, 0);
        if (r != -1 || errno != denied[i].wanted)
            printf("%s: result %ld, %s\n", denied[i].name, r, strerror(errno));
        if (r == 0 && denied[i].number == SYS_clone)
            _exit(0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
        const long *a = allowed[i].args;
        if (syscall(allowed[i].number, a[0], a[1], a[2], 0, 0, 0) < 0)
            printf("%s: %s\n", allowed[i].name, strerror(errno));
    }
    compatibility_calls();
    return 0;
}

int probe_inside(const char *what)
{
    return strcmp(what, "fds") == 0 ? list_descriptors() : try_system_calls();
}
