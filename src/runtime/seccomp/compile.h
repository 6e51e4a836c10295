/* From a profile to the instructions the kernel takes. Needs libseccomp: proa-seccomp only. */
#pragma once

#include "base/buf.h"
#include "wire/oci/config.h"

#define SECCOMP_MAX_BYTES 32768 /* the kernel's limit of 4096 instructions */

/* What Proa's containers run under; see profile.c. */
extern const struct oci_seccomp seccomp_default_profile;

/* caps: what the process will have (bit n: capability n). out gets struct sock_filter[]. A profile
 * whose list of architectures is NULL is for the two of this machine; an empty one, for its own. */
int seccomp_compile(const struct oci_seccomp *profile, uint64_t caps, struct buf *out,
                    struct error *err) _must_check_;
