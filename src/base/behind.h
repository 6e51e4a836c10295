/* Work that a command leaves behind, so that nobody waits for it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Does work(context) in a process of its own: not a child of the caller, who need not wait for it,
 * and never in its place on a processor. Nobody's locks, pipes or terminal stay open in it, only
 * the n descriptors of keep. False: there can be no process, and nothing was done.
 */
bool behind(void (*work)(void *context), void *context, const int *keep, size_t n);

/*
 * Closes n descriptors, some of which may be the last of a removed file: then its pages and blocks
 * are freed, 60 ms for a gibibyte, behind the caller. Where there can be no process, it is done
 * here.
 */
void behind_close(const int *fds, size_t n);
