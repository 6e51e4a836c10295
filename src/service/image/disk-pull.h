/* Getting a disk from a registry; part of a pull (pull.c). */
#pragma once

#include "service/image/internal.h"
#include "service/image/pull.h"
#include "wire/image/manifest.h"

struct disk_pull {
    struct registry_session *session;
    const struct image_pull *how;
    const struct manifest *manifest; /* of a disk */
    const char *config;              /* whose digest was checked */
};
/* Gets the chunks that the store has not, checks all, and publishes the draft, whose names,
 * manifest and further rows the caller has set. */
int disk_pull(const struct disk_pull *how, struct image_draft *draft,
              struct error *err) _must_check_;
