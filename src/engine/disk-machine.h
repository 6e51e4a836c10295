/* Machines that boot a disk: what create refuses, and what start puts into the bundle. */
#pragma once

#include "engine/engine-internal.h"

/* Whether the options make sense for a machine that boots this disk; nothing is made. */
int disk_machine_check(const struct create_options *o, const struct image *disk,
                       struct error *err) _must_check_;
/* What is always so: a kind, a console, time to shut down. */
void disk_machine_defaults(struct create_options *o);

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
