/* Closing what takes long to close. */
#pragma once

#include <stddef.h>

/*
 * Closes n descriptors, some of which may be the last of a removed file: then its pages and blocks
 * are freed, 60 ms for a gibibyte. That is done by a process of its own, which holds nothing else
 * and ends with it, so the caller does not wait. Where there can be no process, it is done here.
 */
void fd_release_behind(const int *fds, size_t n);
