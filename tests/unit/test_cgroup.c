#include "check.h"

#include <string.h>

#include "base/strv.h"
#include "kernel/cgroup.h"
#include "kernel/scope/scope.h"

static void test_weights(void **state)
{
    (void)state;
    static const struct {
        int64_t shares, weight;
    } rows[] = {{0, 1}, {2, 1}, {1024, 39}, {2048, 79}, {262144, 10000}, {1 << 30, 10000}};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(cgroup_cpu_weight(rows[i].shares), rows[i].weight);
    assert_int_equal(cgroup_io_weight(10), 1);
    assert_int_equal(cgroup_io_weight(500), 4950);
    assert_int_equal(cgroup_io_weight(1000), 10000);
}

static void test_swap(void **state)
{
    (void)state;
    static const struct {
        int64_t memory, both, swap;
        int r;
    } rows[] = {
        {100, 300, 200, 0},
        {100, 100, 0, 0},
        {100, -1, -1, 0},
        {100, CGROUP_UNSET, CGROUP_UNSET, 0},
        {CGROUP_UNSET, CGROUP_UNSET, CGROUP_UNSET, 0},
        {-1, CGROUP_UNSET, -1, 0},
        {-1, -1, -1, 0},
        {CGROUP_UNSET, 100, 0, -EINVAL},
        {-1, 100, 0, -EINVAL},
        {100, 99, 0, -EINVAL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int64_t swap = 0;
        assert_int_equal(cgroup_swap_v2(rows[i].memory, rows[i].both, &swap, NULL), rows[i].r);
        if (rows[i].r == 0)
            assert_int_equal(swap, rows[i].swap);
    }
}

static void test_paths(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "/a/b", "machine.slice/x.scope", "/a/b:c"};
    static const char *const bad[] = {"", "/", "a//b", "../a", "a/..", "a/./b", "a\nb", "/a/"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_int_equal(cgroup_path_check(good[i], NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(cgroup_path_check(bad[i], NULL), -EINVAL);
}

static void test_slices(void **state)
{
    (void)state;
    static const struct {
        const char *slice, *path; /* NULL: refused */
    } rows[] = {
        {"machine.slice", "/machine.slice"},
        {"a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"},
        {"user-1000.slice", "/user.slice/user-1000.slice"},
        {"-.slice", ""},
        {"machine", NULL},
        {".slice", NULL},
        {"", NULL},
        {"-a.slice", NULL},
        {"a--b.slice", NULL},
        {"a-.slice", NULL},
        {"a/b.slice", NULL},
        {"a b.slice", NULL},
        {"../x.slice", NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *path = NULL;
        assert_int_equal(scope_slice_path(rows[i].slice, &path, NULL), rows[i].path ? 0 : -EINVAL);
        if (rows[i].path)
            assert_string_equal(path, rows[i].path);
    }
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool user;
        const char *slice, *unit, *group; /* NULL: refused */
    } rows[] = {
        {"machine.slice:libpod:abc", false, "machine.slice", "libpod-abc.scope",
         "/machine.slice/libpod-abc.scope"},
        {"a-b.slice:docker:1", false, "a-b.slice", "docker-1.scope",
         "/a.slice/a-b.slice/docker-1.scope"},
        {"-.slice::x", false, "-.slice", "x.scope", "/x.scope"},
        {":cri:x", false, "system.slice", "cri-x.scope", "/system.slice/cri-x.scope"},
        {":cri:x", true, "user.slice", "cri-x.scope", "/user.slice/cri-x.scope"},
        {NULL, false, "system.slice", "proa-id.scope", "/system.slice/proa-id.scope"},
        {"", true, "user.slice", "proa-id.scope", "/user.slice/proa-id.scope"},
        {"/machine/x", false, NULL, NULL, NULL},
        {"a:b", false, NULL, NULL, NULL},
        {"a.slice:b:c:d", false, NULL, NULL, NULL},
        {"a.slice:b:", false, NULL, NULL, NULL},
        {"a.slice:b:c/d", false, NULL, NULL, NULL},
        {"a:b:c", false, NULL, NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_(scope_name_done) struct scope_name n = {NULL, NULL};
        struct error err = ERROR_INIT;
        int r = scope_name_parse(rows[i].path, "id", rows[i].user, &n, &err);
        assert_int_equal(r, rows[i].unit ? 0 : -EINVAL);
        if (!rows[i].unit)
            continue;
        _cleanup_free_ char *group = scope_group(&n);
        assert_string_equal(n.slice, rows[i].slice);
        assert_string_equal(n.unit, rows[i].unit);
        assert_string_equal(group, rows[i].group);
    }
}

static void assert_properties(const struct cgroup_limits *l, const char *wanted)
{
    _cleanup_strv_ char **properties = strv_copy(NULL);
    scope_properties(l, &properties);
    _cleanup_free_ char *all = strv_join(properties, "|");
    assert_string_equal(all, wanted);
}

static void test_properties(void **state)
{
    (void)state;
    static const struct cgroup_file files[] = {
        {"memory.high", "123"}, {"pids.max", "max"},     {"cpu.max", "max 5000"},
        {"cpuset.cpus", "9"},   {"memory.low", "bogus"}, {"io.max", "8:0 rbps=1"},
    };
    struct cgroup_limits l;
    cgroup_limits_init(&l);
    assert_properties(&l, "");
    l.memory = 100;
    l.memory_swap = 300;
    l.pids = -1;
    l.cpu_shares = 1024;
    l.cpu_quota = 33333;
    l.cpu_period = 100000;
    l.cpuset_cpus = "0-1,9";
    assert_properties(&l, "MemoryMax=t 100|MemorySwapMax=t 200|CPUWeight=t 39|"
                          "CPUQuotaPeriodUSec=t 100000|CPUQuotaPerSecUSec=t 340000|"
                          "TasksMax=t 18446744073709551615|AllowedCPUs=ay 0302");
    cgroup_limits_init(&l);
    l.cpu_quota = INT64_MAX;
    l.cpuset_cpus = "3-1";
    l.cpuset_mems = "0-99999999";
    assert_properties(&l, "CPUQuotaPerSecUSec=t 4611686018427390000");
    cgroup_limits_init(&l);
    l.cpu_quota = -1;
    l.unified = files;
    l.n_unified = ARRAY_SIZE(files);
    assert_properties(&l, "CPUQuotaPerSecUSec=t 18446744073709551615|MemoryHigh=t 123|"
                          "TasksMax=t 18446744073709551615|CPUQuotaPeriodUSec=t 5000|"
                          "CPUQuotaPerSecUSec=t 18446744073709551615|AllowedCPUs=ay 0002");
}

static void test_annotations(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *wanted; /* NULL: refused */
    } rows[] = {
        {"SendSIGHUP", "true", "SendSIGHUP=b true"},
        {"Description", "'it\\'s'", "Description=s it's"},
        {"Description", "\"a b\"", "Description=s a b"},
        {"TasksMax", "uint64 18", "TasksMax=t 18"},
        {"Nice", "-5", "Nice=i -5"},
        {"Number", "int64 -9", "Number=x -9"},
        {"Number", "uint32 4294967295", "Number=u 4294967295"},
        {"After", "['a.service', \"b.service\"]", "After=as a.service\nb.service"},
        {"After", "[]", "After=as "},
        {"TimeoutStopSec", "5", "TimeoutStopUSec=t 5000000"},
        {"TimeoutStopUSec", "uint64 5", "TimeoutStopUSec=t 5"},
        {"After", "['a'", NULL},
        {"After", "['a' 'b']", NULL},
        {"After", "['a'] x", NULL},
        {"After", "[a]", NULL},
        {"Text", "'open", NULL},
        {"Text", "'one' two", NULL},
        {"Text", "'two\nlines'", NULL},
        {"Text", "bare", NULL},
        {"Text", "", NULL},
        {"Number", "uint64 -1", NULL},
        {"Number", "4294967296", NULL},
        {"No Name", "true", NULL},
        {"", "true", NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_strv_ char **properties = strv_copy(NULL);
        char key[128];
        snprintf(key, sizeof(key), "org.systemd.property.%s", rows[i].name);
        int r = scope_annotation(key, rows[i].value, &properties, NULL);
        assert_int_equal(r, rows[i].wanted ? 0 : -EINVAL);
        assert_int_equal(strv_len(properties), rows[i].wanted ? 1 : 0);
        if (rows[i].wanted)
            assert_string_equal(properties[0], rows[i].wanted);
    }
    _cleanup_strv_ char **none = strv_copy(NULL);
    assert_int_equal(scope_annotation("org.example.x", "anything", &none, NULL), 0);
    assert_int_equal(strv_len(none), 0);
}

/* Only what decides whether anything is to be attached: the program itself runs in the kernel. */
static void test_open_devices(void **state)
{
    (void)state;
    static const struct device_rule deny_all = {false, 'a', -1, -1, true, true, true};
    static const struct device_rule allow_all = {true, 'a', -1, -1, true, true, true};
    static const struct device_rule null = {true, 'c', 1, 3, true, true, true};
    const struct device_rule open[] = {deny_all, allow_all}, closed[] = {allow_all, deny_all};
    const struct device_rule one[] = {deny_all, null}, more[] = {allow_all, null};
    assert_true(device_filter_is_open(open, 2));
    assert_true(device_filter_is_open(more, 2));
    assert_false(device_filter_is_open(closed, 2));
    assert_false(device_filter_is_open(one, 2));
    assert_false(device_filter_is_open(NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights),     cmocka_unit_test(test_swap),
        cmocka_unit_test(test_paths),       cmocka_unit_test(test_slices),
        cmocka_unit_test(test_names),       cmocka_unit_test(test_properties),
        cmocka_unit_test(test_annotations), cmocka_unit_test(test_open_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
