/* Which device nodes the processes of a control group may open or make. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* A later rule wins over an earlier one, for each kind of access by itself. What no rule names is
 * denied. */
struct device_rule {
    bool allow;
    char type;            /* 'a', 'b' or 'c' */
    int64_t major, minor; /* -1: any */
    bool read, write, mknod;
};

/* Attaches the rules as a BPF program to a cgroup2 directory (works without any controller). 0 or
 * -errno. The program lives as long as the group. */
int device_filter_attach(int cgroup_fd, const struct device_rule *rules, size_t n) _must_check_;

/* Writes the rules to a directory of the v1 "devices" hierarchy. 0 or -errno. */
int device_filter_write_v1(int cgroup_fd, const struct device_rule *rules, size_t n) _must_check_;

/* True when the last word is "everything is allowed": nothing needs to be attached. */
bool device_filter_is_open(const struct device_rule *rules, size_t n);
