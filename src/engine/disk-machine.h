/* Machines that boot a disk: what create refuses, and what start puts into the bundle. */
#pragma once

#include "engine/engine-internal.h"

#define DISK_MACHINE_MAX_BYTES ((uint64_t)16 << 40) /* of one disk */

/* Whether the options make sense for a machine that boots this disk, and what they leave open:
 * afterwards they say the same at each start, wherever from. Nothing is made. */
int disk_machine_complete(struct engine *e, struct create_options *o, const struct image *disk,
                          struct error *err) _must_check_;

/* Descriptors that keep what the machine reads in the store, while they are open somewhere. */
struct held_fds {
    int *fds;
    size_t n;
};
void held_fds_done(struct held_fds *h);
void held_fds_add(struct held_fds *h, int *fd); /* takes it */

/* Fills b->machine, and writes the maps of its disks into the bundle. Adds to *held. */
int disk_machine_describe(struct engine *e, const struct subject *s, const struct image *disk,
                          struct bundle *b, struct held_fds *held, struct error *err) _must_check_;
