#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/alloc.h"

int fd_write_all(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

ssize_t fd_read_full(int fd, void *data, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = read(fd, (char *)data + done, len - done);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

int fd_read_to_end(int fd, struct buf *out)
{
    for (;;) {
        char chunk[4096];
        ssize_t n = fd_read_full(fd, chunk, sizeof(chunk));
        if (n < 0)
            return (int)n;
        if (n == 0)
            return 0;
        int r = buf_add(out, chunk, (size_t)n);
        if (r < 0)
            return r;
    }
}

static int read_whole(int dirfd, const char *path, size_t max_bytes, bool regular, char **ret_text)
{
    _cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    struct stat st;
    if (regular && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)))
        return -EINVAL;
    _cleanup_buf_ struct buf text = BUF_INIT(max_bytes);
    int r = fd_read_to_end(fd, &text);
    if (r < 0)
        return r;
    *ret_text = buf_take(&text);
    return 0;
}

int file_read(int dirfd, const char *path, size_t max_bytes, char **ret_text)
{
    return read_whole(dirfd, path, max_bytes, true, ret_text);
}

int file_read_kernel(int dirfd, const char *path, size_t max_bytes, char **ret_text)
{
    return read_whole(dirfd, path, max_bytes, false, ret_text);
}

int file_write_kernel(int dirfd, const char *path, const char *text)
{
    _cleanup_close_ int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    size_t len = strlen(text);
    ssize_t n = write(fd, text, len);
    if (n < 0)
        return -errno;
    return (size_t)n == len ? 0 : -EIO;
}

int file_write_atomic(int dirfd, const char *path, const void *data, size_t len, mode_t mode)
{
    _cleanup_free_ char *temporary = xasprintf("%s.tmp.%d", path, (int)getpid());
    _cleanup_close_ int fd =
        openat(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return -errno;
    int r = fd_write_all(fd, data, len);
    if (r == 0 && fchmod(fd, mode) < 0)
        r = -errno;
    if (r == 0 && renameat(dirfd, temporary, dirfd, path) < 0)
        r = -errno;
    if (r < 0)
        unlinkat(dirfd, temporary, 0);
    return r;
}

static int copy_range(int from, int to, off_t offset, off_t len)
{
    while (len > 0) {
        ssize_t n = sendfile(to, from, &offset, (size_t)MIN(len, (off_t)1 << 30));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        len -= n;
    }
    return 0;
}

static int copy_sparse(int from, int to, off_t size)
{
    off_t end = 0;
    for (off_t start = 0; start < size; start = end) {
        start = lseek(from, start, SEEK_DATA);
        if (start < 0)
            break;
        end = lseek(from, start, SEEK_HOLE);
        if (end < 0 || lseek(to, start, SEEK_SET) < 0)
            return -errno;
        int r = copy_range(from, to, start, end - start);
        if (r < 0)
            return r;
    }
    return ftruncate(to, size) < 0 ? -errno : 0;
}

int fd_copy(int from, int to)
{
    struct stat in, out;
    if (fstat(from, &in) < 0 || fstat(to, &out) < 0)
        return -errno;
    if (S_ISREG(in.st_mode) && S_ISREG(out.st_mode) && lseek(from, 0, SEEK_CUR) == 0 &&
        lseek(to, 0, SEEK_CUR) == 0)
        return copy_sparse(from, to, in.st_size);
    for (;;) {
        char chunk[16384];
        ssize_t n = fd_read_full(from, chunk, sizeof(chunk));
        if (n <= 0)
            return (int)n;
        int r = fd_write_all(to, chunk, (size_t)n);
        if (r < 0)
            return r;
    }
}

int fd_set_cloexec(int fd, bool on)
{
    return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) < 0 ? -errno : 0;
}

int fd_set_nonblock(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

static int compare_fds(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

void fd_close_others(int *keep, size_t n)
{
    unsigned int next = 3;
    if (n > 0)
        qsort(keep, n, sizeof(int), compare_fds);
    for (size_t i = 0; i < n; i++) {
        if (keep[i] < (int)next)
            continue;
        if ((unsigned int)keep[i] > next)
            syscall(SYS_close_range, next, (unsigned int)keep[i] - 1, 0u);
        next = (unsigned int)keep[i] + 1;
    }
    syscall(SYS_close_range, next, ~0u, 0u);
}

struct fd_path fd_path(int fd)
{
    struct fd_path p;
    snprintf(p.text, sizeof(p.text), "/proc/self/fd/%d", fd);
    return p;
}
