/* Whether the files of snapshots are there, and are what they should be. */
#pragma once

#include "service/image/fsck.h"
#include "service/snapshot/snapshot.h"

/* Adds to f. repair: a broken snapshot is removed, as far as nothing stands on it. */
int snapshot_fsck(struct store *s, bool repair, struct image_fsck *f,
                  struct error *err) _must_check_;
