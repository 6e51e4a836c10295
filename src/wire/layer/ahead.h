/*
 * A thread that makes blocks of bytes ahead of who uses them. It is there before the job is, so
 * that a process can make it, and then forbid itself to make any more.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"

#define AHEAD_BLOCK ((size_t)1 << 20)

/* Fills a block; *ret_len 0 is the end. Runs in the thread. */
typedef int layer_ahead_maker(void *context, char *block, size_t room, size_t *ret_len,
                              struct error *err);

struct layer_ahead;
int layer_ahead_new(struct layer_ahead **ret, struct error *err) _must_check_;
/* Waits for the block that is being made. Takes NULL. */
void layer_ahead_free(struct layer_ahead *a);
DEFINE_CLEANUP(struct layer_ahead *, layer_ahead_free)
#define _cleanup_ahead_ _cleanup_(layer_ahead_free_cleanup)

/* Gives it its one job. */
void layer_ahead_begin(struct layer_ahead *a, layer_ahead_maker *make, void *context);
/* The next block, valid until the next call; after an error or the end, that again. */
int layer_ahead_next(struct layer_ahead *a, const char **ret, size_t *ret_len,
                     struct error *err) _must_check_;
/* The job is over: the context is not used again. */
void layer_ahead_end(struct layer_ahead *a);
