/*
 * The kernel that light machines boot, as the program proa-kernel prepares it:
 *
 *   ROOT/cache/kernel/VERSION/   VERSION is the Debian package's
 *     vmlinux                    uncompressed, with a PVH entry
 *     initramfs                  guest and the modules it loads
 *     disk-BYTES.ext4            an empty writable disk of that size, copied for each new machine
 */
#pragma once

#include "base/error.h"

/* The newest prepared kernel. Both results are owned. ERROR_NOT_FOUND says how to get one. */
int vm_kernel_find(const char *root, char **ret_kernel, char **ret_initramfs,
                   struct error *err) _must_check_;
