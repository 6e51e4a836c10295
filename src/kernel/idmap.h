/*
 * Ids for a user namespace, mapped by somebody without privileges. One, its own, is all that the
 * kernel lets an ordinary user map by itself; what /etc/subuid and /etc/subgid give it,
 * newuidmap(1) and newgidmap(1) map.
 */
#pragma once

#include "kernel/ns.h"

#define IDMAP_MAX 64 /* ranges that are used of such a file */

/* Writes both maps of a process in a new user namespace. For a group of its own alone that process
 * gives up setgroups(2), as the kernel wants. */
int idmap_write(pid_t pid, const struct ns_id_map *uids, size_t n_uids,
                const struct ns_id_map *gids, size_t n_gids, struct error *err) _must_check_;

/* own as the namespace's root, and from 1 on what the text of a subuid(5) file gives the user (by
 * name, which may be NULL, or by uid), in the file's order. Lines that are none are passed over.
 * Gives how many there are: 1 when the file has nothing for this user. */
size_t idmap_parse(const char *text, const char *name, uid_t uid, uint32_t own,
                   struct ns_id_map maps[static IDMAP_MAX]);
/* The same of a file; one that is not there gives nothing. */
int idmap_read(const char *path, const char *name, uid_t uid, uint32_t own,
               struct ns_id_map maps[static IDMAP_MAX], size_t *ret_n,
               struct error *err) _must_check_;
