/*
 * What an instance uses. Where its hierarchy has no controller for something (hybrid hosts, no
 * limit asked for), the numbers are added up from its processes: proportional memory, bytes read
 * and written.
 */
#include <fcntl.h>
#include <string.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/cgroup.h"

#define MAX_FILE ((size_t)1 << 20)

/* A file with one number; "max" gives 0. */
static bool read_number(int dir, const char *file, uint64_t *ret)
{
    _cleanup_free_ char *text = NULL;
    if (dir < 0 || file_read_kernel(dir, file, MAX_FILE, &text) < 0)
        return false;
    text[strcspn(text, "\n")] = '\0';
    if (parse_u64(text, UINT64_MAX, ret) < 0)
        *ret = 0;
    return true;
}

/* The number after "key " or "key:" at the start of a line. */
static uint64_t line_value(const char *text, const char *key)
{
    size_t len = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, key, len) == 0)
            return strtoull(line + len, NULL, 10);
    return 0;
}

static uint64_t file_value(int dir, const char *file, const char *key)
{
    _cleanup_free_ char *text = NULL;
    if (dir == -EBADF || file_read_kernel(dir, file, MAX_FILE, &text) < 0)
        return 0;
    return line_value(text, key);
}

static uint64_t process_value(pid_t pid, const char *file, const char *key)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    return file_value(AT_FDCWD, path, key);
}

static uint64_t without_cache(uint64_t used, uint64_t cache)
{
    return used > cache ? used - cache : 0;
}

static bool memory(const struct cgroup *g, struct cgroup_stats *s)
{
    if (g->is_v2) {
        int dir = g->dirs[CGROUP_UNIFIED];
        if (!read_number(dir, "memory.current", &s->memory_bytes))
            return false;
        read_number(dir, "memory.max", &s->memory_limit);
        s->memory_bytes =
            without_cache(s->memory_bytes, file_value(dir, "memory.stat", "inactive_file "));
        return true;
    }
    int dir = g->dirs[CGROUP_MEMORY];
    if (!read_number(dir, "memory.usage_in_bytes", &s->memory_bytes))
        return false;
    read_number(dir, "memory.limit_in_bytes", &s->memory_limit);
    if (s->memory_limit >= (uint64_t)INT64_MAX / 2)
        s->memory_limit = 0;
    s->memory_bytes =
        without_cache(s->memory_bytes, file_value(dir, "memory.stat", "total_inactive_file "));
    return true;
}

/* Sums the numbers of every "... KEY N" line (blkio) or " key=N" word (io.stat). */
static uint64_t sum_of(const char *text, const char *key)
{
    uint64_t sum = 0;
    for (const char *at = strstr(text, key); at; at = strstr(at + 1, key))
        sum += strtoull(at + strlen(key), NULL, 10);
    return sum;
}

static bool block(const struct cgroup *g, struct cgroup_stats *s)
{
    _cleanup_free_ char *text = NULL;
    int dir = g->dirs[g->is_v2 ? CGROUP_UNIFIED : CGROUP_BLKIO];
    const char *file = g->is_v2 ? "io.stat" : "blkio.throttle.io_service_bytes";
    if (dir < 0 || file_read_kernel(dir, file, MAX_FILE, &text) < 0)
        return false;
    s->block_read_bytes = sum_of(text, g->is_v2 ? " rbytes=" : " Read ");
    s->block_write_bytes = sum_of(text, g->is_v2 ? " wbytes=" : " Write ");
    return true;
}

static void cpu(const struct cgroup *g, struct cgroup_stats *s)
{
    s->cpu_ns = file_value(g->dirs[CGROUP_UNIFIED], "cpu.stat", "usage_usec ") * 1000;
}

int cgroup_stats(const struct cgroup *g, struct cgroup_stats *ret, struct error *err)
{
    struct cgroup_stats s = {0};
    _cleanup_free_ pid_t *pids = NULL;
    size_t n = 0;
    bool has_memory = memory(g, &s), has_block = block(g, &s);
    int pids_dir = g->dirs[g->is_v2 ? CGROUP_UNIFIED : CGROUP_PIDS];
    bool has_pids = read_number(pids_dir, "pids.current", &s.pids);
    read_number(pids_dir, "pids.max", &s.pids_limit);
    cpu(g, &s);
    if (!has_memory || !has_block || !has_pids || g->dirs[CGROUP_UNIFIED] < 0) {
        int r = cgroup_processes(g, &pids, &n, err);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < n; i++) {
        if (!has_pids)
            s.pids += process_value(pids[i], "status", "Threads:");
        if (!has_memory)
            s.memory_bytes += process_value(pids[i], "smaps_rollup", "Pss:") * 1024;
        if (!has_block) {
            s.block_read_bytes += process_value(pids[i], "io", "read_bytes:");
            s.block_write_bytes += process_value(pids[i], "io", "write_bytes:");
        }
    }
    *ret = s;
    return 0;
}
