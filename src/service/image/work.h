/* A directory of one's own below ROOT/tmp, locked while its owner lives (work.c). */
#pragma once

#include "base/error.h"
#include "service/store/store.h"

struct image_work {
    struct store *store;
    char *name; /* below ROOT/tmp */
    int fd;     /* the directory, flock()ed */
};
int image_work_begin(struct store *s, struct image_work *ret, struct error *err) _must_check_;
void image_work_end(struct image_work *w); /* removes what is left in it */
#define _cleanup_work_ _cleanup_(image_work_end)
/* ROOT/layers or ROOT/blobs/sha256 and the like, as a directory descriptor. */
int image_open_dir(const struct store *s, const char *below, struct error *err) _must_check_;
/* A file without a name in the work directory. */
int image_work_unnamed(struct image_work *w, struct error *err) _must_check_;
