/* linux.resources: every limit is read into its place, and each mistake is refused by name. */
#include "oci_parse.h"

static const char everything[] =
    "{\"memory\":{\"limit\":1,\"reservation\":2,\"swap\":-1,\"kernel\":4,\"kernelTCP\":5,"
    "\"swappiness\":100,\"disableOOMKiller\":true,\"useHierarchy\":true,"
    "\"checkBeforeUpdate\":true},"
    "\"cpu\":{\"shares\":1,\"quota\":2,\"burst\":3,\"period\":4,\"realtimeRuntime\":5,"
    "\"realtimePeriod\":6,\"cpus\":\"0-1\",\"mems\":\"0\",\"idle\":1},\"pids\":{\"limit\":9},"
    "\"blockIO\":{\"weight\":10,\"leafWeight\":11,"
    "\"weightDevice\":[{\"major\":8,\"minor\":1,\"weight\":500},"
    "{\"major\":8,\"minor\":2,\"leafWeight\":3}],"
    "\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":0,\"rate\":1}],"
    "\"throttleWriteBpsDevice\":[{\"major\":8,\"minor\":0,\"rate\":2}],"
    "\"throttleReadIOPSDevice\":[{\"major\":8,\"minor\":0,\"rate\":3}],"
    "\"throttleWriteIOPSDevice\":[{\"major\":8,\"minor\":0,\"rate\":4}]},"
    "\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":9},"
    "{\"pageSize\":\"64KB\",\"limit\":18446744073709551615}],"
    "\"network\":{\"classID\":4294967295,\"priorities\":[{\"name\":\"e\",\"priority\":2}]},"
    "\"rdma\":{\"m\":{\"hcaHandles\":1},\"n\":{\"hcaObjects\":2}},"
    "\"unified\":{\"memory.high\":\"max\"},"
    "\"devices\":[{\"allow\":true,\"type\":\"c\",\"major\":1,\"minor\":-1,\"access\":\"rm\"}]}";

static void check_groups(const struct oci_resources *r)
{
    assert_true(r->memory_limit == 1 && r->memory_reservation == 2 && r->memory_swap == -1);
    assert_true(r->memory_kernel == 4 && r->memory_kernel_tcp == 5 && r->memory_swappiness == 100);
    assert_true(r->memory_disable_oom_killer && r->memory_use_hierarchy);
    assert_true(r->memory_check_before_update);
    assert_true(r->cpu_shares == 1 && r->cpu_quota == 2 && r->cpu_burst == 3 && r->cpu_period == 4);
    assert_true(r->cpu_realtime_runtime == 5 && r->cpu_realtime_period == 6 && r->cpu_idle == 1);
    assert_string_equal(r->cpuset_cpus, "0-1");
    assert_string_equal(r->cpuset_mems, "0");
    assert_true(r->pids_limit == 9 && r->block_weight == 10 && r->block_leaf_weight == 11);
    assert_true(r->has_class_id && r->class_id == UINT32_MAX);
}

static void check_lists(const struct oci_resources *r)
{
    assert_int_equal(r->n_weights, 2);
    assert_true(r->weights[0].weight == 500 && r->weights[0].leaf_weight == OCI_UNSET);
    assert_true(r->weights[1].major == 8 && r->weights[1].minor == 2);
    assert_true(r->weights[1].weight == OCI_UNSET && r->weights[1].leaf_weight == 3);
    for (int kind = 0; kind < OCI_THROTTLE_KINDS; kind++) {
        assert_int_equal(r->throttle[kind].n, 1);
        assert_int_equal(r->throttle[kind].items[0].rate, kind + 1);
    }
    assert_int_equal(r->n_hugepages, 2);
    assert_string_equal(r->hugepages[0].page_size, "2MB");
    assert_true(r->hugepages[0].limit == 9 && r->hugepages[1].limit == -1);
    assert_int_equal(r->n_net_priorities, 1);
    assert_string_equal(r->net_priorities[0].name, "e");
    assert_int_equal(r->net_priorities[0].priority, 2);
    assert_int_equal(r->n_rdma, 2);
    assert_string_equal(r->rdma[0].device, "m");
    assert_true(r->rdma[0].handles == 1 && r->rdma[0].objects == OCI_UNSET);
    assert_true(r->rdma[1].handles == OCI_UNSET && r->rdma[1].objects == 2);
    assert_int_equal(r->n_unified, 1);
    assert_string_equal(r->unified[0].file, "memory.high");
    assert_string_equal(r->unified[0].value, "max");
    const struct oci_device_rule *rule = r->devices;
    assert_true(rule->allow && rule->type == 'c' && rule->major == 1 && rule->minor == -1);
    assert_true(rule->read && !rule->write && rule->mknod);
}

static void test_everything(void **state)
{
    (void)state;
    struct oci_resources r;
    struct error err = ERROR_INIT;
    oci_resources_init(&r);
    if (oci_resources_parse(everything, sizeof(everything) - 1, &r, &err) < 0)
        fail_msg("%s", err.msg);
    check_groups(&r);
    check_lists(&r);
    oci_resources_done(&r);
}

static void test_nothing(void **state)
{
    (void)state;
    struct oci_resources r, empty;
    struct error err = ERROR_INIT;
    oci_resources_init(&r);
    oci_resources_init(&empty);
    assert_int_equal(oci_resources_parse("{\"network\":{\"classID\":null}}", 28, &r, &err), 0);
    assert_memory_equal(&r.memory_limit, &empty.memory_limit, sizeof(r.memory_limit));
    assert_true(r.cpu_idle == OCI_UNSET && r.memory_kernel == OCI_UNSET && !r.has_class_id);
    assert_true(oci_resources_parse("3", 1, &r, &err) < 0);
    oci_resources_done(&r);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"{\"memory\":3}", "memory"},
        {"{\"memory\":{\"limit\":-2}}", "linux.resources.memory: \"limit\" is below -1"},
        {"{\"memory\":{\"limit\":-9223372036854775808}}", "\"limit\""},
        {"{\"memory\":{\"limit\":\"1\"}}", "\"limit\""},
        {"{\"memory\":{\"swappiness\":101}}", "\"swappiness\" is above 100"},
        {"{\"cpu\":{\"idle\":2}}", "\"idle\""},
        {"{\"cpu\":{\"realtimePeriod\":-2}}", "\"realtimePeriod\""},
        {"{\"blockIO\":{\"weight\":1001}}", "\"weight\""},
        {"{\"blockIO\":{\"weightDevice\":[{\"weight\":10}]}}", "weightDevice[0]"},
        {"{\"blockIO\":{\"weightDevice\":[{\"major\":1,\"minor\":1}]}}", "leafWeight"},
        {"{\"blockIO\":{\"throttleReadBpsDevice\":[{\"major\":1,\"minor\":1}]}}", "\"rate\""},
        {"{\"hugepageLimits\":[{\"pageSize\":\"2M\",\"limit\":1}]}", "hugepageLimits[0]"},
        {"{\"hugepageLimits\":[{\"pageSize\":\"02MB\",\"limit\":1}]}", "pageSize"},
        {"{\"hugepageLimits\":[{\"pageSize\":\"MB\",\"limit\":1}]}", "pageSize"},
        {"{\"hugepageLimits\":[{\"pageSize\":\"2MB/\",\"limit\":1}]}", "pageSize"},
        {"{\"hugepageLimits\":[{\"pageSize\":\"222222222222222\",\"limit\":1}]}", "pageSize"},
        {"{\"hugepageLimits\":[{\"pageSize\":\"2MB\"}]}", "\"limit\""},
        {"{\"network\":{\"classID\":-1}}", "classID"},
        {"{\"network\":{\"priorities\":[{\"priority\":1}]}}", "priorities[0]: \"name\""},
        {"{\"network\":{\"priorities\":[{\"name\":\"e\"}]}}", "priorities[0]: \"priority\""},
        {"{\"rdma\":{\"m\":{}}}", "\"m\""},
        {"{\"rdma\":{\"m n\":{\"hcaHandles\":1}}}", "m n"},
        {"{\"rdma\":{\"m\":{\"hcaHandles\":-1}}}", "hcaHandles"},
        {"{\"unified\":{\"../memory.max\":\"1\"}}", "../memory.max"},
        {"{\"unified\":{\"a/memory.max\":\"1\"}}", "a/memory.max"},
        {"{\"unified\":{\"memory\":\"1\"}}", "\"memory\""},
        {"{\"unified\":{\"memory.max\":1}}", "memory.max"},
        {"{\"devices\":[{\"access\":\"r\"}]}", "\"allow\""},
        {"{\"devices\":[{\"allow\":true,\"access\":\"x\"}]}", "\"access\""},
        {"{\"devices\":[{\"allow\":true,\"type\":\"u\"}]}", "type"},
        {"{\"devices\":[{\"allow\":true,\"major\":4294967296}]}", "\"major\""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[512];
        snprintf(text, sizeof(text), HEAD "\"linux\":{\"resources\":%s}}", cases[i].text);
        refused(text, cases[i].part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
