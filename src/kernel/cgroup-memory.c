/*
 * Limits of memory. v1 counts memory and swap together (memsw), cgroup2 swap alone.
 */
#include <string.h>

#include "base/fd.h"
#include "kernel/cgroup-internal.h"

/* Without swap accounting there is no such file; nothing is to be done then for "no swap". */
static int put_swap(const struct cgroup *g, const char *file, int64_t value, struct error *err)
{
    struct error why = ERROR_INIT;
    int r = cgroup_put_number(g, CGROUP_MEMORY, file, value, g->is_v2 ? "max" : "-1", &why);
    if (r == -EOPNOTSUPP && g->is_v2 && value == 0)
        return 0;
    if (r < 0 && err)
        *err = why;
    return r;
}

static bool read_bytes(const struct cgroup *g, const char *file, int64_t *ret)
{
    _cleanup_free_ char *text = NULL;
    int dir = g->dirs[g->is_v2 ? CGROUP_UNIFIED : CGROUP_MEMORY];
    if (dir < 0 || file_read_kernel(dir, file, 64, &text) < 0)
        return false;
    *ret = strncmp(text, "max", 3) == 0 ? -1 : strtoll(text, NULL, 10);
    return true;
}

/* A running group that is above its new limit would lose processes at once. */
static int check_usage(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    int64_t used = 0;
    const char *file = g->is_v2 ? "memory.current" : "memory.usage_in_bytes";
    if (!l->memory_check_before_update || l->memory < 0 || !read_bytes(g, file, &used) ||
        used <= l->memory)
        return 0;
    return error_set(err, ERROR_LIMIT, ENOMEM,
                     "%lld bytes of memory are in use: more than the new limit", (long long)used);
}

/* The sum must never be below the memory limit: which of them is set first depends on what was
 * there. */
static int limit_v1(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    struct error first = ERROR_INIT;
    int64_t swap = l->memory_swap;
    if (l->memory == -1 && swap == CGROUP_UNSET)
        swap = -1;
    int r = cgroup_put_number(g, CGROUP_MEMORY, "memory.limit_in_bytes", l->memory, "-1", &first);
    if (r < 0 && (r != -EINVAL || swap == CGROUP_UNSET)) {
        if (err)
            *err = first;
        return r;
    }
    int s = put_swap(g, "memory.memsw.limit_in_bytes", swap, err);
    if (s < 0 || r == 0)
        return s;
    return cgroup_put_number(g, CGROUP_MEMORY, "memory.limit_in_bytes", l->memory, "-1", err);
}

int cgroup_memory_v1(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    const struct {
        const char *file;
        int64_t value;
        const char *none;
    } rest[] = {
        {"memory.soft_limit_in_bytes", l->memory_reservation, "-1"},
        {"memory.kmem.tcp.limit_in_bytes", l->memory_kernel_tcp, "-1"},
        {"memory.swappiness", l->memory_swappiness, "60"},
        {"memory.oom_control", l->memory_disable_oom_killer ? 1 : CGROUP_UNSET, "0"},
    };
    int r = check_usage(g, l, err);
    if (r == 0)
        r = limit_v1(g, l, err);
    for (size_t i = 0; i < ARRAY_SIZE(rest) && r == 0; i++)
        r = cgroup_put_number(g, CGROUP_MEMORY, rest[i].file, rest[i].value, rest[i].none, err);
    return r;
}

int cgroup_swap_v2(int64_t memory, int64_t memory_swap, int64_t *ret, struct error *err)
{
    *ret = memory_swap;
    if (memory_swap == CGROUP_UNSET && memory == -1)
        *ret = -1;
    if (memory_swap < 0)
        return 0;
    if (memory < 0)
        return error_invalid(err, "a limit of memory and swap together needs one of memory");
    if (memory_swap < memory)
        return error_invalid(err, "memory and swap together are less than memory");
    *ret = memory_swap - memory;
    return 0;
}

static int refuse_v2(const struct cgroup_limits *l, struct error *err)
{
    const struct {
        bool asked;
        const char *what;
    } rows[] = {
        {l->memory_disable_oom_killer, "cannot switch the killer of processes off"},
        {l->memory_swappiness >= 0, "has no swappiness"},
        {l->memory_kernel_tcp >= 0, "has no limit for the memory of TCP"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].asked)
            return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "cgroup v2 %s", rows[i].what);
    return 0;
}

int cgroup_memory_v2(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    int64_t memory = l->memory, swap;
    /* An update may name only the sum. */
    if (memory == CGROUP_UNSET && l->memory_swap >= 0)
        read_bytes(g, "memory.max", &memory);
    int r = refuse_v2(l, err);
    if (r < 0 || (r = cgroup_swap_v2(memory, l->memory_swap, &swap, err)) < 0 ||
        (r = check_usage(g, l, err)) < 0 ||
        (r = cgroup_put_number(g, CGROUP_MEMORY, "memory.max", l->memory, "max", err)) < 0 ||
        (r = put_swap(g, "memory.swap.max", swap, err)) < 0)
        return r;
    return cgroup_put_number(g, CGROUP_MEMORY, "memory.low", l->memory_reservation, "0", err);
}
