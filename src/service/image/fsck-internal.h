/* What the files of fsck share. */
#pragma once

#include "service/image/fsck.h"
#include "service/store/store.h"

struct check {
    struct store *s;
    bool repair;
    struct image_fsck *f;
};

/* What was pushed, and manifests that were made (fsck-content.c). */
int fsck_content(struct check *c, struct error *err) _must_check_;
