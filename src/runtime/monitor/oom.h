/* Whether the kernel ended a container for lack of memory. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Looks into the control group that pid, a process or a zombie, is in. */
bool oom_killed(pid_t pid);
