/* Snapshots of instances: making, restoring, cloning and removing them. The files are
 * service/snapshot's, the rows service/store/snapshot.h's, which front ends read. */
#pragma once

#include <stdint.h>

#include "engine/engine.h"

struct snapshot_options {
    const char *name; /* NULL: snap0, snap1, ... */
    bool memory;      /* what a running machine is doing, too */
    bool no_freeze;   /* do not ask the guest to bring its file system in order first */
};
struct snapshot_made {
    char id[65];
    char name[129];
    uint64_t pause_us; /* how long the instance stood still */
    char **left_out;   /* files of the user's that it writes to, and that are not in it; owned */
};
int engine_snapshot_create(struct engine *e, const char *reference,
                           const struct snapshot_options *o, struct snapshot_made *ret,
                           struct error *err) _must_check_;

/* Puts an instance back to a snapshot of its own: files, options, and what it was doing if that was
 * kept. Everything since is gone. force: one that runs is killed first. */
int engine_snapshot_restore(struct engine *e, const char *reference, const char *snapshot,
                            bool force, struct error *err) _must_check_;

/* A new instance that stands on a snapshot; what is the original's alone (addresses, published
 * ports, anonymous volumes) is new or left out. name NULL: a random one. *ret_id is owned. */
int engine_snapshot_clone(struct engine *e, const char *snapshot, const char *name, char **ret_id,
                          struct error *err) _must_check_;

struct snapshot_export {
    bool no_memory; /* without it, even if it has any */
    bool flatten;   /* its disk as one file instead of a chain */
};
/* A machine's snapshot as one file, which another host can import. path NULL: stdout. */
int engine_snapshot_export(struct engine *e, const char *reference, const char *path,
                           const struct snapshot_export *how, struct error *err) _must_check_;
/* Makes one file of what the disk of a machine that does not run is: it stands on nothing but that
 * (and its image) afterwards, and what nothing else stands on goes. */
int engine_snapshot_flatten(struct engine *e, const char *reference,
                            struct error *err) _must_check_;
/* From an open file or a pipe. name NULL: the one that it had. *ret is INSTANCE/NAME, owned. Its
 * image must be here. */
int engine_snapshot_import(struct engine *e, int stream, const char *name, char **ret,
                           struct error *err) _must_check_;

int engine_snapshot_remove(struct engine *e, const char *reference, struct error *err) _must_check_;
