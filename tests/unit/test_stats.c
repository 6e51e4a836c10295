/*
 * `events` in the form that runc's callers read (its types/events.go), from control groups that are
 * ordinary directories here.
 */
#include "check.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "runtime/oci/stats.h"

struct file {
    enum cgroup_hierarchy hierarchy;
    const char *name, *text;
};

#define V1(h, name, text)                                                                          \
    {                                                                                              \
        CGROUP_##h, name, text                                                                     \
    }
static const struct file v1[] = {
    V1(CPU, "cpu.stat", "nr_periods 9\nnr_throttled 2\nthrottled_time 700\n"),
    V1(CPUACCT, "cpuacct.usage", "1000\n"),
    V1(CPUACCT, "cpuacct.stat", "user 3\nsystem 4\n"),
    V1(CPUACCT, "cpuacct.usage_percpu", "600 400 \n"),
    V1(CPUACCT, "cpuacct.usage_percpu_sys", "200 100 \n"),
    V1(CPUACCT, "cpuacct.usage_percpu_user", "400 300 \n"),
    V1(MEMORY, "memory.usage_in_bytes", "50\n"),
    V1(MEMORY, "memory.memsw.usage_in_bytes", "60\n"),
    V1(MEMORY, "memory.memsw.limit_in_bytes", "9223372036854771712\n"),
    V1(MEMORY, "memory.memsw.failcnt", "5\n"),
    V1(MEMORY, "memory.stat", "cache 11\nrss 12\n"),
    V1(CPUSET, "cpuset.cpus", "0-2,5\n"),
    V1(CPUSET, "cpuset.mems", "0\n"),
    V1(CPUSET, "cpuset.sched_relax_domain_level", "-1\n"),
    V1(PIDS, "pids.current", "7\n"),
    V1(PIDS, "pids.max", "max\n"),
    V1(BLKIO, "blkio.bfq.io_service_bytes_recursive", "Total 0\n"),
    V1(BLKIO, "blkio.throttle.io_service_bytes_recursive",
       "8:0 Read 4096\n8:0 Write 512\n8:0 Total 4608\nTotal 4608\n"),
    V1(BLKIO, "blkio.bfq.io_serviced_recursive", "8:16 Read 3\nTotal 3\n"),
    V1(BLKIO, "blkio.throttle.io_serviced_recursive", "8:16 Read 99\nTotal 99\n"),
    V1(BLKIO, "blkio.sectors_recursive", "8:0 77\n"),
    V1(UNIFIED, "cpu.pressure", "some avg10=1.50 avg60=0.00 avg300=0.25 total=42\n"),
};

#define V2(name, text) V1(UNIFIED, name, text)
static const struct file v2[] = {
    V2("cpu.stat", "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 1\n"),
    V2("cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"
                       "full avg10=0.00 avg60=2.00 avg300=0.00 total=9\n"),
    V2("memory.current", "100\n"),
    V2("memory.peak", "200\n"),
    V2("memory.max", "1000\n"),
    V2("memory.swap.current", "20\n"),
    V2("memory.swap.max", "500\n"),
    V2("memory.stat", "file 30\nkernel 40\n"),
    V2("memory.events", "low 0\nmax 6\noom 2\noom_kill 1\n"),
    V2("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n252:0 \n"),
    V2("pids.current", "7\n"),
    V2("pids.max", "33\n"),
    V2("cpuset.cpus.effective", "0-1\n"),
};

static char directory[] = "/tmp/proa-stats.XXXXXX";

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return path_remove_tree(AT_FDCWD, directory);
}

static json_t *stats_of(bool is_v2, const struct file *files, size_t n)
{
    struct cgroup g = CGROUP_INIT;
    g.is_v2 = is_v2;
    for (size_t i = 0; i < n; i++) {
        enum cgroup_hierarchy h = files[i].hierarchy;
        _cleanup_free_ char *dir = xasprintf("%s/%d-%d", directory, is_v2, (int)h);
        if (g.dirs[h] < 0) {
            assert_int_equal(mkdir(dir, 0700), 0);
            g.dirs[h] = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
        assert_int_equal(
            file_write_atomic(g.dirs[h], files[i].name, files[i].text, strlen(files[i].text), 0600),
            0);
    }
    json_t *o = oci_stats(&g);
    cgroup_done(&g);
    assert_non_null(o);
    return o;
}

/* The value at "a.b.0.c". */
static const json_t *at(const json_t *o, const char *path)
{
    char key[32];
    while (o && *path) {
        size_t len = strcspn(path, ".");
        snprintf(key, sizeof(key), "%.*s", (int)len, path);
        o = json_is_array(o) ? json_array_get(o, strtoul(key, NULL, 10)) : json_object_get(o, key);
        path += len + (path[len] == '.');
    }
    return o;
}

static void is_number(const json_t *o, const char *path, json_int_t expected)
{
    const json_t *value = at(o, path);
    if (!json_is_integer(value) || json_integer_value(value) != expected)
        fail_msg("%s is %lld, not %lld", path, (long long)json_integer_value(value),
                 (long long)expected);
}

static void is_text(const json_t *o, const char *path, const char *expected)
{
    assert_non_null(json_string_value(at(o, path)));
    assert_string_equal(json_string_value(at(o, path)), expected);
}

static void test_v1(void **state)
{
    const struct {
        const char *path;
        json_int_t value;
    } expected[] = {
        {"cpu.usage.total", 1000},
        {"cpu.usage.percpu.1", 400},
        {"cpu.usage.percpu_kernel.0", 200},
        {"cpu.usage.percpu_user.1", 300},
        {"cpu.usage.user", 3 * (1000000000 / sysconf(_SC_CLK_TCK))},
        {"cpu.throttling.throttledPeriods", 2},
        {"cpu.throttling.throttledTime", 700},
        {"cpu.psi.some.total", 42},
        {"cpuset.cpus.3", 5},
        {"cpuset.mems.0", 0},
        {"cpuset.sched_relax_domain_level", -1},
        {"memory.cache", 11},
        {"memory.usage.usage", 50},
        {"memory.swap.usage", 60},
        {"memory.swap.limit", 9223372036854771712},
        {"memory.swap.failcnt", 5},
        {"memory.raw.rss", 12},
        {"pids.current", 7},
        {"pids.limit", 0},
        {"blkio.ioServiceBytesRecursive.0.value", 4096},
        {"blkio.ioServiceBytesRecursive.2.value", 4608},
        {"blkio.ioServicedRecursive.0.value", 3},
        {"blkio.ioServicedRecursive.0.minor", 16},
        {"blkio.sectorsRecursive.0.value", 77},
    };
    (void)state;
    _cleanup_json_ json_t *o = stats_of(false, v1, ARRAY_SIZE(v1));
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
        is_number(o, expected[i].path, expected[i].value);
    is_text(o, "blkio.ioServiceBytesRecursive.1.op", "Write");
    assert_int_equal(json_array_size(at(o, "blkio.ioServiceBytesRecursive")), 3);
    assert_int_equal(json_array_size(at(o, "blkio.ioMergedRecursive")), 0);
    assert_null(at(o, "blkio.sectorsRecursive.0.op"));
    assert_true(json_real_value(at(o, "cpu.psi.some.avg10")) == 1.5);
    assert_null(at(o, "memory.psi"));
    assert_true(json_is_object(at(o, "hugetlb")) && json_is_object(at(o, "intel_rdt")));
}

static void test_v2(void **state)
{
    static const struct {
        const char *path;
        json_int_t value;
    } expected[] = {
        {"cpu.usage.total", 5000},
        {"cpu.usage.kernel", 2000},
        {"cpu.throttling.periods", 1},
        {"cpu.psi.full.total", 9},
        {"cpuset.cpus.1", 1},
        {"memory.cache", 30},
        {"memory.usage.limit", 1000},
        {"memory.usage.failcnt", 6},
        {"memory.swap.usage", 120},
        {"memory.swap.limit", 1500},
        {"memory.kernel.usage", 40},
        {"memory.event_count.oom_kill", 1},
        {"pids.limit", 33},
        {"blkio.ioServiceBytesRecursive.1.value", 2},
        {"blkio.ioServicedRecursive.0.value", 3},
        {"blkio.ioServicedRecursive.2.value", 6},
    };
    (void)state;
    _cleanup_json_ json_t *o = stats_of(true, v2, ARRAY_SIZE(v2));
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
        is_number(o, expected[i].path, expected[i].value);
    is_text(o, "blkio.ioServicedRecursive.2.op", "Discard");
    assert_int_equal(json_array_size(at(o, "blkio.ioServicedRecursive")), 3);
    assert_null(at(o, "cpu.usage.percpu"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_v1), cmocka_unit_test(test_v2)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
