/*
 * The limits of the workload's control group, which can change while it runs. The memory of a
 * machine is its size, and its disks are its own: what is left is the share of its processors, and
 * the number of processes. Only when a part of the memory is to go back to the host, that of the
 * workload has a limit of its own, which leaves the kernel what it has in use. What the workload
 * has in use must fit before there is a limit: one below that would end processes at once.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"
#include "guest/guest.h"
#include "kernel/cgroup.h"

/* For what the kernel will need more, and the least that a limit may be. */
#define RESERVE ((int64_t)8 << 20)
#define LEAST   ((int64_t)8 << 20)

/* What stands there: a template has the usual ones applied. */
static struct cgroup_limits applied;
static bool has_applied;

static bool same(const struct cgroup_limits *a, const struct cgroup_limits *b)
{
    return a->cpu_shares == b->cpu_shares && a->cpu_quota == b->cpu_quota &&
           a->cpu_period == b->cpu_period && a->pids == b->pids;
}

int guest_limits_apply(const struct oci_resources *r, struct error *err)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    struct cgroup_limits limits;
    cgroup_limits_init(&limits);
    limits.cpu_shares = r->cpu_shares;
    limits.cpu_quota = r->cpu_quota;
    limits.cpu_period = r->cpu_period;
    limits.pids = r->pids_limit;
    if (has_applied && same(&limits, &applied))
        return 0;
    int bad = cgroup_open(GUEST_CGROUP_NAME, &g, err);
    if (bad == 0)
        bad = cgroup_apply(&g, &limits, err);
    has_applied = bad == 0;
    applied = limits;
    return bad;
}

int guest_limits_begin(const struct oci_resources *r, struct error *err)
{
    struct oci_resources all = *r;
    if (has_applied && all.pids_limit == OCI_UNSET)
        all.pids_limit = -1;
    return guest_limits_apply(&all, err);
}

/* --- memory --- */

/* The number behind a key at the beginning of a line; "": the first one. */
static int64_t read_number(const char *path, const char *key)
{
    _cleanup_free_ char *text = NULL;
    if (file_read_kernel(AT_FDCWD, path, (size_t)64 << 10, &text) < 0)
        return 0;
    return (int64_t)text_number_after(text, key);
}

static int64_t in_use(void)
{
    return read_number(GUEST_CGROUP "/memory.current", "");
}

/* What is not the workload's and cannot go: of the kernel, of the agent. */
static int64_t in_use_by_others(void)
{
    int64_t total = read_number("/proc/meminfo", "MemTotal:") << 10;
    int64_t available = read_number("/proc/meminfo", "MemAvailable:") << 10;
    int64_t workload = read_number(GUEST_CGROUP "/memory.stat", "anon ") +
                       read_number(GUEST_CGROUP "/memory.stat", "shmem ");
    return total - available - workload;
}

/* Files of which the disk has the same go, at the second try those that had to be written, too. */
static void give_up_cache(int64_t limit)
{
    for (int i = 0; i < 2; i++) {
        char text[32];
        int64_t over = in_use() - limit;
        if (over <= 0)
            return;
        if (i > 0)
            sync();
        snprintf(text, sizeof(text), "%lld", (long long)over);
        (void)!file_write_kernel(AT_FDCWD, GUEST_CGROUP "/memory.reclaim", text);
    }
}

static int find_limit(int64_t total, int64_t *ret, struct error *err)
{
    int64_t limit = total - in_use_by_others() - RESERVE - total / 32;
    if (limit < LEAST)
        return error_set(err, ERROR_LIMIT, ENOMEM,
                         "the machine's own kernel needs so much that its workload would have "
                         "nothing: nothing is changed");
    give_up_cache(limit);
    int64_t used = in_use();
    if (used > limit)
        return error_set(err, ERROR_LIMIT, ENOMEM,
                         "the workload uses %lld MiB, and would have %lld: nothing is changed",
                         (long long)(used >> 20), (long long)(limit >> 20));
    *ret = limit;
    return 0;
}

int guest_limits_memory(int64_t total, struct error *err)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    struct cgroup_limits limits;
    cgroup_limits_init(&limits);
    limits.memory = -1;
    int r = total < 0 ? 0 : find_limit(total, &limits.memory, err);
    if (r == 0)
        r = cgroup_open(GUEST_CGROUP_NAME, &g, err);
    return r < 0 ? r : cgroup_apply(&g, &limits, err);
}
