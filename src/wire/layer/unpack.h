/* A layer's files, one after the other, for who cannot mount its EROFS. */
#pragma once

#include <stdint.h>

#include "base/error.h"

struct layer_unpacked {
    uint64_t entries, bytes; /* of contents */
};

/* Writes all that the file system in erofs_fd holds to out_fd as a plain tar stream (wire/tar): the
 * root first, directories before what is in them, the same order each time. What hides a file of
 * another layer is what it is on EROFS: a device 0:0, the attribute trusted.overlay.opaque. Holes
 * are zeros. */
int layer_unpack(int erofs_fd, int out_fd, uint64_t max_bytes, struct layer_unpacked *ret,
                 struct error *err) _must_check_;
