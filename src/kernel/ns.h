/* Namespaces, and making processes in them. Thin: 0 or a descriptor or pid, or -errno. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* clone3(2) like fork(2): 0 in the child. flags are CLONE_*; cgroup_fd is a cgroup2 directory to be
 * born in, or -EBADF. *ret_pidfd may be NULL; otherwise owned. */
pid_t ns_clone(uint64_t flags, int cgroup_fd, int *ret_pidfd) _must_check_;

/* A descriptor for the process; it stays with that process even when its number is used again. */
int ns_pidfd(pid_t pid) _must_check_;
int ns_pidfd_signal(int pidfd, int signum) _must_check_;
/* Waits at most timeout_ms (-1: for ever) for its end: 0, or -ETIMEDOUT. */
int ns_pidfd_wait(int pidfd, int timeout_ms) _must_check_;

/* Opens a namespace file and checks that it is one. */
int ns_open(const char *path, int type) _must_check_;
int ns_enter(int fd, int type) _must_check_;

struct ns_id_map {
    uint32_t inside, outside, size;
};
/* Writes uid_map and gid_map of a process in a new user namespace. */
int ns_write_id_maps(pid_t pid, const struct ns_id_map *uids, size_t n_uids,
                     const struct ns_id_map *gids, size_t n_gids, struct error *err) _must_check_;

/* A user namespace that nobody is in, with these maps: for shifting the owners of a mount. Owned
 * descriptor. */
int ns_user_with_maps(const struct ns_id_map *uids, size_t n_uids, const struct ns_id_map *gids,
                      size_t n_gids, int *ret_fd, struct error *err) _must_check_;
