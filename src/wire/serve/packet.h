/* One message with at most one descriptor over a SOCK_SEQPACKET socket (unix(7)). */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/macro.h"

/* Never blocks: a peer that does not read loses the message. 0 or -errno. fd may be -EBADF. */
int packet_send(int socket, const char *text, int fd) _must_check_;

/* Waits for one. Gives its length, 0 at the end of the connection, or -errno (-EMSGSIZE when it was
 * larger than size). *ret_fd is owned, -EBADF when none came; more than one is refused. */
ssize_t packet_receive(int socket, char *text, size_t size, int *ret_fd) _must_check_;
