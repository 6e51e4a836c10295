/*
 * A machine that boots a disk: a PC (q35) with firmware, a serial console, and what its bundle asks
 * for. Its parts, in the order in which proa-vm uses them (pc-main.c):
 *
 *   pc-disk.c   opens and locks every file, makes the overlay that the machine writes to
 *   pc-firmware.c, pc-tpm.c   UEFI and its variables; swtpm
 *   pc-argv.c   QEMU's command line, from tables
 *   pc-relay.c  proa-vm's loop: stdio is the serial console, signals are the power button
 *   pc-guest.c  what is asked of the system inside (exec, cp, top)
 */
#pragma once

#include "runtime/vm/machine.h"

#define VM_PC_FILES_MAX 256u

/* A drive's files by their place in vm_pc.files; -1: it has none. */
struct vm_pc_drive {
    int file;
    int packs[MACHINE_PARTS_MAX], maps[MACHINE_PARTS_MAX], lower[MACHINE_LOWER_MAX];
    bool is_device; /* file is a block device of the host's */
};
struct vm_pc {
    /* Given to QEMU: each is a descriptor set of its own, numbered from 1. */
    int files[VM_PC_FILES_MAX];
    size_t n_files;
    struct vm_pc_drive drives[MACHINE_DISKS_MAX];
    int code, vars; /* UEFI's, by their place in files */
    int tpm_fd;     /* -EBADF: none */
};

/* pc-disk.c */
int vm_pc_open_disks(const struct bundle_machine *m, struct vm_pc *ret,
                     struct error *err) _must_check_;
/* -blockdev's value for a disk; owned. node: the name of its node. */
char *vm_pc_blockdev(const struct machine_disk *d, const struct vm_pc_drive *drive,
                     const char *node, bool ephemeral);
/* Adds a descriptor, taken, for QEMU; its place. */
int vm_pc_add_file(struct vm_pc *pc, int *fd, int *ret_place, struct error *err) _must_check_;

/* pc-firmware.c */
int vm_pc_open_firmware(const struct bundle_machine *m, const char *bundle, struct vm_pc *pc,
                        struct error *err) _must_check_;
/* pc-tpm.c: *ret_fd is QEMU's end. group: QEMU's, too. */
int vm_pc_start_tpm(const char *bundle, uid_t machine_uid, const struct cgroup *group, int *ret_fd,
                    struct error *err) _must_check_;
#define VM_TPM_PROGRAM "/usr/bin/swtpm"
#define VM_TPM_LOADER  "/lib64/ld-linux-x86-64.so.2"

/* pc-argv.c: owned; the descriptors are those of QEMU's ends. */
char **vm_pc_argv(const struct vm_qemu *q, int agent, int qmp, int console);
/* QEMU's name of a processor that is plugged in; owned. */
char *vm_pc_processor_type(const struct vm_qemu *q);
/* qemu.c: the -netdev of either kind's card i; owned. */
char *vm_netdev(size_t i, int fd);
