/* The modules of kernel/cgroup.h among themselves. */
#pragma once

#include "kernel/cgroup.h"

bool cgroup_is_v2_host(void);
/* The root of a hierarchy; -ENOENT when this host has none. Owned. */
int cgroup_open_root(enum cgroup_hierarchy h, bool v2);
/* A directory that is no symlink; owned, -errno. */
int cgroup_open_dir(int dirfd, const char *path);
/* Fills in path and is_v2. */
int cgroup_begin(const char *path, struct cgroup *g, struct error *err) _must_check_;
/* False for whoever is root of a user namespace only: it can make and open no device (limits). */
bool cgroup_in_first_user_namespace(void);
