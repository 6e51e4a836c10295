/* Everything a program can give away before it reads bytes from outside. */
#pragma once

#include "base/error.h"

/* Called once, single-threaded, with all files open that are needed. From then on: no root, no
 * capability, no new file, no process, no network; only the calls in sandbox.c's table. */
int sandbox_enter(struct error *err) _must_check_;
/* Takes away what sandbox_enter left for the beginning: making threads. */
int sandbox_seal(struct error *err) _must_check_;
