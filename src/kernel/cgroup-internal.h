/* The modules of kernel/cgroup.h among themselves. */
#pragma once

#include "kernel/cgroup.h"

/* The root of a hierarchy; -ENOENT when this host has none. Owned. */
int cgroup_open_root(enum cgroup_hierarchy h, bool v2);
/* A directory that is no symlink; owned, -errno. */
int cgroup_open_dir(int dirfd, const char *path);
/* Fills in path and is_v2. */
int cgroup_begin(const char *path, struct cgroup *g, struct error *err) _must_check_;

/* cgroup-members.c: calls visit for a directory of a hierarchy and all below, the lowest first. */
typedef int cgroup_visitor(int parent, const char *name, int fd, void *context);
int cgroup_walk(int parent, const char *name, cgroup_visitor *visit, void *context) _must_check_;
/* The process ids of a directory and all below; *ret is owned. */
int cgroup_list(int dir, pid_t **ret, size_t *ret_n) _must_check_;
/* The unified directory, or any other: they hold the same processes. Borrowed. */
int cgroup_any_dir(const struct cgroup *g);

/* cgroup-freeze.c: waits until cgroup.events of a unified directory has the line. */
int cgroup_wait_event(int dir, const char *line) _must_check_;

/* cgroup-limits.c: writes to the directory that has the file. -EOPNOTSUPP when there is none. A
 * number is not written when it is CGROUP_UNSET; -1 becomes `none`, and is no error where there is
 * no such limit. */
int cgroup_put_text(const struct cgroup *g, enum cgroup_hierarchy h, const char *file,
                    const char *text, struct error *err) _must_check_;
int cgroup_put_number(const struct cgroup *g, enum cgroup_hierarchy h, const char *file,
                      int64_t value, const char *none, struct error *err) _must_check_;

int cgroup_memory_v1(const struct cgroup *g, const struct cgroup_limits *l,
                     struct error *err) _must_check_;
int cgroup_memory_v2(const struct cgroup *g, const struct cgroup_limits *l,
                     struct error *err) _must_check_;
int cgroup_cpu_v1(const struct cgroup *g, const struct cgroup_limits *l,
                  struct error *err) _must_check_;
int cgroup_cpu_v2(const struct cgroup *g, const struct cgroup_limits *l,
                  struct error *err) _must_check_;
int cgroup_block(const struct cgroup *g, const struct cgroup_limits *l,
                 struct error *err) _must_check_;
