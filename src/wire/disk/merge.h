/*
 * Several overlays (disk.h) as one, or, where they stand on a raw disk, as a raw disk: what is seen
 * through all of them. QEMU has written them for a guest, so nothing in them is believed: each
 * offset is checked, and what an overlay of ours never has (compression, encryption, snapshots of
 * its own, a name of anything behind it) is refused.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define DISK_LAYERS_MAX 80u

struct disk_merge {
    int raw;             /* what the lowest overlay stands on; -EBADF: nothing of ours */
    const int *overlays; /* the lowest first */
    size_t n;            /* at most DISK_LAYERS_MAX */
    int out;             /* an empty file */
};
/* *ret_bytes: the size of the disk, the topmost's. */
int disk_merge_run(const struct disk_merge *m, uint64_t *ret_bytes, struct error *err) _must_check_;
