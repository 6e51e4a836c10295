/*
 * The listener of a seccomp filter that notifies (runtime-spec, config-linux.md "The Container
 * Process State"): sent with the state over the Unix socket that the configuration names.
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"

/* listener is borrowed; metadata may be NULL; state is the OCI state document. */
int notify_send(const char *socket_path, int listener, pid_t pid, const char *metadata,
                const char *state, struct error *err) _must_check_;
