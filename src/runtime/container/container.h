/*
 * The container runtime: what stands beside container_ops and container_start (runtime/runtime.h).
 */
#pragma once

#include <signal.h>

#include "runtime/bundle.h"
#include "runtime/runtime.h"

/* container_start in two steps, as the OCI runtime command line has them. container_create leaves
 * the first process set up and waiting on RUN_DIR/init.sock; container_release lets it execute and
 * gives the error when it cannot. */
int container_create(const struct runtime_start *s, struct runtime_started *ret,
                     struct error *err) _must_check_;
int container_release(const char *run_dir, struct error *err) _must_check_;

/* The root file system of a container that does not run, for cp and diff. *ret_rootfd is owned and
 * refers to a mount that is attached nowhere: it vanishes with the descriptor. Needs a bundle with
 * layers. */
int container_mount_root(const struct bundle *b, int *ret_rootfd, struct error *err) _must_check_;

/* Where the control group of an instance is, below its hierarchies: owned. */
struct oci_config;
char *container_cgroup_path(const struct oci_config *config, const char *id);
