/*
 * Who "user[:group]" is, by the passwd and group files of a root that somebody else made.
 *
 * A part made of digits only is a number and is never looked up as a name; every other part is a
 * name and must be found. A number is exactly that id (at most 4294967294) or an error. The files
 * are opened inside the root only, must be regular files, and are read up to a bound.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define PASSWD_MAX_BYTES  ((size_t)4 << 20)
#define PASSWD_MAX_GROUPS 4096

struct passwd_user {
    uint32_t uid, gid;
    uint32_t *groups; /* supplementary, without gid; owned */
    size_t n_groups;
    char *home; /* NULL when no entry says so; owned */
};

void passwd_user_done(struct passwd_user *u);

/* spec is "user", "uid", "user:group", ... The group defaults to the user's own, or 0 when a number
 * has no entry. Supplementary groups are those that list the user's name, unless spec names a
 * group. ERROR_NOT_FOUND for an unknown name. */
int passwd_lookup(int rootfd, const char *spec, struct passwd_user *ret,
                  struct error *err) _must_check_;

/* The same on the bytes of the two files (NULL: no such file). */
int passwd_lookup_text(const char *passwd, const char *group, const char *spec,
                       struct passwd_user *ret, struct error *err) _must_check_;

/* Adds groups, names or numbers, to the supplementary ones. u is the caller's to release in any
 * case. */
int passwd_add_groups(int rootfd, char *const *groups, struct passwd_user *u,
                      struct error *err) _must_check_;

/* The home directory of uid, owned; NULL when there is none. */
char *passwd_home(int rootfd, uint32_t uid);
