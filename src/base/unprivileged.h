/*
 * Giving up what a program was started with. For the helpers that work on outside bytes: they do
 * this after their libraries are loaded, then shut files and system calls away (each has its own
 * list), then read the first byte.
 */
#pragma once

#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/error.h"

/* The lower of what there is and most, soft and hard. 0 or -errno. */
int unprivileged_limit(int resource, rlim_t most) _must_check_;

/* No capability for good, that user and group when it was root (of more than itself), no new
 * privileges, and an end with the parent. 0 or -errno. */
int unprivileged_become(uid_t uid) _must_check_;
/* No capability for good, the user and group "nobody" when it was root, no new privileges, no
 * tracing by others of that user, and an end with the parent. 0 or -errno. */
int unprivileged_user(void) _must_check_;

/* Nothing may be opened by a path any more, but what allow adds to the Landlock ruleset (NULL:
 * nothing). Where the kernel has no Landlock it does nothing: the caller has further walls. 0 or
 * -errno. */
typedef int unprivileged_allow(int ruleset, const void *context);
int unprivileged_paths(unprivileged_allow *allow, const void *context) _must_check_;
/* access: LANDLOCK_ACCESS_FS_*, beneath what fd refers to. 0 or -errno. */
int unprivileged_allow_fd(int ruleset, int fd, uint64_t access) _must_check_;

/* A sanitizer's own needs of memory and system calls are no fixed list. */
#if defined(__has_feature)
#define UNPRIVILEGED_HAS_FEATURE(x) __has_feature(x)
#else
#define UNPRIVILEGED_HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || UNPRIVILEGED_HAS_FEATURE(address_sanitizer)
#define UNPRIVILEGED_SANITIZED true
#else
#define UNPRIVILEGED_SANITIZED false
#endif
