#include "kernel/seccomp.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/fd.h"

int seccomp_filter_read(const char *path, struct seccomp_filter *ret, struct error *err)
{
    struct stat st;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, errno, "read the seccomp filter %s", path);
    const off_t size = (off_t)sizeof(struct sock_filter);
    if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size % size != 0 ||
        st.st_size / size > BPF_MAXINSNS)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "%s is no compiled seccomp filter", path);
    _cleanup_free_ struct sock_filter *instructions = xcalloc(1, (size_t)st.st_size);
    if (fd_read_full(fd, instructions, (size_t)st.st_size) != st.st_size)
        return error_errno(err, EIO, "read the seccomp filter %s", path);
    ret->instructions = TAKE_PTR(instructions);
    ret->n = (unsigned short)(st.st_size / size);
    return 0;
}

void seccomp_filter_done(struct seccomp_filter *f)
{
    free(f->instructions);
    f->instructions = NULL;
    f->n = 0;
}

int seccomp_flag(const char *name, unsigned long *ret)
{
    static const struct {
        const char *name;
        unsigned long flag;
    } flags[] = {
        {"SECCOMP_FILTER_FLAG_TSYNC", 0},
        {"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
        {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
        {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV},
    };
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
        if (strcmp(flags[i].name, name) == 0) {
            *ret = flags[i].flag;
            return 0;
        }
    return -EINVAL;
}

int seccomp_filter_load(const struct seccomp_filter *f, int *ret_listener)
{
    struct sock_fprog program = {.len = f->n, .filter = f->instructions};
    unsigned long flags = f->flags;
    bool listens = f->notifies && ret_listener;
    if (listens)
        flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
    else /* without a listener to wait for, the kernel refuses it */
        flags &= ~SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (ret_listener)
        *ret_listener = listens && r >= 0 ? (int)r : -EBADF;
    return r < 0 ? -errno : 0;
}
