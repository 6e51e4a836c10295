/*
 * Control groups that systemd makes: a transient scope per container, asked for over D-Bus by the
 * program proa-scope, so that nothing that starts containers is linked with a D-Bus library.
 *
 * The scope is started around a process of the caller's that makes the container's first one and
 * goes; scope_start comes back when the group is there and the process in it. From then on it is a
 * control group like any other (kernel/cgroup.h): cgroup_create applies what systemd has no word
 * for. What systemd does have a word for it must be told as well (scope_properties), at each
 * update, because it writes its own values again whenever it reloads. The scope ends with its last
 * process.
 */
#pragma once

#include <sys/types.h>

#include "kernel/cgroup.h"

struct scope_name {
    char *slice; /* "machine.slice" */
    char *unit;  /* "libpod-ID.scope" */
};
void scope_name_done(struct scope_name *n);

/* linux.cgroupsPath as SLICE:PREFIX:NAME. NULL or "": "proa-ID.scope" in the default slice, which
 * an empty SLICE means, too: system.slice, or user.slice of a user's manager. */
int scope_name_parse(const char *path, const char *id, bool user, struct scope_name *ret,
                     struct error *err) _must_check_;

/* "a-b.slice" is in a.slice: "/a.slice/a-b.slice"; "" for "-.slice". Owned. */
int scope_slice_path(const char *slice, char **ret, struct error *err) _must_check_;

/* Where the system's manager makes it; a user's has its own place above that. Owned. */
char *scope_group(const struct scope_name *n);

/* Properties are "NAME=SIGNATURE VALUE", in a vector: what proa-scope takes. */
void scope_properties(const struct cgroup_limits *l, char ***properties);
/* One of the annotations org.systemd.property.NAME, whose value is written as GVariant text has it:
 * true, 'text', uint64 5, 5, ['a', 'b']; NAMESec becomes NAMEUSec. Others are left alone. */
int scope_annotation(const char *key, const char *value, char ***properties,
                     struct error *err) _must_check_;

/* ERROR_UNSUPPORTED when there is no systemd, or control groups are not v2: elsewhere systemd opens
 * the devices of a scope again whenever it reloads. */
int scope_check_host(struct error *err) _must_check_;

/* True when it is not the system's manager that answers to this process. */
bool scope_is_user(void);

/* *ret_group: the control group's path, with a leading slash; owned. */
int scope_start(const struct scope_name *n, pid_t pid, const char *description,
                char *const *properties, char **ret_group, struct error *err) _must_check_;
int scope_set(const char *unit, char *const *properties, struct error *err) _must_check_;
/* Moves a process into it, where writing to the group itself is not allowed. */
int scope_attach(const char *unit, pid_t pid, struct error *err) _must_check_;
/* Ends what is in it. Not an error when there is no such unit. */
int scope_stop(const char *unit, struct error *err) _must_check_;
