/*
 * linux.intelRdt (config-linux.md): a folder of resctrl, which gives the processes in it a share of
 * cache and memory bandwidth. Without a closID it is the container's own, by its id; with one it
 * may have been there, and then it must already be what the configuration asks for. The monitoring
 * group lies in it.
 *
 * root is the top directory of a resctrl file system.
 */
#pragma once

#include <sys/types.h>

#include "wire/oci/config.h"

/* The host's; owned. ERROR_UNSUPPORTED when none is mounted. */
int rdt_open_root(int *ret_root, struct error *err) _must_check_;

/* The group's name. Borrowed. */
const char *rdt_group_name(const struct oci_intel_rdt *rdt, const char *id);

/* Opens the group, or makes it (*ret_made). *ret_group is owned. */
int rdt_open_group(int root, const struct oci_intel_rdt *rdt, const char *id, int *ret_group,
                   bool *ret_made, struct error *err) _must_check_;
/* Writes the schemata of a group that was made; compares those of one that was there. */
int rdt_apply(int group, const struct oci_intel_rdt *rdt, bool made,
              struct error *err) _must_check_;
/* Moves a process into it, and into its monitoring group named id. */
int rdt_join(int group, const struct oci_intel_rdt *rdt, const char *id, pid_t pid,
             struct error *err) _must_check_;
/* Removes the monitoring group, and the group when this container made it. What is not there is no
 * error. */
int rdt_remove(int root, const struct oci_intel_rdt *rdt, const char *id, bool made,
               struct error *err) _must_check_;
