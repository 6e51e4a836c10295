/* Shared by snapshot*.c. */
#pragma once

#include "engine/engine-internal.h"
#include "engine/snapshot.h"
#include "service/snapshot/snapshot.h"

/* A snapshot of a machine that runs, with its lock held, which nobody is shown: its disk's chain is
 * one longer. moved_fd: its memory too, and it stands still until lease_fd is closed. Its memory is
 * there until lock_fd is closed. */
struct hidden_snapshot {
    char id[65];
    uint64_t pause_us;
    int lease_fd; /* -EBADF: none */
    int lock_fd;
};
int snapshot_hidden(struct engine *e, struct subject *s, int moved_fd, struct hidden_snapshot *ret,
                    struct error *err) _must_check_;

/* One of that instance, made now; nothing in it is owned. base, file and consistency are left out.
 */
struct snapshot_record snapshot_record_of(const struct instance_record *i, char *id, char *name);
/* A directory tree copied whole: owners, modes, times, attributes, links and holes as they are. */
int copy_directory(const char *from, const char *to, struct error *err) _must_check_;

/* snapshot-state.c: the variables of a machine's firmware and its TPM's state, as far as there are
 * any: from one directory into another; a bundle's into a snapshot; and back, in place of what the
 * bundle has, where the snapshot was made with them. */
int state_copy(const char *from, const char *to, struct error *err) _must_check_;
int state_keep(const char *bundle, const char *snapshot, struct error *err) _must_check_;
int state_return(const char *snapshot, const char *bundle, struct error *err) _must_check_;

/* The path in the bundle of a disk's file that is written to; owned. */
char *machine_own_file(const struct subject *s, const struct snapshot_chain *c, unsigned int disk);
/* Removes files that a bundle has for a machine's disks and that are not in use, as the store says.
 */
void sweep_disks(struct engine *e, const struct subject *s);
/* proa.json says what the disks are by now, for a restart by the monitor. */
int bundle_update_disks(const struct subject *s, const struct snapshot_chain *c,
                        struct error *err) _must_check_;
/* What the disk of a machine without snapshots is called. */
#define MACHINE_DISK      "disk.ext4"
#define MACHINE_BOOT_DISK "disk0.qcow2" /* of one that boots a disk image */
/* The memory that its next start goes on from; none: it boots. */
#define MACHINE_MEMORY "memory"
