/* A new volume starts with what the image has at its place, as Docker's users expect. */
#pragma once

#include "base/error.h"
#include "engine/engine.h"
#include "service/image/image.h"

/* Copies the image's content at target into an empty volume directory. A volume that has content,
 * or an image that has none there, is left alone. */
int populate_volume(struct engine *e, const struct image *image, const char *target,
                    const char *volume_path, struct error *err) _must_check_;
