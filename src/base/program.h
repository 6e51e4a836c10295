/*
 * Where Proa's own helper programs are: beside the running program (a build tree), otherwise in
 * the installed libexec directory. Never through PATH or the environment: a privileged command
 * must not be talked into running another program.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

int program_find(const char *name, char **ret_path, struct error *err) _must_check_;

/* Where to look first: for a program that does not run from where it was installed. Copied. */
void program_set_directory(const char *directory);

/* Takes complete lines of bare numbers, a helper's progress, off the front of what it wrote; the
 * JSON line behind them stays. progress may be NULL. */
void program_progress(struct buf *out, void (*progress)(void *context, uint64_t done),
                      void *context);

/* The error of a helper that ended with a status: the last line of what it wrote to stderr, which
 * is "KIND MESSAGE" (error_kind_name()); anything else is quoted as it is. name is the program's.
 */
int program_failed(const char *name, struct buf *text, int status, struct error *err);
