/*
 * Where an ordinary user's own state is, by the XDG base directory specification. Root of a user
 * namespace (process_is_host_root) is such a user, too.
 */
#pragma once

#include "base/error.h"

/* $XDG_DATA_HOME, or ~/.local/share; owned. ERROR_INVALID when neither is known. */
int user_data_dir(char **ret, struct error *err) _must_check_;
/* What a program of Proa's needs to find the same directories, and PATH: an owned vector. */
char **user_dirs_environment(void);
/* $XDG_RUNTIME_DIR, or, where there is none that is the user's, /tmp/proa-run-UID (outside), which
 * is made and must be the user's alone. Owned. */
int user_runtime_dir(char **ret, struct error *err) _must_check_;
