/* The documents that are written: a state, the configuration of `spec`, the features. */
#include "check.h"

#include <sched.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "wire/oci/features.h"
#include "wire/oci/spec.h"
#include "wire/oci/state.h"

static json_t *read_back(const char *text)
{
    json_t *o = NULL;
    struct error err = ERROR_INIT;
    if (json_parse(text, strlen(text), "the document", &o, &err) < 0)
        fail_msg("%s", err.msg);
    return o;
}

static const char *text_at(const json_t *o, const char *key)
{
    const char *value = json_string_value(json_object_get(o, key));
    return value ? value : "";
}

static bool lists(const json_t *array, const char *word)
{
    json_t *item;
    size_t i;
    json_array_foreach(array, i, item)
    {
        if (strcmp(json_string_value(item), word) == 0)
            return true;
    }
    return false;
}

static void test_state(void **state)
{
    (void)state;
    const struct oci_annotation annotations[] = {{(char *)"a.b", (char *)"\"c\"\n"}};
    const struct oci_state s = {.id = "x",
                                .status = "running",
                                .pid = 7,
                                .bundle = "/b",
                                .annotations = annotations,
                                .n_annotations = 1,
                                .created = "2020-01-01T00:00:00Z"};
    _cleanup_free_ char *line = oci_state_to_json(&s, false);
    _cleanup_free_ char *pages = oci_state_to_json(&s, true);
    assert_null(strchr(line, '\n'));
    assert_non_null(strchr(pages, '\n'));
    _cleanup_json_ json_t *o = read_back(line), *p = read_back(pages);
    assert_true(json_equal(o, p));
    assert_string_equal(text_at(o, "ociVersion"), "1.2.0");
    assert_string_equal(text_at(o, "id"), "x");
    assert_string_equal(text_at(o, "status"), "running");
    assert_int_equal(json_integer_value(json_object_get(o, "pid")), 7);
    assert_string_equal(text_at(o, "bundle"), "/b");
    assert_string_equal(text_at(json_object_get(o, "annotations"), "a.b"), "\"c\"\n");
    assert_string_equal(text_at(o, "created"), "2020-01-01T00:00:00Z");
    assert_null(json_object_get(o, "rootfs"));
    assert_null(json_object_get(o, "owner"));
}

/* What `spec` writes is what `create` reads. */
static void test_spec(void **state)
{
    (void)state;
    for (int rootless = 0; rootless < 2; rootless++) {
        struct oci_config *c = NULL;
        struct error err = ERROR_INIT;
        _cleanup_free_ char *text = oci_spec_default(rootless, 1000, 1001);
        if (oci_config_parse(text, strlen(text), &c, &err) < 0)
            fail_msg("%s", err.msg);
        assert_true(c->process.terminal && c->process.no_new_privileges && c->root_readonly);
        assert_string_equal(c->process.args[0], "sh");
        assert_string_equal(c->root_path, "rootfs");
        assert_true(c->process.capabilities.ambient == 0 && c->process.capabilities.bounding != 0);
        assert_int_equal(oci_config_namespace(c, CLONE_NEWNET) == NULL, rootless);
        assert_int_equal(oci_config_namespace(c, CLONE_NEWUSER) != NULL, rootless);
        assert_int_equal(c->linux_.n_uid_maps, rootless);
        assert_int_equal(c->linux_.resources.n_devices, !rootless);
        if (rootless) {
            assert_true(c->linux_.uid_maps[0].host_id == 1000 && c->linux_.uid_maps[0].size == 1);
            assert_true(c->linux_.gid_maps[0].host_id == 1001);
            assert_null(strstr(text, "gid=5"));
        }
        oci_config_free(c);
    }
}

static void test_features(void **state)
{
    (void)state;
    char *const words[] = {(char *)"bind", (char *)"rro", NULL};
    const struct oci_features f = {.mount_options = words, .apparmor = true};
    _cleanup_free_ char *text = oci_features_json(&f);
    _cleanup_json_ json_t *o = read_back(text);
    const json_t *l = json_object_get(o, "linux"), *seccomp = json_object_get(l, "seccomp");
    assert_true(lists(json_object_get(o, "hooks"), "createContainer"));
    assert_true(lists(json_object_get(o, "mountOptions"), "rro"));
    assert_true(lists(json_object_get(l, "namespaces"), "time"));
    assert_true(lists(json_object_get(l, "capabilities"), "CAP_CHECKPOINT_RESTORE"));
    assert_true(lists(json_object_get(seccomp, "actions"), "SCMP_ACT_NOTIFY"));
    assert_true(lists(json_object_get(seccomp, "operators"), "SCMP_CMP_MASKED_EQ"));
    assert_true(lists(json_object_get(seccomp, "archs"), "SCMP_ARCH_AARCH64"));
    assert_true(lists(json_object_get(seccomp, "knownFlags"), "SECCOMP_FILTER_FLAG_TSYNC"));
    assert_true(
        lists(json_object_get(json_object_get(l, "memoryPolicy"), "modes"), "MPOL_INTERLEAVE"));
    assert_true(json_is_true(json_object_get(json_object_get(l, "apparmor"), "enabled")));
    assert_true(json_is_false(json_object_get(json_object_get(l, "selinux"), "enabled")));
    assert_true(json_is_false(json_object_get(json_object_get(l, "netDevices"), "enabled")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_spec),
        cmocka_unit_test(test_features),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
