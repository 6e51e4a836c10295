/*
 * What is left to swtpm, which answers whatever a guest writes to its TPM. It has given up root
 * and sees /usr and its state only (sandbox.c); here it loses what it has no use for: it may read
 * its libraries, execute itself and nothing else, write small files in its state, and call what is
 * in a table. Unlike QEMU it is one small program of one thread, of which such a table can be made:
 * what it calls from its start to its end, beside what its C library does in other versions. A call
 * that is not listed fails with EPERM.
 *
 * It puts a filter of its own upon this one; for that seccomp and prctl are listed.
 */
#include <fcntl.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/fd.h"
#include "base/unprivileged.h"
#include "runtime/vm/filter.h"
#include "runtime/vm/pc.h"
#include "runtime/vm/sandbox.h"

#define FILES        32
#define FILE_BYTES   ((rlim_t)4 << 20)
#define MEMORY_BYTES ((rlim_t)256 << 20)

static const long allowed[] = {
    /* its two sockets, and the files of its state */
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_poll, SYS_ppoll,
    SYS_select, SYS_pselect6, SYS_recvmsg, SYS_recvfrom, SYS_sendmsg, SYS_sendto, SYS_shutdown,
    SYS_open, SYS_openat, SYS_close, SYS_close_range, SYS_dup, SYS_fcntl, SYS_lseek, SYS_fstat,
    SYS_stat, SYS_lstat, SYS_newfstatat, SYS_statx, SYS_access, SYS_faccessat, SYS_faccessat2,
    SYS_readlink, SYS_getdents64, SYS_rename, SYS_renameat, SYS_renameat2, SYS_unlink, SYS_unlinkat,
    SYS_chmod, SYS_fchmod, SYS_fchmodat, SYS_fsync, SYS_fdatasync, SYS_ftruncate, SYS_flock,
    SYS_pipe, SYS_pipe2,
    /* memory; with code only what the rules after these leave */
    SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise,
    /* its start and end, signals, locks, time, random numbers */
    SYS_execve, SYS_exit, SYS_exit_group, SYS_arch_prctl, SYS_set_tid_address, SYS_set_robust_list,
    SYS_rseq, SYS_futex, SYS_prlimit64, SYS_getrlimit, SYS_rt_sigaction, SYS_rt_sigprocmask,
    SYS_rt_sigreturn, SYS_sigaltstack, SYS_restart_syscall, SYS_tgkill, SYS_getpid, SYS_gettid,
    SYS_getppid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_umask, SYS_uname,
    SYS_sysinfo, SYS_getrandom, SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_time,
    SYS_nanosleep, SYS_clock_nanosleep, SYS_prctl, SYS_seccomp};

static int load_filter(void)
{
    static struct filter f;
    const uint32_t refuse = SECCOMP_RET_ERRNO | EPERM;
    filter_begin(&f);
    /* Code is a library's, mapped from its file: none is made of what was written. */
    filter_all_bits(&f, SYS_mmap, 2, PROT_WRITE | PROT_EXEC, refuse);
    filter_any_bit(&f, SYS_mprotect, 2, PROT_EXEC, refuse);
    filter_calls(&f, allowed, ARRAY_SIZE(allowed), SECCOMP_RET_ALLOW);
    return filter_load(&f, refuse);
}

static int allow_paths(int ruleset, const void *context)
{
    const uint64_t reading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    const struct {
        const char *path;
        uint64_t access;
    } paths[] = {{"/usr", reading},
                 {"/lib", reading},
                 {"/lib64", reading},
                 {"/etc/ld.so.cache", LANDLOCK_ACCESS_FS_READ_FILE},
                 {VM_TPM_PROGRAM, LANDLOCK_ACCESS_FS_EXECUTE},
                 {VM_TPM_LOADER, LANDLOCK_ACCESS_FS_EXECUTE},
                 {VM_SANDBOX_STATE, reading | LANDLOCK_ACCESS_FS_WRITE_FILE |
                                        LANDLOCK_ACCESS_FS_MAKE_REG |
                                        LANDLOCK_ACCESS_FS_REMOVE_FILE}};
    int r = 0;
    (void)context;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(paths); i++) {
        _cleanup_close_ int fd = open(paths[i].path, O_PATH | O_CLOEXEC);
        if (fd >= 0)
            r = unprivileged_allow_fd(ruleset, fd, paths[i].access);
    }
    return r;
}

int vm_confine_tpm(struct error *err)
{
    static const struct {
        int resource;
        rlim_t most;
    } limits[] = {{RLIMIT_CORE, 0},
                  {RLIMIT_NOFILE, FILES},
                  {RLIMIT_FSIZE, FILE_BYTES},
                  {RLIMIT_AS, MEMORY_BYTES},
                  {RLIMIT_MSGQUEUE, 0}};
    int r = 0;
    for (size_t i = 0; i < ARRAY_SIZE(limits) && r == 0; i++)
        r = unprivileged_limit(limits[i].resource, limits[i].most);
    if (r == 0)
        r = unprivileged_paths(allow_paths, NULL);
    if (r == 0)
        r = load_filter();
    return r < 0 ? error_errno(err, r, "confine swtpm") : 0;
}
