/*
 * The kernels that light machines boot, as the program proa-kernel prepares them:
 *
 *   ROOT/cache/kernel/NAME/      NAME is the Debian package's version, or what its adder called it
 *     vmlinux                    uncompressed, with a PVH entry
 *     initramfs                  guest and the modules it loads
 *     version                    what the kernel calls itself
 *     own                        there when it was not made of Debian's package
 *     disk-BYTES.ext4            an empty writable disk of that size, copied for each new machine
 *   ROOT/cache/kernel/.default   the name that `proa kernel default` chose
 *
 * Without a choice the newest of Debian's is the default, so that adding one of one's own changes
 * no machine; when there is none of Debian's, the newest of all.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* The default. Both results are owned. ERROR_NOT_FOUND says how to get one. */
int vm_kernel_find(const char *root, char **ret_kernel, char **ret_initramfs,
                   struct error *err) _must_check_;
/* The one of that name. */
int vm_kernel_find_named(const char *root, const char *name, char **ret_kernel,
                         char **ret_initramfs, struct error *err) _must_check_;

/* All of them, by name; ended by a NULL name. */
struct vm_kernel {
    char *name, *version; /* version: "" when nothing is known */
    uint64_t size_bytes;  /* of the kernel and its initramfs */
    bool is_default, own;
};
int vm_kernel_list(const char *root, struct vm_kernel **ret, struct error *err) _must_check_;
void vm_kernel_list_free(struct vm_kernel *list); /* takes NULL */

/* What is booted without being asked for; name must be there. */
int vm_kernel_set_default(const char *root, const char *name, struct error *err) _must_check_;
/* Whether it runs is the caller's to know. A default that was chosen is no longer one. */
int vm_kernel_remove(const char *root, const char *name, struct error *err) _must_check_;

/* Writes to `to` an initramfs that the kernel unpacks as `first`, then `then` over it: the user's,
 * then ours. */
int vm_initramfs_combine(const char *first, const char *then, const char *to,
                         struct error *err) _must_check_;
#define VM_INITRAMFS_MAX ((uint64_t)1 << 30)
