/* Capability sets of the calling process, as bit masks (bit n: the capability with number n). */
#pragma once

#include <stdint.h>

#include "base/error.h"

struct caps {
    uint64_t bounding, effective, inheritable, permitted, ambient;
};

/* The highest capability number this kernel knows. */
unsigned int caps_last(void);

/* Removes from the bounding set what is not in mask; needs CAP_SETPCAP. 0 or -errno. */
int caps_bound(uint64_t mask) _must_check_;

/* Sets effective, permitted and inheritable at once. 0 or -errno. */
int caps_set(uint64_t effective, uint64_t permitted, uint64_t inheritable) _must_check_;

/* The three sets of the calling process. 0 or -errno. */
int caps_get(uint64_t *effective, uint64_t *permitted, uint64_t *inheritable) _must_check_;

/* Makes the ambient set exactly mask, as far as permitted and inheritable hold it. */
int caps_ambient(uint64_t mask) _must_check_;

/* What this process could still grant: the bounding set, as far as the kernel knows capabilities.
 */
uint64_t caps_available(void);
