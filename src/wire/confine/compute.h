/* The job of a program that only computes: it reads and writes files that are open already. */
#pragma once

#include "base/error.h"

/* Called once, single-threaded, with all files open that are needed. From then on: no root, no
 * capability, no new file, no process, no network; only the calls in compute.c's table. */
int confine_compute(struct error *err) _must_check_;
/* Takes away what confine_compute left for the beginning: making threads. */
int confine_compute_seal(struct error *err) _must_check_;
