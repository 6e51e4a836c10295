/*
 * The writable disk: a sparse raw image with ext4. Nothing is zeroed, here or in the machine (which
 * mounts with noinit_itable): a sparse file reads as zeros. Formatting one takes longer than
 * copying an empty one, so the first of each size is kept as a template beside the kernel.
 *
 * The descriptor holds an flock() that its copies in QEMU share: as long as either lives, no other
 * machine gets the disk.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "runtime/vm/machine.h"

#define DISK_MIN_BYTES ((uint64_t)16 << 20)
#define DISK_MAX_BYTES ((uint64_t)16 << 40)

static int format(const char *path, uint64_t bytes, struct error *err)
{
    char *const argv[] = {(char *)"mkfs.ext4",
                          (char *)"-q",
                          (char *)"-F",
                          (char *)"-m0",
                          (char *)"-J",
                          (char *)"size=16",
                          (char *)"-E",
                          (char *)"lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0",
                          (char *)path,
                          NULL};
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
        return error_errno(err, errno, "make %s", path);
    int r = process_run("mkfs.ext4", argv, -EBADF, NULL, err);
    return r < 0 ? error_prefix(err, "format the writable disk") : 0;
}

static int open_template(const char *dir, uint64_t bytes, int *ret_fd, struct error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/disk-%llu.ext4", dir, (unsigned long long)bytes);
    _cleanup_free_ char *making = xasprintf("%s.%d", path, (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        int r = format(making, bytes, err);
        if (r == 0 && rename(making, path) < 0)
            r = error_errno(err, errno, "rename to %s", path);
        if (r < 0) {
            unlink(making);
            return r;
        }
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0)
        return error_errno(err, errno, "open %s", path);
    *ret_fd = fd;
    return 0;
}

int vm_disk_fill(const char *template_dir, uint64_t bytes, int to, struct error *err)
{
    _cleanup_close_ int from = -EBADF;
    int r = open_template(template_dir, bytes, &from, err);
    if (r < 0)
        return r;
    r = fd_copy(from, to);
    return r < 0 ? error_errno(err, r, "copy an empty disk") : 0;
}

int vm_disk_make(const char *path, int from, struct error *err)
{
    _cleanup_free_ char *making = xasprintf("%s.making", path);
    _cleanup_close_ int to =
        open(making, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (to < 0)
        return error_errno(err, errno, "make %s", making);
    int r = fd_copy(from, to);
    if (r == 0 && rename(making, path) < 0)
        r = -errno;
    if (r < 0) {
        unlink(making);
        return error_errno(err, r, "make %s", path);
    }
    return 0;
}

static int make_disk(const char *path, uint64_t bytes, const char *template_dir, struct error *err)
{
    _cleanup_close_ int from = -EBADF;
    int r = open_template(template_dir, bytes, &from, err);
    return r < 0 ? r : vm_disk_make(path, from, err);
}

int vm_disk_open_lower(char *const *paths, int *ret_fds, size_t *ret_n, struct error *err)
{
    for (*ret_n = 0; paths && paths[*ret_n]; ++*ret_n) {
        const char *path = paths[*ret_n];
        if (*ret_n == VM_LOWER_MAX)
            return error_set(err, ERROR_LIMIT, E2BIG, "the disk stands on too many snapshots");
        ret_fds[*ret_n] = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (ret_fds[*ret_n] < 0)
            return error_errno(err, errno, "open %s", path);
    }
    return 0;
}

int vm_disk_open(const char *path, uint64_t bytes, const char *template_dir, int *ret_fd,
                 struct error *err)
{
    struct stat st;
    _cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        if (bytes < DISK_MIN_BYTES || bytes > DISK_MAX_BYTES)
            return error_invalid(err, "a machine's disk has between 16 MiB and 16 TiB");
        int r = make_disk(path, bytes, template_dir, err);
        if (r < 0)
            return r;
        fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    }
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, errno, "open %s", path);
    if (!S_ISREG(st.st_mode))
        return error_invalid(err, "%s is not a regular file", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? error_set(err, ERROR_CONFLICT, EBUSY, "%s is in use by another machine", path)
                   : error_errno(err, errno, "lock %s", path);
    *ret_fd = TAKE_FD(fd);
    return 0;
}
