/*
 * Compiled seccomp filters in a directory, by the key that they were compiled from. A file of the
 * directory, named by a fingerprint of the key, holds two lengths, the key and the instructions.
 *
 * The whole key is compared on a hit: a profile that was made to collide with another one's
 * fingerprint gets a miss, never somebody else's filter. A file or directory that is another
 * user's, or that others can write to, is not looked at. Losing a file costs a compilation.
 */
#pragma once

#include "base/buf.h"
#include "kernel/seccomp.h"

#define FILTER_MAX_KEY     ((size_t)4 << 20)
#define FILTER_MAX_PROGRAM ((size_t)BPF_MAXINSNS * sizeof(struct sock_filter))
#define FILTER_MAX_FILES   256

/* Makes dir when it is not there. An owned descriptor, or -errno: do without. dir may be NULL. */
int filter_cache_open(const char *dir) _must_check_;

/* *ret gets instructions of its own; its other members stay. -ENOENT for everything that is not
 * this key's filter. */
int filter_cache_read(int dir, const struct buf *key, struct seccomp_filter *ret) _must_check_;

/* Keeps program, and no more than FILTER_MAX_FILES of them: the oldest goes. What fails is not
 * kept. Two processes may do it at once. */
void filter_cache_write(int dir, const struct buf *key, const struct buf *program);

/* The same as filter_cache_read on the bytes of a file: 0 or -EBADMSG. */
int filter_cache_parse(const void *data, size_t len, const struct buf *key,
                       struct seccomp_filter *ret) _must_check_;

/* *ret gets a copy. -EBADMSG when it can be no program. */
int filter_from_program(const void *data, size_t len, struct seccomp_filter *ret) _must_check_;
