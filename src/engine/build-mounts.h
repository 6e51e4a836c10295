/* One RUN --mount, between the file that reads its words and the one that makes it. */
#pragma once

#include "engine/build-internal.h"

enum mount_kind { KIND_BIND, KIND_CACHE, KIND_TMPFS, KIND_SECRET };

struct build_mount {
    enum mount_kind kind;
    char *type, *target, *source, *from, *id, *sharing, *size, *mode, *uid, *gid, *env;
    bool read_only, writable, required;
    int lock;
};

/* build-mount-words.c. Both give `otherwise` when text is NULL. */
int build_mount_id(const char *text, uint32_t otherwise, uint32_t *ret,
                   struct error *err) _must_check_;
int build_mount_mode(const char *text, mode_t otherwise, mode_t *ret,
                     struct error *err) _must_check_;
