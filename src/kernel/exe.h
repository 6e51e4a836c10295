/*
 * Running a program of Proa's from a read-only copy of its mount.
 *
 * A process that is about to become a container's process still has Proa's program as its
 * executable file. A hostile image can get hold of that file ("#!/proc/self/exe") and write to it
 * later. Executed from a detached read-only mount it cannot be written through, whoever asks.
 */
#pragma once

#include "base/error.h"

/* A descriptor to execute with fexecve(3) or execveat(2); owned. 0 or -errno. */
int exe_open_readonly(const char *path) _must_check_;
