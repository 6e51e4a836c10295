/*
 * Cutting: every chunk of a raw disk is read once, told from zeros, hashed, and written to a sparse
 * copy, by a thread for each processor up to four.
 */
#pragma once

#include "wire/disk/disk.h"

struct disk_cut {
    int in;
    int out;    /* an empty regular file; -EBADF: in is only read */
    int packed; /* where the chunks go as zstd frames; -EBADF: nowhere */
    uint64_t bytes;
    void (*progress)(uint64_t bytes); /* may be NULL; called by one thread at a time */
};

/* Unpacks frames into their places of a raw disk: what disk_cut_run packed, or what claims to be.
 * The digest of each frame is checked, and that it holds as many bytes as its chunk has; the caller
 * checks the chunks' own. */
int disk_unpack_run(int in, int out, const struct disk_index *index,
                    struct error *err) _must_check_;

/* Starts the threads and runs to the end. ready is called once, when no more threads are made; its
 * error ends everything. ret->architecture is left alone. */
int disk_cut_run(const struct disk_cut *how, int (*ready)(struct error *err),
                 struct disk_index *ret, struct error *err) _must_check_;
