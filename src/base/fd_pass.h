/* Handing a descriptor to another process over a Unix socket (SCM_RIGHTS, unix(7)). */
#pragma once

#include <stddef.h>

#include "base/macro.h"

/* One message of len bytes (at least one) with fd attached. 0 or -errno. */
int fd_pass(int socket, const void *data, size_t len, int fd) _must_check_;

/* The same on a new stream connection to the socket at path. */
int fd_pass_to(const char *path, const void *data, size_t len, int fd) _must_check_;
