/* Whether the store still is what was put into it, to the last byte. */
#pragma once

#include "service/image/image.h"

struct image_fsck {
    char **faults;   /* a line each */
    char **repaired; /* what was done about them, a line each */
    size_t layers, blobs, images, snapshots;
    uint64_t bytes; /* that were read */
};
void image_fsck_done(struct image_fsck *f);

/* Checks the database, that every row's files are there and no others, every blob against its
 * digest, every layer by giving its tar back, and
 * every chunk of disks. Other commands may go on meanwhile. repair:
 * removes what is broken, so that pulling or loading the image brings it again; what an instance
 * needs keeps its row. */
int image_fsck(struct store *s, bool repair, struct image_fsck *ret,
               struct error *err) _must_check_;
