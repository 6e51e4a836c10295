/* The sandbox that qemu-img runs in. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct disk_confine {
    int in, out;         /* the only files that may be opened again, by /proc/self/fd/N */
    uint64_t file_bytes; /* the most that out may grow to */
    uid_t uid;           /* of nobody else */
};
/* Called once, single-threaded, right before exec. */
int disk_confine(const struct disk_confine *c, struct error *err) _must_check_;
