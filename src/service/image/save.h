/* Images out of the store, in the forms that other engines load. */
#pragma once

#include "service/image/image.h"

struct image_save {
    char *const *references;
    const char *format;      /* "docker-archive", "oci-archive", "oci-dir" */
    const char *compression; /* "none", "gzip", "zstd"; NULL: what is usual for the format */
    const char *output;      /* a file or directory; NULL: standard output */
};
/* All images in one, what they share once. A file appears under its name when it is complete. */
int image_save(struct store *s, const struct image_save *how, struct error *err) _must_check_;
