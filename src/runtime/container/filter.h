/* The compiled form of a configuration's seccomp profile, from a cache or newly made. */
#pragma once

#include "kernel/seccomp.h"
#include "wire/oci/config.h"

/* cache_dir is made when it is not there; NULL, or one that is not this user's alone: nothing is
 * kept. *ret is owned (seccomp_filter_done). */
int container_filter(const struct oci_seccomp *profile, const char *cache_dir,
                     struct seccomp_filter *ret, struct error *err) _must_check_;

/* The same for the profile in the file path (Docker's form), or the default one when it is NULL,
 * and a process that may have the capabilities of the mask. */
int container_filter_of_file(const char *path, uint64_t caps, const char *cache_dir,
                             struct seccomp_filter *ret, struct error *err) _must_check_;
