/*
 * The files of snapshots: ROOT/snapshots/ID/ with
 *
 *   disk.raw, disk.qcow2   a machine's first disk: never written again, read through by whatever
 *                          stands on it
 *   disk1.qcow2 ...        its other disks, by their numbers, likewise
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
 * All disks of a machine grow by the same step: one row says what they stand on, and how the files
 * on top are called. So no disk can be at another snapshot than the others.
 *
 * Who makes or removes the files of a snapshot holds a lock on its directory.
 */
#pragma once

#include "base/error.h"
#include "service/store/snapshot.h"

char *snapshot_dir(const struct store *s, const char *id); /* owned */

#define SNAPSHOT_DISKS_MAX 16u

/* What a disk is called in a snapshot's directory; disks but the first are overlays always. Owned.
 */
char *snapshot_disk_name(unsigned int disk, bool overlay);
/* Which one it is; false: none has that name. */
bool snapshot_disk_number(const char *name, unsigned int *ret);

/* What one snapshot has of the disks. */
struct snapshot_level {
    char *dir;    /* the snapshot's directory; NULL: the end of a list of them */
    char **files; /* names in it; never empty */
};
/* Bottom first, those without files left out; the last one is the snapshot's own. Owned. */
int snapshot_levels(struct store *s, const char *id, struct snapshot_level **ret,
                    struct error *err) _must_check_;
void snapshot_levels_free(struct snapshot_level *list); /* takes NULL */
/* The files of one disk among them, bottom first; owned, never NULL. */
char **snapshot_lower(const struct snapshot_level *list, unsigned int disk);

/* What an instance's disks stand on. */
struct snapshot_chain {
    struct snapshot_level *levels; /* empty: on nothing of ours */
    char *base;                    /* the id of the snapshot on top of them; NULL: none */
    char *file;                    /* snapshot_own_name's; NULL: no snapshot has been made */
};
void snapshot_chain_done(struct snapshot_chain *c);
int snapshot_chain(struct store *s, const char *instance_id, struct snapshot_chain *ret,
                   struct error *err) _must_check_;

/* The name in the bundle of the file that a disk is written to, of what snapshot_stand_on and
 * struct snapshot_chain give for all of a machine's disks. Owned. */
char *snapshot_own_name(const char *file, unsigned int disk);
/* Whether a bundle's file is one of those. ret_set: what the names of one time have in common; ""
 * before the first snapshot. */
bool snapshot_own_set(const char *name, char ret_set[static 17]);

/* From here on the instance's disks are what the snapshot has: nothing is copied, the new writable
 * files are made when the instance starts. *ret_file names them, owned. */
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
