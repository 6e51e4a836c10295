/*
 * The files of snapshots: ROOT/snapshots/ID/ with
 *
 *   disk.raw, disk.qcow2   a machine's disk: never written again, read through by whatever stands
 *                          on it
 *   upper/                 a container's own files, a copy
 *   memory                 QEMU's own stream of a machine's memory and devices
 *
 * A machine's disk is a chain: at the bottom a raw file (or, of a disk image, what the image is),
 * then an overlay for each snapshot, and on top the file that the machine writes, in its bundle. A
 * snapshot makes the top file a part of the chain and puts an empty one on it. An empty overlay
 * changes nothing of what is seen through it, which makes each step safe by itself: the store says
 * that the chain is one longer *before* QEMU is told, and whichever of the two a crash prevents,
 * the next start sees every byte that was written.
 *
 * Who makes or removes the files of a snapshot holds a lock on its directory.
 */
#pragma once

#include "base/error.h"
#include "service/store/snapshot.h"

char *snapshot_dir(const struct store *s, const char *id); /* owned */

/* A machine's disk as a chain of files: bottom first, the writable one last. */
struct snapshot_chain {
    char **lower; /* paths, NULL-terminated; empty: the disk stands on nothing of ours */
    char *base;   /* the id of the snapshot on top of them; NULL: none */
    char *file; /* the writable file's name in the bundle, "….qcow2" when it has something below;
                 * NULL: the name that it has without snapshots */
};
void snapshot_chain_done(struct snapshot_chain *c);
int snapshot_chain(struct store *s, const char *instance_id, struct snapshot_chain *ret,
                   struct error *err) _must_check_;
/* The files of a snapshot's own disk, bottom first: what a clone of it would stand on. Owned. */
int snapshot_lower(struct store *s, const char *id, char ***ret, struct error *err) _must_check_;

/* From here on the instance's disk is what the snapshot has: nothing is copied, the new writable
 * file is made when the instance starts. *ret_file is its name, owned. */
int snapshot_stand_on(struct store *s, const char *instance_id, const char *snapshot_id,
                      char **ret_file, struct error *err) _must_check_;

/* Makes the directory, before the row, and holds it. *ret_lock is to be closed. */
int snapshot_begin(struct store *s, const char *id, int *ret_lock, struct error *err) _must_check_;
/* Takes away everything that nothing stands on and that nobody holds. */
int snapshot_collect(struct store *s, struct error *err) _must_check_;

/* What is seen through files of a chain, the lowest first, as one file into out, which is empty: a
 * raw disk where the lowest is one, otherwise an overlay (by proa-disk). */
int snapshot_merge(const int *fds, size_t n, bool raw, int out, struct error *err) _must_check_;

/* An empty overlay of that size at path; synced. */
int snapshot_overlay(const char *path, uint64_t virtual_bytes, struct error *err) _must_check_;
/* Whether a file of a chain is an overlay, by its name: no other way is asked. */
bool snapshot_is_overlay(const char *path);
/* The size of the disk in a file of a chain. */
int snapshot_disk_size(const char *path, uint64_t *ret, struct error *err) _must_check_;
