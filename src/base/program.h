/*
 * Where Proa's own helper programs are: beside the running program (a build tree), otherwise in
 * the installed libexec directory. Never through PATH or the environment: a privileged command
 * must not be talked into running another program.
 */
#pragma once

#include "base/error.h"

int program_find(const char *name, char **ret_path, struct error *err) _must_check_;

/* Where to look first: for a program that does not run from where it was installed. Copied. */
void program_set_directory(const char *directory);
