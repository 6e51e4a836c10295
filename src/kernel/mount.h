/*
 * Mounts by descriptor: a mount is made detached (fsopen or open_tree), given its attributes, and
 * attached to a target that is a descriptor too, so that no path is walked twice and no symlink can
 * come between the check and the use.
 *
 * Every descriptor given back is owned by the caller and close-on-exec. A detached mount vanishes
 * with its last descriptor.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/mount.h>

#include "base/error.h"

struct mount_options {
    uint64_t set, clear;                     /* MOUNT_ATTR_* of the mount */
    uint64_t recursive_set, recursive_clear; /* of everything below it, too */
    unsigned long propagation;               /* MS_PRIVATE…, with MS_REC; 0: not given */
    bool bind, recursive;
    bool id_map, id_map_recursive;
    bool copy_up; /* tmpfs: begin with what was there */
    char **data;  /* what belongs to the file system: "size=64m"; owned */
};

/* Options as fstab and OCI have them. Never fails: a word that no table knows is the file
 * system's. */
void mount_options_parse(char *const *words, struct mount_options *ret);
/* Every word that mount_options_parse takes for itself: a NULL-terminated vector to be freed, whose
 * strings are borrowed. */
char **mount_option_words(void);
void mount_options_done(struct mount_options *o);

/* A new instance of a file system, detached. source may be NULL. */
int mount_new(const char *type, const char *source, const struct mount_options *o, int *ret_fd,
              struct error *err) _must_check_;

/* A detached copy of the mount at dirfd/path ("" for dirfd itself). -errno. */
int mount_clone(int dirfd, const char *path, bool recursive) _must_check_;

/* Puts a detached mount on top of what target_fd is. 0 or -errno. */
int mount_attach(int mount_fd, int target_fd) _must_check_;

/* Sets and clears attributes. 0 or -errno. */
int mount_set(int mount_fd, uint64_t set, uint64_t clear, bool recursive) _must_check_;

/* set, clear, recursive_* and propagation of o. 0 or -errno. */
int mount_apply(int mount_fd, const struct mount_options *o) _must_check_;

/* Shifts the owners of a detached mount through a user namespace's maps. 0 or -errno. */
int mount_id_map(int mount_fd, int user_ns_fd, bool recursive) _must_check_;

/* The type of the file system that path is on, as the mount table names it: owned, NULL when it
 * cannot be told. */
char *mount_type_of(const char *path);

struct mount_overlay {
    char *const *lower; /* directories, bottom first; NULL-terminated, at least one */
    const char *upper;  /* NULL: read-only */
    const char *work;
    const char *scratch; /* a directory to mount on for a moment where the kernel needs one */
    bool is_volatile;    /* the upper directory is thrown away afterwards: never sync it */
    int user_ns;         /* show the lower directories through its id maps; -EBADF: as they are */
};

/* The overlay of these directories, detached. */
int mount_overlay(const struct mount_overlay *o, int *ret_fd, struct error *err) _must_check_;
