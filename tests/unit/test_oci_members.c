/* The members that few configurations have: each is read into its place, and each mistake in one is
 * refused by name. */
#include "oci_parse.h"

#include <linux/ioprio.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/personality.h>

static void test_host_process(void **state)
{
    (void)state;
    _cleanup_oci_config_ struct oci_config *c =
        parse(PROC "\"apparmorProfile\":\"a\",\"selinuxLabel\":\"s\","
                   "\"scheduler\":{\"policy\":\"SCHED_DEADLINE\",\"nice\":-3,"
                   "\"flags\":[\"SCHED_FLAG_RESET_ON_FORK\",\"SCHED_FLAG_RECLAIM\"],"
                   "\"runtime\":1,\"deadline\":2,\"period\":3},"
                   "\"ioPriority\":{\"class\":\"IOPRIO_CLASS_IDLE\",\"priority\":7},"
                   "\"execCPUAffinity\":{\"initial\":\"0\",\"final\":\"0-1\"}}}");
    const struct oci_process *p = &c->process;
    assert_string_equal(p->apparmor_profile, "a");
    assert_string_equal(p->selinux_label, "s");
    assert_true(p->has_scheduler && p->has_io_priority);
    assert_int_equal(p->scheduler.policy, 6);
    assert_int_equal(p->scheduler.nice, -3);
    assert_true(p->scheduler.flags == 3 && p->scheduler.runtime == 1);
    assert_true(p->scheduler.deadline == 2 && p->scheduler.period == 3);
    assert_int_equal(p->io_class, IOPRIO_CLASS_IDLE);
    assert_int_equal(p->io_priority, 7);
    assert_string_equal(p->cpus_initial, "0");
    assert_string_equal(p->cpus_final, "0-1");
}

static void test_host_process_refused(void **state)
{
    (void)state;
    refused(PROC "\"scheduler\":{}}}", "process.scheduler: \"policy\"");
    refused(PROC "\"scheduler\":{\"policy\":\"SCHED_X\"}}}", "SCHED_X");
    refused(PROC "\"scheduler\":{\"policy\":\"SCHED_OTHER\",\"nice\":20}}}",
            "\"nice\" is above 19");
    refused(PROC "\"scheduler\":{\"policy\":\"SCHED_OTHER\",\"priority\":1}}}", "\"priority\"");
    refused(PROC "\"scheduler\":{\"policy\":\"SCHED_FIFO\",\"priority\":100}}}", "\"priority\"");
    refused(PROC "\"scheduler\":{\"policy\":\"SCHED_FIFO\",\"priority\":1,\"period\":9}}}",
            "period");
    refused(PROC "\"scheduler\":{\"policy\":\"SCHED_RR\",\"flags\":[\"SCHED_FLAG_X\"]}}}",
            "SCHED_FLAG_X");
    refused(PROC "\"ioPriority\":{\"priority\":1}}}", "process.ioPriority: \"class\"");
    refused(PROC "\"ioPriority\":{\"class\":\"IOPRIO_CLASS_BE\",\"priority\":8}}}", "priority");
    refused(PROC "\"ioPriority\":{\"class\":\"IOPRIO_CLASS_BE\"}}}",
            "process.ioPriority: \"priority\" is missing");
    refused(PROC "\"consoleSize\":{\"height\":1}}}", "process.consoleSize: \"width\" is missing");
    refused(PROC "\"execCPUAffinity\":{\"initial\":0}}}", "\"initial\"");
    refused(PROC "\"oomScoreAdj\":1001}}", "oomScoreAdj");
    refused(PROC "\"oomScoreAdj\":-9223372036854775808}}", "oomScoreAdj");
    refused(PROC "\"rlimits\":[{\"type\":\"RLIMIT_CPU\",\"soft\":1}]}}", "hard");
}

static void test_hooks(void **state)
{
    (void)state;
    static const char *const names[] = {"prestart",       "createRuntime", "createContainer",
                                        "startContainer", "poststart",     "poststop"};
    for (int kind = 0; kind < OCI_HOOK_KINDS; kind++) {
        char text[512];
        assert_string_equal(oci_hook_name((enum oci_hook_kind)kind), names[kind]);
        snprintf(text, sizeof(text),
                 HEAD "\"hooks\":{\"%s\":[{\"path\":\"/a\",\"args\":[\"a\",\"b\"],"
                      "\"env\":[\"X=1\"],\"timeout\":3},{\"path\":\"/c\"}]}}",
                 names[kind]);
        _cleanup_oci_config_ struct oci_config *c = parse(text);
        for (int other = 0; other < OCI_HOOK_KINDS; other++)
            assert_int_equal(c->hooks[other].n, other == kind ? 2 : 0);
        const struct oci_hook *h = c->hooks[kind].items;
        assert_string_equal(h[0].path, "/a");
        assert_string_equal(h[0].args[1], "b");
        assert_string_equal(h[0].env[0], "X=1");
        assert_int_equal(h[0].timeout_s, 3);
        assert_true(h[1].timeout_s == 0 && !h[1].args && !h[1].env);
    }
    refused(HEAD "\"hooks\":{\"poststop\":[{\"path\":\"a\"}]}}", "hooks.poststop[0]: \"path\"");
    refused(HEAD "\"hooks\":{\"poststop\":[{}]}}", "hooks.poststop[0]: \"path\"");
    refused(HEAD "\"hooks\":{\"prestart\":[{\"path\":\"/a\",\"timeout\":0}]}}", "\"timeout\"");
}

static void test_host_linux(void **state)
{
    (void)state;
    _cleanup_oci_config_ struct oci_config *c =
        parse(HEAD "\"linux\":{\"namespaces\":[{\"type\":\"time\"}],\"mountLabel\":\"l\","
                   "\"timeOffsets\":{\"monotonic\":{\"secs\":-5,\"nanosecs\":6},\"boottime\":{}},"
                   "\"personality\":{\"domain\":\"LINUX32\"},"
                   "\"intelRdt\":{\"closID\":\"c\",\"l3CacheSchema\":\"L3:0=f\","
                   "\"memBwSchema\":\"MB:0=20\",\"schemata\":[\"L2:0=f\"],"
                   "\"enableMonitoring\":true},"
                   "\"memoryPolicy\":{\"mode\":\"MPOL_BIND\",\"nodes\":\"0-1\","
                   "\"flags\":[\"MPOL_F_STATIC_NODES\"]},"
                   "\"netDevices\":{\"eth0\":{\"name\":\"in%d\"},\"eth1\":{}}}}");
    const struct oci_linux *l = &c->linux_;
    assert_int_equal(l->namespaces[0].type, 0x80);
    assert_string_equal(l->mount_label, "l");
    assert_true(l->time_monotonic.given && l->time_monotonic.secs == -5);
    assert_int_equal(l->time_monotonic.nanosecs, 6);
    assert_true(l->time_boottime.given && l->time_boottime.secs == 0);
    assert_true(l->has_personality && l->personality == PER_LINUX32);
    assert_true(l->has_intel_rdt && l->intel_rdt.enable_monitoring);
    assert_string_equal(l->intel_rdt.clos_id, "c");
    assert_string_equal(l->intel_rdt.l3_cache_schema, "L3:0=f");
    assert_string_equal(l->intel_rdt.mem_bw_schema, "MB:0=20");
    assert_string_equal(l->intel_rdt.schemata[0], "L2:0=f");
    assert_true(l->has_memory_policy && l->memory_mode == MPOL_BIND);
    assert_true(l->memory_flags == MPOL_F_STATIC_NODES);
    assert_string_equal(l->memory_nodes, "0-1");
    assert_int_equal(l->n_net_devices, 2);
    assert_string_equal(l->net_devices[0].name, "eth0");
    assert_string_equal(l->net_devices[0].rename, "in%d");
    assert_null(l->net_devices[1].rename);
}

#define LINUX HEAD "\"linux\":{"

static void test_host_linux_refused(void **state)
{
    (void)state;
    refused(LINUX "\"namespaces\":[{\"type\":\"time\"},{\"type\":\"time\"}]}}", "twice");
    refused(LINUX "\"timeOffsets\":{\"monotonic\":{}}}}", "linux.timeOffsets");
    refused(LINUX "\"namespaces\":[{\"type\":\"time\",\"path\":\"/p\"}],"
                  "\"timeOffsets\":{\"boottime\":{}}}}",
            "linux.timeOffsets");
    refused(LINUX "\"timeOffsets\":{\"realtime\":{}}}}", "realtime");
    refused(LINUX "\"timeOffsets\":{\"boottime\":{\"nanosecs\":1000000000}}}}", "nanosecs");
    refused(LINUX "\"personality\":{}}}", "linux.personality: \"domain\"");
    refused(LINUX "\"personality\":{\"domain\":\"BSD\"}}}", "BSD");
    refused(LINUX "\"personality\":{\"domain\":\"LINUX\",\"flags\":[\"X\"]}}}", "flags");
    refused(LINUX "\"intelRdt\":{\"closID\":\"..\"}}}", "closID");
    refused(LINUX "\"intelRdt\":{\"closID\":\"a/b\"}}}", "closID");
    refused(LINUX "\"intelRdt\":{\"memBwSchema\":\"L3:0=f\"}}}", "memBwSchema");
    refused(LINUX "\"intelRdt\":{\"schemata\":[\"L3:0=f\\nL3:1=f\"]}}}", "linux.intelRdt");
    refused(LINUX "\"memoryPolicy\":{\"mode\":\"MPOL_X\"}}}", "MPOL_X");
    refused(LINUX "\"memoryPolicy\":{\"mode\":\"MPOL_BIND\",\"flags\":[1]}}}",
            "memoryPolicy.flags");
    refused(LINUX "\"netDevices\":{\"a/b\":{}}}}", "a/b");
    refused(LINUX "\"netDevices\":{\"eth0\":{\"name\":\"sixteen-letters-\"}}}}", "sixteen");
    refused(LINUX "\"netDevices\":{\"eth0\":1}}}", "eth0");
    refused(LINUX "\"devices\":[{\"path\":\"/dev/x\",\"type\":\"c\",\"major\":1}]}}", "minor");
    refused(LINUX "\"devices\":[{\"path\":\"/dev/x\",\"type\":\"c\",\"major\":1,"
                  "\"minor\":4294967296}]}}",
            "minor");
    refused(HEAD "\"annotations\":{\"\":\"x\"}}", "annotations");
}

static void test_process_alone(void **state)
{
    (void)state;
    static const char text[] = "{\"args\":[\"a\"],\"cwd\":\"/\"}", bad[] = "{\"args\":[\"a\"]}";
    struct oci_process *p = NULL;
    struct error err = ERROR_INIT;
    assert_int_equal(oci_process_parse(text, sizeof(text) - 1, &p, &err), 0);
    assert_string_equal(p->args[0], "a");
    oci_process_free(p);
    p = NULL;
    assert_true(oci_process_parse(bad, sizeof(bad) - 1, &p, &err) < 0);
    assert_non_null(strstr(err.msg, "cwd"));
    assert_true(oci_process_parse("[]", 2, &p, &err) < 0);
    assert_true(oci_process_load("/does-not-exist", &p, &err) == -ENOENT);
    assert_null(p);
}

#define MOUNT HEAD "\"mounts\":[{\"destination\":\"/m\",\"options\":[\"bind\",\""
#define MAPS                                                                                       \
    "\"]}],\"linux\":{\"uidMappings\":[{\"containerID\":0,\"hostID\":0,\"size\":1},"               \
    "{\"containerID\":1,\"hostID\":2,\"size\":1000}],\"gidMappings\":"                             \
    "[{\"containerID\":0,\"hostID\":100,\"size\":9}]}}"

static void is_map(const struct oci_id_map *map, uint32_t inside, uint32_t outside, uint32_t size)
{
    assert_int_equal(map->container_id, inside);
    assert_int_equal(map->host_id, outside);
    assert_int_equal(map->size, size);
}

/* "idmap=" as crun has it; the second line is the example of its manual. */
static void test_id_maps_of_a_mount(void **state)
{
    (void)state;
    struct oci_config *c = parse(MOUNT "idmap=uids=0-1-10#10-11-10;gids=0-100-10" MAPS);
    assert_int_equal(c->mounts[0].n_uid_maps, 2);
    is_map(&c->mounts[0].uid_maps[1], 10, 11, 10);
    is_map(&c->mounts[0].gid_maps[0], 0, 100, 10);
    oci_config_free(c);
    c = parse(MOUNT "ridmap=gids=@5-0-9;uids=@1-3-10#7-7-1" MAPS);
    is_map(&c->mounts[0].uid_maps[0], 1, 4, 10);
    is_map(&c->mounts[0].uid_maps[1], 7, 7, 1);
    is_map(&c->mounts[0].gid_maps[0], 5, 100, 9);
    oci_config_free(c);
    c = parse(MOUNT "idmap\",\"rw" MAPS);
    assert_int_equal(c->mounts[0].n_uid_maps, 0);
    oci_config_free(c);
}

static void test_id_maps_of_a_mount_refused(void **state)
{
    static const char *const bad[] = {
        "idmap=",
        "idmap=uids=0-0-1",
        "idmap=gids=0-0-1",
        "idmap=uids=0-0-1;gids=0-0-1;x=0-0-1",
        "idmap=uids=0-0;gids=0-0-1",
        "idmap=uids=0-0-0;gids=0-0-1",
        "idmap=uids=0-0-1#;gids=0-0-1",
        "idmap=uids=0-4294967295-2;gids=0-0-1",
        "idmap=uids=0--1-1;gids=0-0-1",
        "idmap=uids=@0-1000-5;gids=0-0-1",
        "idmap=uids=@0-0-2;gids=0-0-1",
        "idmap=uids=@0-0-1;gids=@0-9-1",
        "idmap=uids=0-0-1;gids=0-0-1\",\"ridmap=uids=0-0-1;gids=0-0-1",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char text[512];
        snprintf(text, sizeof(text), MOUNT "%s" MAPS, bad[i]);
        refused(text, "config.json.mounts[0]: ");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_process),
        cmocka_unit_test(test_host_process_refused),
        cmocka_unit_test(test_hooks),
        cmocka_unit_test(test_host_linux),
        cmocka_unit_test(test_host_linux_refused),
        cmocka_unit_test(test_process_alone),
        cmocka_unit_test(test_id_maps_of_a_mount),
        cmocka_unit_test(test_id_maps_of_a_mount_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
