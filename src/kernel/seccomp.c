#include "kernel/seccomp.h"

#include <fcntl.h>
#include <linux/seccomp.h>
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

int seccomp_filter_load(const struct seccomp_filter *f)
{
    struct sock_fprog program = {.len = f->n, .filter = f->instructions};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? -errno : 0;
}
