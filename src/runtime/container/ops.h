/* The operations of container_ops that have files of their own. */
#pragma once

#include "kernel/cgroup.h"
#include "runtime/runtime.h"

int container_ops_exec(const struct runtime_target *t, const struct runtime_exec *e,
                       const int stdio[3], int *ret_status, struct error *err) _must_check_;
int container_ops_copy_out(const struct runtime_target *t, const char *path, bool follow,
                           int out_fd, struct error *err) _must_check_;
int container_ops_copy_in(const struct runtime_target *t, const char *path, int in_fd,
                          struct error *err) _must_check_;
int container_ops_send_tree(const struct runtime_target *t, enum tree_form form, int out_fd,
                            struct error *err) _must_check_;
int container_ops_processes(const struct runtime_target *t, char **ret_json,
                            struct error *err) _must_check_;

/* Where the instance's control group is: owned. */
char *container_target_cgroup_path(const struct runtime_target *t);
/* The group, open; ERROR_CONFLICT when the instance has none (it does not run). */
int container_target_cgroup(const struct runtime_target *t, struct cgroup *ret,
                            struct error *err) _must_check_;
/* A pidfd of the first process, after checking that it still is this instance's. Owned; -errno. */
int container_target_pidfd(const struct runtime_target *t, struct error *err) _must_check_;

/* Its processes: of its control group, or, where it has none, of its pid namespace. *ret is owned.
 */
int container_target_processes(const struct runtime_target *t, pid_t **ret, size_t *ret_n,
                               struct error *err) _must_check_;

/* True when all of its processes are stopped by the freezer. */
bool container_target_frozen(const struct runtime_target *t);
/* Every process of its group, whether or not the first one lives. */
int container_target_signal_all(const struct runtime_target *t, int signum,
                                struct error *err) _must_check_;

/* Control groups for limits that it was started without. */
struct oci_resources;
int container_target_extend(const struct runtime_target *t, const struct oci_resources *res,
                            struct error *err) _must_check_;
/* Applies what is set in res to a container with a control group (limits.c). */
int container_target_update(const struct runtime_target *t, const struct oci_resources *res,
                            struct error *err) _must_check_;
