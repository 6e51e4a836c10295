#include "oci_parse.h"

#include <sched.h>
#include <sys/resource.h>

static void test_process(void **state)
{
    (void)state;
    _cleanup_oci_config_ struct oci_config *c = parse(
        PROC "\"terminal\":true,\"env\":[\"A=1\"],\"noNewPrivileges\":true,\"oomScoreAdj\":-5,"
             "\"user\":{\"uid\":7,\"gid\":8,\"umask\":18,\"additionalGids\":[1,2],"
             "\"username\":\"www:www\"},"
             "\"capabilities\":{\"bounding\":[\"CAP_CHOWN\",\"CAP_BPF\"]},"
             "\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":10,"
             "\"hard\":18446744073709551615}]}}");
    const struct oci_process *p = &c->process;
    assert_true(c->has_process && p->terminal && p->no_new_privileges && p->has_oom_score_adj);
    assert_int_equal(p->oom_score_adj, -5);
    assert_int_equal(p->user.uid, 7);
    assert_int_equal(p->user.gid, 8);
    assert_true(p->user.has_umask && p->user.umask == 022);
    assert_int_equal(p->user.n_additional_gids, 2);
    assert_string_equal(p->user.username, "www:www");
    assert_true(p->capabilities.bounding == (1 | UINT64_C(1) << 39));
    assert_int_equal(p->rlimits[0].resource, RLIMIT_NOFILE);
    assert_true(p->rlimits[0].soft == 10 && p->rlimits[0].hard == UINT64_MAX);
}

static void test_linux(void **state)
{
    (void)state;
    _cleanup_oci_config_ struct oci_config *c = parse(
        HEAD
        "\"root\":{\"path\":\"rootfs\",\"readonly\":true},\"hostname\":\"h\","
        "\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"options\":[\"ro\"]}],"
        "\"annotations\":{\"a\":\"18446744073709551615\"},"
        "\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\",\"path\":\"/n\"}],"
        "\"uidMappings\":[{\"containerID\":0,\"hostID\":1000,\"size\":10}],"
        "\"devices\":[{\"path\":\"/dev/x\",\"type\":\"c\",\"major\":1,\"minor\":3,"
        "\"fileMode\":8630}],"
        "\"resources\":{\"memory\":{\"limit\":1000,\"swap\":-1},\"pids\":{\"limit\":9},"
        "\"devices\":[{\"allow\":false,\"access\":\"rwm\"}],"
        "\"blockIO\":{\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":0,\"rate\":5}]}},"
        "\"rootfsPropagation\":\"rslave\",\"sysctl\":{\"net.a\":\"1\"},"
        "\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"read\"],"
        "\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":1,\"value\":3,"
        "\"op\":\"SCMP_CMP_EQ\"}]}]},\"maskedPaths\":[\"/proc/kcore\"]}}");
    const struct oci_linux *l = &c->linux_;
    assert_string_equal(c->root_path, "rootfs");
    assert_true(c->root_readonly && !c->has_process);
    assert_string_equal(c->mounts[0].options[0], "ro");
    assert_string_equal(c->annotations[0].value, "18446744073709551615");
    assert_string_equal(oci_config_namespace(c, CLONE_NEWNET)->path, "/n");
    assert_null(oci_config_namespace(c, CLONE_NEWPID)->path);
    assert_null(oci_config_namespace(c, CLONE_NEWUSER));
    assert_int_equal(l->uid_maps[0].host_id, 1000);
    assert_int_equal(l->devices[0].mode, 0666);
    assert_true(l->resources.memory_limit == 1000 && l->resources.memory_swap == -1);
    assert_true(l->resources.cpu_shares == OCI_UNSET && l->resources.pids_limit == 9);
    assert_true(!l->resources.devices[0].allow && l->resources.devices[0].type == 'a');
    assert_true(l->resources.throttle[OCI_THROTTLE_READ_BPS].items[0].rate == 5);
    assert_string_equal(l->sysctls[0].value, "1");
    assert_int_equal(l->seccomp->rules[0].args[0].value, 3);
    assert_string_equal(l->masked_paths[0], "/proc/kcore");
}

static void test_refused(void **state)
{
    (void)state;
    refused("{}", "ociVersion");
    refused("[]", "object");
    refused("{\"ociVersion\":\"2.0\"}", "2.0");
    refused(HEAD "\"process\":{\"args\":[],\"cwd\":\"/\"}}", "args");
    refused(HEAD "\"process\":{\"args\":[\"x\"],\"cwd\":\"a\"}}", "cwd");
    refused(HEAD "\"process\":{\"args\":[1],\"cwd\":\"/\"}}", "args");
    refused(PROC "\"rlimits\":[{\"type\":\"RLIMIT_X\",\"soft\":1,\"hard\":1}]}}", "RLIMIT_X");
    refused(PROC "\"rlimits\":[{\"type\":\"RLIMIT_CPU\",\"soft\":2,\"hard\":1}]}}", "soft");
    refused(PROC "\"user\":{\"uid\":-1}}}", "uid");
    refused(PROC "\"user\":{\"uid\":4294967295}}}", "4294967295");
    refused(PROC "\"user\":{\"uid\":4294967296}}}", "uid");
    refused(PROC "\"user\":{\"uid\":\"0\"}}}", "uid");
    refused(PROC "\"user\":{\"uid\":1.5}}}", "uid");
    refused(HEAD "\"linux\":{\"namespaces\":[{\"type\":\"magic\"}]}}", "magic");
    refused(HEAD "\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"pid\"}]}}", "twice");
    refused(HEAD "\"linux\":{\"namespaces\":[{\"type\":\"pid\",\"path\":\"x\"}]}}", "path");
    refused(HEAD "\"linux\":{\"uidMappings\":[{\"containerID\":0,\"hostID\":4294967295,"
                 "\"size\":2}]}}",
            "uidMappings[0]");
    refused(HEAD "\"linux\":{\"uidMappings\":[{\"containerID\":0,\"size\":1}]}}",
            "linux.uidMappings[0]: \"hostID\" is missing");
    refused(HEAD "\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_X\"}}}", "SCMP_ACT_X");
    refused(HEAD "\"linux\":{\"resources\":{\"memory\":{\"limit\":-7}}}}", "limit");
    refused(HEAD "\"linux\":{\"resources\":{\"hugepageLimits\":[{\"pageSize\":\"222222222222222\","
                 "\"limit\":9}]}}}",
            "hugepageLimits[0]: \"pageSize\"");
    refused(HEAD "\"linux\":{\"rootfsPropagation\":\"x\"}}", "rootfsPropagation");
    refused(HEAD "\"mounts\":[{\"type\":\"proc\"}]}", "destination");
    refused(HEAD "\"mounts\":[{\"destination\":\"/a\",\"uidMappings\":["
                 "{\"containerID\":0,\"hostID\":0,\"size\":1}]}]}",
            "mounts[0]: \"uidMappings\" and \"gidMappings\"");
    refused(HEAD "\"mounts\":[3]}", "mounts[0]");
}

struct writer {
    const char *name;
    size_t mounts, namespaces, uid_maps, prestart_hooks;
    uint64_t bounding; /* how many capabilities */
    bool terminal, is_rootless;
    size_t seccomp_rules;
};

static void check_writer(const struct writer *w)
{
    char path[512];
    struct oci_config *c = NULL;
    struct error err = ERROR_INIT;
    snprintf(path, sizeof(path), "%s/%s.json", getenv("OCI_CONFIG_CORPUS"), w->name);
    if (oci_config_load(path, &c, &err) < 0)
        fail_msg("%s: %s", w->name, err.msg);
    const struct oci_linux *l = &c->linux_;
    assert_string_equal(c->process.args[0], "sh");
    assert_int_equal(c->process.terminal, w->terminal);
    assert_int_equal(__builtin_popcountll(c->process.capabilities.bounding), w->bounding);
    assert_int_equal(c->n_mounts, w->mounts);
    assert_int_equal(l->n_namespaces, w->namespaces);
    assert_int_equal(c->hooks[OCI_HOOK_PRESTART].n, w->prestart_hooks);
    assert_int_equal(oci_config_namespace(c, CLONE_NEWUSER) != NULL, w->is_rootless);
    assert_int_equal(l->n_uid_maps, w->uid_maps);
    assert_int_equal(l->seccomp ? l->seccomp->n_rules : 0, w->seccomp_rules);
    assert_true(l->masked_paths && l->readonly_paths);
    oci_config_free(c);
}

/* What `runc spec`, `crun spec`, Podman and Docker wrote; the last two with shorter profiles. */
static void test_writers(void **state)
{
    (void)state;
    static const struct writer writers[] = {
        {.name = "runc", .mounts = 7, .namespaces = 5, .bounding = 3, .terminal = true},
        {.name = "runc-rootless",
         .mounts = 7,
         .namespaces = 5,
         .uid_maps = 1,
         .bounding = 3,
         .terminal = true,
         .is_rootless = true},
        {.name = "crun", .mounts = 7, .namespaces = 5, .bounding = 3, .terminal = true},
        {.name = "crun-rootless",
         .mounts = 7,
         .namespaces = 6,
         .bounding = 3,
         .terminal = true,
         .is_rootless = true},
        {.name = "podman", .mounts = 10, .namespaces = 5, .bounding = 11, .seccomp_rules = 22},
        {.name = "docker",
         .mounts = 10,
         .namespaces = 5,
         .prestart_hooks = 1,
         .bounding = 14,
         .seccomp_rules = 12},
    };
    for (size_t i = 0; i < ARRAY_SIZE(writers); i++)
        check_writer(&writers[i]);
}

/* As many mappings as a hostile caller can write: refused, not allocated without end. */
static void test_bounds(void **state)
{
    (void)state;
    size_t n = OCI_MAX_ENTRIES + 1, len = 0;
    char *text = malloc(n * 64 + 256);
    assert_non_null(text);
    len += (size_t)snprintf(text, 256, HEAD "\"linux\":{\"uidMappings\":[");
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(text + len, 64, "%s{\"size\":1}", i ? "," : "");
    snprintf(text + len, 8, "]}}");
    refused(text, "uidMappings");
    free(text);
}

static void test_names(void **state)
{
    (void)state;
    unsigned int cap;
    int value;
    assert_int_equal(oci_capability_from_name("sys_admin", &cap), 0);
    assert_int_equal(cap, 21);
    assert_string_equal(oci_capability_name(40), "CAP_CHECKPOINT_RESTORE");
    assert_null(oci_capability_name(41));
    assert_int_equal(oci_capability_from_name("CAP_", &cap), -EINVAL);
    assert_int_equal(oci_namespace_from_name("cgroup", &value), 0);
    assert_int_equal(value, CLONE_NEWCGROUP);
    assert_string_equal(oci_namespace_name(CLONE_NEWUTS), "uts");
}

/* config.md: a warning, and the container should not fail. */
static void test_unknown_capability(void **state)
{
    (void)state;
    struct oci_config *c = parse(PROC "\"capabilities\":{\"bounding\":[\"CAP_MAGIC\",\"CAP_KILL\"],"
                                      "\"effective\":[\"CAP_MAGIC\",\"CAP_KILL\",\"CAP_\"]}}}");
    char **unknown = c->process.unknown_capabilities;
    assert_true(c->process.capabilities.bounding == 1 << 5);
    assert_true(c->process.capabilities.effective == 1 << 5);
    assert_string_equal(unknown[0], "CAP_MAGIC");
    assert_string_equal(unknown[1], "CAP_");
    assert_null(unknown[2]);
    oci_config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_process),
        cmocka_unit_test(test_linux),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_writers),
        cmocka_unit_test(test_unknown_capability),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
