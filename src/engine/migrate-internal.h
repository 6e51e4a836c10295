/* The two sides of a migration (migrate.h). */
#pragma once

#include "engine/migrate.h"
#include "engine/snapshot-internal.h"

#define MOVING_FILE "moving" /* in the bundle: AGENT_SNAPSHOT_MOVED once it has moved */

/* migrate-arrive.c: the side that it moves to. */
struct arrival {
    struct engine *e;
    struct subject subject;
    char *base;    /* the topmost part of the disk that is here; NULL: none */
    size_t n_done; /* how many parts are */
};
#define ARRIVAL_INIT                                                                               \
    {                                                                                              \
        .subject = SUBJECT_INIT                                                                    \
    }
int arrival_begin(struct engine *from, const struct subject *s, const char *root,
                  struct arrival *ret, struct error *err) _must_check_;
/* Brings what is missing of the chain, bottom first. */
int arrival_disk(struct arrival *a, char *const *files, struct error *err) _must_check_;
int arrival_memory(struct arrival *a, const char *file, struct error *err) _must_check_;
/* What a machine that boots a disk has beside that, while it stands still: what its firmware and
 * its TPM keep, and more disks that are its own files. */
int arrival_rest(struct arrival *a, const char *bundle, struct error *err) _must_check_;
/* It is here now: starts it, if it ran. */
int arrival_finish(struct arrival *a, bool start, struct error *err) _must_check_;
void arrival_undo(struct arrival *a);
void arrival_done(struct arrival *a);
