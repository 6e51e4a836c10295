/*
 * Spare machines: light machines that were started before anybody wanted them, and wait for a `run`
 * that fits. {"spares": N} in machines.json says how many.
 */
#pragma once

#include "engine/engine-internal.h"

/* Opens the spare machine that fits what is asked for, if there is one, locked: the caller makes
 * its row what is asked for. False: there is none, for whatever reason. */
bool spare_take(struct engine *e, const struct create_options *o, const struct image *image,
                struct subject *ret);

/* Waits for its workload, whether its row says so or not any more. */
bool subject_is_spare(const struct subject *s);
/* The start of an instance that was taken: its machine runs what its row says. On failure it has
 * ended, and the instance can be started again. */
int spare_begin(struct engine *e, struct subject *s, bool attach, int *ret_attach,
                struct error *err) _must_check_;

/* After a start: leaves a process behind that makes a machine like it, if there is none. */
void spare_order(struct engine *e, const struct subject *s, const struct image *image);

/* Ends those of an image, NULL: all. */
void spares_end(struct engine *e, const char *image_id);
