/*
 * The walls around QEMU, its helpers and proa-vm: a root of their own (sandbox.c), and after root
 * was given up fewer system calls, files and limits (confine.c).
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

/* Libraries that a clone's QEMU is given: our programs, and how it sees them. */
#define VM_PRELOADS 3
extern const struct vm_preload {
    const char *program, *seen;
} vm_preloads[VM_PRELOADS];

/* sandbox.c: in QEMU's process, between fork and exec. */
struct vm_sandbox {
    const char *kernel, *initramfs; /* NULL when it boots a disk */
    char *preloads[VM_PRELOADS];    /* what is found of vm_preloads; NULL: not to be seen */
    bool kvm, proc; /* it opens its memory by /proc/self/fd, and sees itself there, nothing else */
};
int vm_sandbox_enter(const struct vm_sandbox *s, uid_t uid, struct error *err) _must_check_;
/* confine.c: limits, system calls, Landlock; after root was given up. For QEMU before its exec. */
int vm_confine_qemu(struct error *err) _must_check_;
int vm_confine_self(struct error *err) _must_check_;
/* pc-tpm-confine.c: likewise for swtpm, in its root. */
int vm_confine_tpm(struct error *err) _must_check_;
#define VM_SANDBOX_KERNEL    "/kernel"
#define VM_SANDBOX_INITRAMFS "/initramfs"
/* The same for a helper with a directory of its own, which it sees as VM_SANDBOX_STATE. */
int vm_sandbox_enter_state(const char *directory, uid_t uid, struct error *err) _must_check_;
#define VM_SANDBOX_STATE "/state"
/* Gives up root for good: ids, groups, capabilities, new privileges. */
int vm_drop_root(uid_t uid, struct error *err) _must_check_;
