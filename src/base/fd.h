/*
 * Descriptors and whole files. Every descriptor made here is close-on-exec.
 * Paths are relative to dirfd (AT_FDCWD allowed) and trusted: for paths inside an image, a root
 * file system or an archive use base/path.h.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"

/* Writes or reads everything, through EINTR and short counts. 0 or -errno; fd_read_full gives the
 * count that was read, less than len only at the end of the file. */
int fd_write_all(int fd, const void *data, size_t len) _must_check_;
ssize_t fd_read_full(int fd, void *data, size_t len) _must_check_;

/* Reads to the end; -EFBIG past out->max. */
int fd_read_to_end(int fd, struct buf *out) _must_check_;

/* Reads a whole small file; max_bytes bounds it. *ret_text is owned, NUL-terminated. Refuses what
 * is not a regular file, and never blocks on a FIFO. */
int file_read(int dirfd, const char *path, size_t max_bytes, char **ret_text) _must_check_;

/* Reads a pseudo file of /proc or /sys: as file_read, without the regular-file check. */
int file_read_kernel(int dirfd, const char *path, size_t max_bytes, char **ret_text) _must_check_;

/* Writes to an existing file (a /proc or cgroup file) in one write(2). */
int file_write_kernel(int dirfd, const char *path, const char *text) _must_check_;

/* Replaces a file so that a reader, or a crash, sees the old one or the new one, never a half. */
int file_write_atomic(int dirfd, const char *path, const void *data, size_t len,
                      mode_t mode) _must_check_;

/* Copies from one descriptor's position to another's until the end; keeps holes when the source
 * has them and the target is a regular file. */
int fd_copy(int from, int to) _must_check_;

int fd_set_cloexec(int fd, bool on) _must_check_;
int fd_set_nonblock(int fd, bool on) _must_check_;

/* Closes every descriptor >= 3 that is not in keep[0..n). keep is sorted in place. */
void fd_close_others(int *keep, size_t n);

/* "/proc/self/fd/N", in a buffer of the caller's. */
struct fd_path {
    char text[32];
};
struct fd_path fd_path(int fd);
