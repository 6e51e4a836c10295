/*
 * Runs inside an instance, statically linked: `probe matrix` tries every system call that a default
 * profile refuses and prints NAME=ERRNO or NAME=ok; `probe fds` prints the open descriptors.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_fsopen
#define SYS_fsopen 430
#endif

static void say(const char *name, long result, int error)
{
    const char *text = result >= 0 ? "ok" : strerrorname_np(error);
    printf("%s=%s\n", name, text ? text : "?");
}

#define TRY(name, ...)                                                                             \
    do {                                                                                           \
        long r_ = syscall(__VA_ARGS__);                                                            \
        say(name, r_, errno);                                                                      \
    } while (0)

static void matrix_namespaces(void)
{
    struct {
        uint64_t flags, rest[10];
    } clone3 = {CLONE_NEWUSER, {0}};

    TRY("unshare_user", SYS_unshare, CLONE_NEWUSER);
    TRY("unshare_mount", SYS_unshare, CLONE_NEWNS);
    TRY("unshare_net", SYS_unshare, CLONE_NEWNET);
    TRY("clone_user", SYS_clone, CLONE_NEWUSER | 17, 0, 0, 0, 0);
    TRY("clone3", SYS_clone3, &clone3, sizeof(clone3));
    TRY("setns", SYS_setns, 0, 0);
    TRY("mount", SYS_mount, "tmpfs", "/tmp", "tmpfs", 0, 0);
    TRY("umount", SYS_umount2, "/proc", 2);
    TRY("pivot_root", SYS_pivot_root, "/", "/");
    TRY("fsopen", SYS_fsopen, "tmpfs", 0);
    TRY("open_tree", SYS_open_tree, AT_FDCWD, "/", 1);
    TRY("move_mount", SYS_move_mount, -1, "", -1, "", 4);
    TRY("fsconfig", SYS_fsconfig, -1, 0, 0, 0, 0);
    TRY("mount_setattr", SYS_mount_setattr, AT_FDCWD, "/", 0, 0, 0);
}

static void matrix_kernel(void)
{
    union bpf_attr bpf;
    struct perf_event_attr perf;

    memset(&bpf, 0, sizeof(bpf));
    memset(&perf, 0, sizeof(perf));
    perf.size = sizeof(perf);
    TRY("bpf", SYS_bpf, BPF_MAP_CREATE, &bpf, sizeof(bpf));
    TRY("perf_event_open", SYS_perf_event_open, &perf, 0, -1, -1, 0);
    TRY("userfaultfd", SYS_userfaultfd, O_CLOEXEC);
    TRY("io_uring_setup", SYS_io_uring_setup, 1, 0);
    TRY("io_uring_enter", SYS_io_uring_enter, -1, 0, 0, 0, 0, 0);
    TRY("io_uring_register", SYS_io_uring_register, -1, 0, 0, 0);
    TRY("keyctl", SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0, 0, 0);
    TRY("add_key", SYS_add_key, "user", "x", "y", 1, KEY_SPEC_PROCESS_KEYRING);
    TRY("request_key", SYS_request_key, "user", "x", 0, 0);
    TRY("kexec_load", SYS_kexec_load, 0, 0, 0, 0);
    TRY("kexec_file_load", SYS_kexec_file_load, -1, -1, 0, 0, 0);
    TRY("init_module", SYS_init_module, 0, 0, "");
    TRY("finit_module", SYS_finit_module, -1, "", 0);
    TRY("delete_module", SYS_delete_module, "x", 0);
    TRY("open_by_handle_at", SYS_open_by_handle_at, AT_FDCWD, 0, 0);
    TRY("swapon", SYS_swapon, "/x", 0);
    TRY("swapoff", SYS_swapoff, "/x");
    TRY("reboot", SYS_reboot, 0, 0, 0, 0);
    TRY("acct", SYS_acct, "/x");
    TRY("quotactl", SYS_quotactl, 0, 0, 0, 0);
    TRY("settimeofday", SYS_settimeofday, 0, 0);
    TRY("iopl", SYS_iopl, 3);
    TRY("ioperm", SYS_ioperm, 0, 1, 1);
    TRY("syslog", SYS_syslog, 3, 0, 0);
    TRY("lookup_dcookie", SYS_lookup_dcookie, 0, 0, 0);
    TRY("move_pages", SYS_move_pages, 0, 0, 0, 0, 0, 0);
    TRY("mbind", SYS_mbind, 0, 0, 0, 0, 0, 0);
    TRY("fanotify_init", SYS_fanotify_init, 0, 0);
    TRY("sethostname", SYS_sethostname, "x", 1);
    TRY("vhangup", SYS_vhangup);
}

static void matrix_sockets(void)
{
    TRY("socket_alg", SYS_socket, 38, SOCK_SEQPACKET, 0);
    TRY("socket_vsock", SYS_socket, 40, SOCK_STREAM, 0);
    /* The kernel looks at 32 bits of the family, a filter at 64. */
    TRY("socket_alg_high", SYS_socket, 38 | 1L << 32, SOCK_SEQPACKET, 0);
    TRY("socket_vsock_high", SYS_socket, 40 | 1L << 32, SOCK_STREAM, 0);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "matrix") == 0) {
        matrix_namespaces();
        matrix_kernel();
        matrix_sockets();
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "fds") == 0) {
        for (int fd = 0; fd < 1024; fd++)
            if (fcntl(fd, F_GETFD) >= 0)
                printf("%d\n", fd);
        return 0;
    }
    return 2;
}
