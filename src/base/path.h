/*
 * Paths. The *_beneath functions are the only way into a tree that somebody else wrote (an image, a
 * root file system, a volume): they resolve with openat2(2) and RESOLVE_IN_ROOT or RESOLVE_BENEATH,
 * so no symlink, "..", magic link or mount exchange leads outside.
 */
#pragma once

#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "base/error.h"

/* Opens path as a process chrooted to rootfd would: absolute symlinks and ".." stop at the root.
 * Gives a descriptor or -errno. flags as for open(2); O_CLOEXEC is added. */
int path_open_in_root(int rootfd, const char *path, int flags, mode_t mode) _must_check_;

/* Opens path strictly below dirfd: anything that would leave it fails with -EXDEV. */
int path_open_beneath(int dirfd, const char *path, int flags, mode_t mode) _must_check_;

/* mkdir -p in_root; gives an O_PATH descriptor of the last directory. */
int path_make_dirs_in_root(int rootfd, const char *path, mode_t mode) _must_check_;

/* mkdir -p for trusted paths; an existing directory is fine. */
int path_make_dirs(const char *path, mode_t mode) _must_check_;

/* rm -rf of dirfd/name without following symlinks or crossing mounts. Absent is success. */
int path_remove_tree(int dirfd, const char *name) _must_check_;

/* The names in an open directory, sorted by their bytes: an owned vector. 0 or -errno. */
int path_list_names(int dirfd, char ***ret) _must_check_;

/* "a/b" from "a" and "b" (owned); b may be absolute, its leading slashes are dropped. */
char *path_join(const char *a, const char *b);

/* Removes "//", "/./" and resolves ".." by text; result is absolute and owned ("/" at least). */
char *path_normalize(const char *path);

/* True for a plain name: not empty, not "." or "..", no "/", at most 255 bytes. */
bool path_is_name(const char *name);
