/* Handing descriptors to another process over a Unix socket (SCM_RIGHTS, unix(7)). */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/macro.h"

#define FD_PASS_MAX 18 /* what a snapshot of a machine with sixteen disks needs */

/* One message of len bytes (at least one) with fd attached. 0 or -errno. */
int fd_pass(int socket, const void *data, size_t len, int fd) _must_check_;

/* The same with n descriptors, at most FD_PASS_MAX. */
int fd_pass_many(int socket, const void *data, size_t len, const int *fds, size_t n) _must_check_;

/* Takes one message: its length (0 at the end, -EMSGSIZE when it does not fit), and its descriptors
 * (close-on-exec); places that it has none for are -EBADF. More than FD_PASS_MAX are refused. */
ssize_t fd_take(int socket, void *data, size_t size, int fds[static FD_PASS_MAX]) _must_check_;

/* The same as fd_pass on a new stream connection to the socket at path. */
int fd_pass_to(const char *path, const void *data, size_t len, int fd) _must_check_;
