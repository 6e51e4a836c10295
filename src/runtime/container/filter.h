/* The compiled form of a configuration's seccomp profile, from a cache or newly made. */
#pragma once

#include "kernel/seccomp.h"
#include "wire/oci/config.h"

/* cache_dir is made when it is not there; NULL, or one that is not this user's alone: nothing is
 * kept. *ret is owned (seccomp_filter_done). */
int container_filter(const struct oci_seccomp *profile, const char *cache_dir,
                     struct seccomp_filter *ret, struct error *err) _must_check_;
