/* What `events` tells device by device, and how long processes waited. */
#include <dirent.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "runtime/oci/stats-internal.h"

/* A list of runc's "blkio", the v1 file that has it for the scheduler or, without one that counts,
 * for the throttle, and the keys of io.stat. */
static const struct {
    const char *list, *file;
    const char *read, *written, *discarded;
} block_lists[] = {
    {"ioServiceBytesRecursive", "io_service_bytes_recursive", "rbytes", "wbytes", "dbytes"},
    {"ioServicedRecursive", "io_serviced_recursive", "rios", "wios", "dios"},
    {"ioQueueRecursive", "io_queued_recursive", NULL, NULL, NULL},
    {"ioServiceTimeRecursive", "io_service_time_recursive", NULL, NULL, NULL},
    {"ioWaitTimeRecursive", "io_wait_time_recursive", NULL, NULL, NULL},
    {"ioMergedRecursive", "io_merged_recursive", NULL, NULL, NULL},
    {"ioTimeRecursive", "time_recursive", NULL, NULL, NULL},
    {"sectorsRecursive", "sectors_recursive", NULL, NULL, NULL},
};

static void add_block(json_t *list, const char *device, const char *op, const char *value)
{
    unsigned int major, minor;
    uint64_t number;
    if (!value || sscanf(device, "%u:%u", &major, &minor) != 2 ||
        parse_u64(value, INT64_MAX, &number) < 0)
        return;
    json_t *o = json_pack("{s:I,s:I,s:I}", "major", (json_int_t)major, "minor", (json_int_t)minor,
                          "value", (json_int_t)number);
    if (op)
        json_object_set_new(o, "op", json_string(op));
    json_array_append_new(list, o);
}

/* "8:0 Read 4096", or "8:0 4096". The sum over all devices has none before it. */
static json_t *block_v1_file(const struct cgroup *g, const char *prefix, const char *name)
{
    _cleanup_free_ char *file = xasprintf("blkio.%s%s", prefix, name);
    _cleanup_free_ char *text = stats_text(g, CGROUP_BLKIO, file);
    _cleanup_strv_ char **lines = strv_split(text ? text : "", '\n');
    json_t *list = json_array();
    for (size_t i = 0; lines[i]; i++) {
        _cleanup_strv_ char **words = strv_split(lines[i], ' ');
        size_t n = strv_len(words);
        if (n == 2 || n == 3)
            add_block(list, words[0], n == 3 ? words[1] : NULL, words[n - 1]);
    }
    return list;
}

static json_t *block_v1(const struct cgroup *g, size_t which)
{
    static const char *const prefixes[] = {"bfq.", "", "throttle."};
    json_t *list = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(prefixes) && json_array_size(list) == 0; i++) {
        json_decref(list);
        list = block_v1_file(g, prefixes[i], block_lists[which].file);
    }
    return list;
}

/* The value of "key=value" among words. */
static const char *word_value(char *const *words, const char *key)
{
    size_t len = strlen(key);
    for (size_t i = 0; words[i]; i++)
        if (strncmp(words[i], key, len) == 0 && words[i][len] == '=')
            return words[i] + len + 1;
    return NULL;
}

/* "8:0 rbytes=4096 wbytes=0 rios=1 …". */
static json_t *block_v2(const struct cgroup *g, size_t which)
{
    _cleanup_free_ char *text = stats_text(g, CGROUP_BLKIO, "io.stat");
    _cleanup_strv_ char **lines = strv_split(text ? text : "", '\n');
    json_t *list = json_array();
    for (size_t i = 0; lines[i] && block_lists[which].read; i++) {
        _cleanup_strv_ char **words = strv_split(lines[i], ' ');
        add_block(list, lines[i], "Read", word_value(words, block_lists[which].read));
        add_block(list, lines[i], "Write", word_value(words, block_lists[which].written));
        add_block(list, lines[i], "Discard", word_value(words, block_lists[which].discarded));
    }
    return list;
}

json_t *stats_block(const struct cgroup *g)
{
    json_t *o = json_object(), *psi = stats_pressure(g, "io.pressure");
    for (size_t i = 0; i < ARRAY_SIZE(block_lists); i++)
        json_object_set_new(o, block_lists[i].list, g->is_v2 ? block_v2(g, i) : block_v1(g, i));
    if (psi)
        json_object_set_new(o, "psi", psi);
    return o;
}

/* The kernel's name in files of a control group for pages of that size: 2MB, 1GB, 64KB. */
static char *page_name(unsigned long kib)
{
    static const char *const units[] = {"KB", "MB", "GB"};
    size_t unit = 0;
    for (; kib >= 1024 && unit + 1 < ARRAY_SIZE(units); kib /= 1024)
        unit++;
    return xasprintf("%lu%s", kib, units[unit]);
}

static json_int_t page_number(const struct cgroup *g, const char *page, const char *file)
{
    _cleanup_free_ char *path = xasprintf("hugetlb.%s.%s", page, file);
    return stats_number(g, CGROUP_HUGETLB, path);
}

static json_t *pages(const struct cgroup *g, const char *page)
{
    if (!g->is_v2)
        return json_pack("{s:I,s:I,s:I}", "usage", page_number(g, page, "usage_in_bytes"), "max",
                         page_number(g, page, "max_usage_in_bytes"), "failcnt",
                         page_number(g, page, "failcnt"));
    _cleanup_free_ char *file = xasprintf("hugetlb.%s.events", page);
    _cleanup_json_ json_t *events = stats_table(g, CGROUP_HUGETLB, file);
    return json_pack("{s:I,s:I}", "usage", page_number(g, page, "current"), "failcnt",
                     stats_entry(events, "max"));
}

json_t *stats_hugetlb(const struct cgroup *g)
{
    DIR *dir = g->dirs[g->is_v2 ? CGROUP_UNIFIED : CGROUP_HUGETLB] < 0
                   ? NULL
                   : opendir("/sys/kernel/mm/hugepages");
    json_t *all = json_object();
    for (struct dirent *e; dir && (e = readdir(dir));) {
        unsigned long kib;
        if (sscanf(e->d_name, "hugepages-%lukB", &kib) != 1)
            continue;
        _cleanup_free_ char *name = page_name(kib);
        json_object_set_new(all, name, pages(g, name));
    }
    if (dir)
        closedir(dir);
    return all;
}

/* "0-2,5" as the numbers that it stands for. */
static json_t *numbers(const char *list)
{
    _cleanup_strv_ char **ranges = strv_split(list ? list : "", ',');
    json_t *all = json_array();
    for (size_t i = 0; ranges[i]; i++) {
        unsigned int from, to;
        int n = sscanf(ranges[i], "%u-%u", &from, &to);
        for (unsigned int v = from; n > 0 && v <= (n == 2 ? to : from) && v <= UINT16_MAX; v++)
            json_array_append_new(all, json_integer(v));
    }
    return all;
}

json_t *stats_cpuset(const struct cgroup *g)
{
    static const struct {
        const char *member, *file;
    } flags[] = {
        {"cpu_exclusive", "cpuset.cpu_exclusive"},
        {"mem_hardwall", "cpuset.mem_hardwall"},
        {"mem_exclusive", "cpuset.mem_exclusive"},
        {"memory_migrate", "cpuset.memory_migrate"},
        {"memory_spread_page", "cpuset.memory_spread_page"},
        {"memory_spread_slab", "cpuset.memory_spread_slab"},
        {"memory_pressure", "cpuset.memory_pressure"},
        {"sched_load_balance", "cpuset.sched_load_balance"},
        {"sched_relax_domain_level", "cpuset.sched_relax_domain_level"},
    };
    const char *cpus = g->is_v2 ? "cpuset.cpus.effective" : "cpuset.cpus";
    const char *mems = g->is_v2 ? "cpuset.mems.effective" : "cpuset.mems";
    _cleanup_free_ char *cpu_list = stats_text(g, CGROUP_CPUSET, cpus);
    _cleanup_free_ char *mem_list = stats_text(g, CGROUP_CPUSET, mems);
    json_t *o = json_pack("{s:o,s:o}", "cpus", numbers(cpu_list), "mems", numbers(mem_list));
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
        json_object_set_new(o, flags[i].member,
                            json_integer(stats_number(g, CGROUP_CPUSET, flags[i].file)));
    return o;
}

/* cgroup2 only, also where it has no controllers. */
json_t *stats_pressure(const struct cgroup *g, const char *file)
{
    struct cgroup unified = {.is_v2 = true, .dirs = {[CGROUP_UNIFIED] = g->dirs[CGROUP_UNIFIED]}};
    _cleanup_free_ char *text = stats_text(&unified, CGROUP_UNIFIED, file);
    _cleanup_strv_ char **lines = strv_split(text ? text : "", '\n');
    json_t *o = NULL;
    for (size_t i = 0; lines[i]; i++) {
        char kind[8];
        double avg10, avg60, avg300;
        unsigned long long total;
        if (sscanf(lines[i], "%7s avg10=%lf avg60=%lf avg300=%lf total=%llu", kind, &avg10, &avg60,
                   &avg300, &total) != 5)
            continue;
        o = o ? o : json_object();
        json_object_set_new(o, kind,
                            json_pack("{s:f,s:f,s:f,s:I}", "avg10", avg10, "avg60", avg60, "avg300",
                                      avg300, "total", (json_int_t)total));
    }
    return o;
}
