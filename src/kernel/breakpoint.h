/* The processor's own breakpoints (ptrace(2), the debug registers of struct user). */
#pragma once

#include <stdbool.h>

/* Whether one stops a process where it should. Some hypervisors let a guest's kernel set them, and
 * they never fire: whoever waits for that waits for ever. Asked of a child of this process's,
 * about a millisecond; true where it cannot be asked. */
bool breakpoint_fires(void);
