/* The files of runtime/rootless/ among themselves. */
#pragma once

#include "base/error.h"

/* keeper.c: makes the namespaces and the process that keeps them; its number goes into the file.
 * Gives a pidfd of it. */
int keeper_make(const char *file, int *ret_pidfd, struct error *err) _must_check_;
/* The process that the file names, while it is that one: a pidfd, or -errno. */
int keeper_find(const char *file) _must_check_;
