/* Operations in files of their own: those that relay bytes (ops_relay.c), snapshots, limits. */
#pragma once

#include "runtime/runtime.h"

int vm_ops_exec(const struct runtime_target *t, const struct runtime_exec *e, const int stdio[3],
                int *ret_status, struct error *err);
int vm_ops_copy_out(const struct runtime_target *t, const char *path, bool follow, int out_fd,
                    struct error *err);
int vm_ops_copy_in(const struct runtime_target *t, const char *path, int in_fd, struct error *err);
int vm_ops_snapshot(const struct runtime_target *t, const struct runtime_snapshot *s,
                    struct runtime_snapshot_done *ret, struct error *err);
int vm_ops_send_tree(const struct runtime_target *t, enum tree_form form, int out_fd,
                     struct error *err);
int vm_ops_update(const struct runtime_target *t, const char *resources, struct error *err);
