/* engine: options, mounts, the OCI configuration, signals and names, without a running instance. */
#include "check.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "engine/engine-internal.h"
#include "engine/place.h"
#include "engine/spec-security.h"

static void test_options_survive_json(void **state)
{
    struct create_options o, back;
    struct error err = ERROR_INIT;
    (void)state;
    create_options_init(&o);
    o.kind = RUNTIME_VM;
    o.image = xstrdup("debian");
    o.entrypoint = xstrdup("");
    strv_add(&o.command, "sh");
    strv_add(&o.command, "");
    o.read_only = true;
    o.memory_bytes = 1ull << 33;
    o.pids_limit = -1;
    o.stop_timeout_s = 0;
    json_t *json = create_options_to_json(&o);
    assert_int_equal(create_options_from_json(json, &back, &err), 0);
    assert_int_equal(back.kind, RUNTIME_VM);
    assert_string_equal(back.entrypoint, "");
    assert_int_equal(strv_len(back.command), 2);
    assert_true(back.read_only && !back.init);
    assert_int_equal(back.memory_bytes, 1ull << 33);
    assert_int_equal(back.pids_limit, -1);
    assert_int_equal(back.stop_timeout_s, 0);
    json_decref(json);
    create_options_done(&o);
    create_options_done(&back);
}

/* A store of before instances could have several networks. */
static void test_options_of_one_network(void **state)
{
    struct create_options o;
    struct error err = ERROR_INIT;
    json_t *json = json_pack("{s:s}", "network", "back");
    (void)state;
    assert_int_equal(create_options_from_json(json, &o, &err), 0);
    assert_int_equal(strv_len(o.networks), 1);
    assert_string_equal(o.networks[0], "back");
    json_decref(json);
    create_options_done(&o);
}

static void test_places(void **state)
{
    struct create_options o;
    struct places p;
    struct error err = ERROR_INIT;
    (void)state;
    create_options_init(&o);
    assert_int_equal(places_parse(&o, &p, &err), 0);
    assert_int_equal(p.n, 1);
    assert_string_equal(p.list[0].network, "proa");
    places_done(&p);
    strv_add(&o.networks, "a:ip=10.0.0.2,ip6=fd00::2,mac=02:00:00:00:00:01,alias=x,alias=y");
    strv_add(&o.networks, "name=b,mac-address=02:00:00:00:00:02,alias=z");
    strv_add(&o.networks, "bridge");
    strv_add(&o.network_aliases, "all");
    assert_int_equal(places_parse(&o, &p, &err), 0);
    assert_int_equal(p.n, 3);
    assert_string_equal(p.list[0].ip6, "fd00::2");
    assert_string_equal(p.list[0].mac, "02:00:00:00:00:01");
    assert_int_equal(strv_len(p.list[0].aliases), 3);
    assert_string_equal(p.list[1].network, "b");
    assert_string_equal(p.list[1].mac, "02:00:00:00:00:02");
    assert_string_equal(p.list[2].network, "proa");
    _cleanup_free_ char *text = place_text(&p.list[0]), *plain = place_text(&p.list[2]);
    assert_string_equal(
        text, "a:ip=10.0.0.2,ip6=fd00::2,mac=02:00:00:00:00:01,alias=x,alias=y,alias=all");
    assert_string_equal(plain, "proa:alias=all");
    places_done(&p);
    o.ip = xstrdup("10.0.0.9"); /* of which of the three? */
    assert_int_equal(places_parse(&o, &p, &err), -EINVAL);
    create_options_done(&o);
}

static void test_places_bad(void **state)
{
    static const char *const bad[][2] = {
        {"", NULL},       {"a:", NULL},     {"a:ip", NULL},        {"a:ip=", NULL},
        {"a:ip=1,ip=2"},  {"a:color=red"},  {"ip=1", NULL},        {"name=", NULL},
        {"a", "a"},       {"host", "a"},    {"a", "none"},         {"container:x", "a"},
        {"a:alias=", ""}, {":ip=10.0.0.1"}, {"name=a,name=b", ""}, {"a,b=c", NULL}};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct create_options o;
        struct places p;
        struct error err = ERROR_INIT;
        create_options_init(&o);
        for (size_t n = 0; n < 2 && bad[i][n] && (n == 0 || *bad[i][n]); n++)
            strv_add(&o.networks, bad[i][n]);
        if (places_parse(&o, &p, &err) != -EINVAL)
            fail_msg("accepted: \"%s\"", bad[i][0]);
        create_options_done(&o);
    }
}

static void test_options_refuse_wrong_types(void **state)
{
    struct create_options o;
    struct error err = ERROR_INIT;
    json_t *json = json_pack("{s:i}", "command", 3);
    (void)state;
    assert_true(create_options_from_json(json, &o, &err) < 0);
    assert_string_equal(err.msg, "instance options: \"command\" must be an array");
    json_decref(json);
}

static int parse_one_volume(const char *text, struct spec_mounts *mounts, struct error *err)
{
    struct create_options o;
    struct image image = {0};
    create_options_init(&o);
    strv_add(&o.volumes, text);
    int r = spec_mounts_parse(&o, &image, mounts, err);
    create_options_done(&o);
    return r;
}

static void test_volumes(void **state)
{
    static const struct {
        const char *text, *type, *name, *source, *target;
        bool read_only, anonymous;
    } good[] = {
        {"data:/srv", "volume", "data", NULL, "/srv", false, false},
        {"data:/srv/../x/:ro", "volume", "data", NULL, "/x", true, false},
        {"/tmp:/t", "bind", NULL, "/tmp", "/t", false, false},
        {"/cache", "volume", NULL, NULL, "/cache", false, true},
    };
    static const char *const bad[] = {
        "",       "a:b:c:d",    "data:relative",        "./x:/y",           "../x:/y",
        "data:/", "data:/x/..", "/nonexistent-proa:/x", "data:/x:sideways", "a/b:/x"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct spec_mounts m = {0};
        struct error err = ERROR_INIT;
        assert_int_equal(parse_one_volume(good[i].text, &m, &err), 0);
        assert_int_equal(m.n, 1);
        assert_string_equal(m.list[0].type, good[i].type);
        assert_string_equal(m.list[0].target, good[i].target);
        assert_true(m.list[0].read_only == good[i].read_only);
        assert_true(m.list[0].anonymous == good[i].anonymous);
        if (good[i].name)
            assert_string_equal(m.list[0].name, good[i].name);
        if (good[i].source)
            assert_string_equal(m.list[0].source, good[i].source);
        spec_mounts_done(&m);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct spec_mounts m = {0};
        struct error err = ERROR_INIT;
        assert_true(parse_one_volume(bad[i], &m, &err) < 0);
        assert_true(err.msg[0] != '\0');
    }
}

static void test_mount_words_and_duplicates(void **state)
{
    struct create_options o;
    struct image image = {0};
    struct spec_mounts m = {0};
    struct error err = ERROR_INIT;
    (void)state;
    create_options_init(&o);
    strv_add(&o.mounts, "type=tmpfs,target=/run,tmpfs-size=1m");
    strv_add(&o.mounts, "type=bind,source=/tmp,dst=/t,readonly");
    strv_add(&image.volumes, "/t");
    assert_int_equal(spec_mounts_parse(&o, &image, &m, &err), 0);
    assert_int_equal(m.n, 2); /* the image's volume yields */
    assert_string_equal(m.list[0].data, "size=1m");
    assert_true(m.list[1].read_only);
    spec_mounts_done(&m);
    strv_add(&o.tmpfs, "/t");
    assert_int_equal(spec_mounts_parse(&o, &image, &m, &err), -EEXIST);
    strv_free(image.volumes);
    create_options_done(&o);
}

static bool bounding_has(json_t *process, const char *name)
{
    json_t *set = json_object_get(json_object_get(process, "capabilities"), "bounding");
    size_t i;
    json_t *item;
    json_array_foreach(set, i, item) if (strcmp(json_string_value(item), name) == 0) return true;
    return false;
}

static void test_capabilities(void **state)
{
    struct create_options o;
    struct error err = ERROR_INIT;
    json_t *process = json_object();
    (void)state;
    create_options_init(&o);
    assert_int_equal(spec_capabilities(&o, process, &err), 0);
    assert_true(bounding_has(process, "CAP_CHOWN"));
    assert_false(bounding_has(process, "CAP_SYS_ADMIN"));
    assert_null(json_object_get(json_object_get(process, "capabilities"), "inheritable"));
    strv_add(&o.cap_drop, "ALL");
    strv_add(&o.cap_add, "net_admin");
    assert_int_equal(spec_capabilities(&o, process, &err), 0);
    assert_true(bounding_has(process, "CAP_NET_ADMIN"));
    assert_false(bounding_has(process, "CAP_CHOWN"));
    strv_add(&o.cap_add, "EVERYTHING");
    assert_true(spec_capabilities(&o, process, &err) < 0);
    json_decref(process);
    create_options_done(&o);
}

static void test_sysctls(void **state)
{
    static const char *const bad[] = {
        "kernel.core_pattern=|/x", "kernel.shm_rmid_forced=1+kernel.core_pattern=|/x",
        "net./../kernel/core_pattern=x", "kernel.shmmax", "net.x=1\n2"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct create_options o;
        struct error err = ERROR_INIT;
        json_t *list = NULL;
        create_options_init(&o);
        strv_add(&o.sysctls, bad[i]);
        assert_true(spec_sysctls(&o, &list, &err) < 0);
        assert_null(list);
        create_options_done(&o);
    }
}

static void test_limits(void **state)
{
    static const char *const bad[] = {"nofile",  "nofile=",      "nofile=2:1", "nofile=x",
                                      "files=1", "nofile=1:2:3", "nofile=-1:5"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct create_options o;
        struct error err = ERROR_INIT;
        json_t *list = NULL;
        create_options_init(&o);
        strv_add(&o.ulimits, bad[i]);
        assert_true(spec_rlimits(&o, &list, &err) < 0);
        create_options_done(&o);
    }
}

static void test_signals(void **state)
{
    static const struct {
        const char *text;
        int signum;
    } cases[] = {{"TERM", 15}, {"SIGKILL", 9}, {"9", 9}, {"sigusr1", 10}, {"RTMIN+3", 37}};
    static const char *const bad[] = {"", "0", "65", "-9", "SIGX", "+9", "9 "};
    struct error err = ERROR_INIT;
    int signum;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(signal_parse(cases[i].text, &signum, &err), 0);
        assert_int_equal(signum, cases[i].signum);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_true(signal_parse(bad[i], &signum, &err) < 0);
}

static void test_names(void **state)
{
    static const char *const bad[] = {"", "a", "-ab", "a b", "../x", "a/b", ".ab", "\033[31m"};
    struct error err = ERROR_INIT;
    char name[128];
    (void)state;
    random_name(name, sizeof(name));
    assert_int_equal(check_instance_name(name, &err), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_true(check_instance_name(bad[i], &err) < 0);
}

/* Every cell answers, and what must hold between the rows holds. */
static void test_lifecycle(void **state)
{
    (void)state;
    for (int verb = 0; verb < VERB_COUNT; verb++)
        for (int st = 0; st < STATE_COUNT; st++) {
            struct error err = ERROR_INIT;
            int r = lifecycle_check(verb, st, "web", &err);
            assert_true(r == 0 || r == 1 || (r == -EBUSY && err.kind == ERROR_CONFLICT));
            assert_true(r >= 0 || strstr(err.msg, "instance web is "));
        }
    for (int st = 0; st < STATE_COUNT; st++) {
        struct error err = ERROR_INIT;
        bool stopped = st == STATE_CREATED || st == STATE_EXITED;
        assert_int_equal(lifecycle_check(VERB_STOP, st, "web", &err), stopped ? 0 : 1);
        assert_int_equal(lifecycle_check(VERB_REMOVE_FORCED, st, "web", &err), 1);
        assert_true((lifecycle_check(VERB_REMOVE, st, "web", &err) == 1) == stopped);
        assert_true((lifecycle_check(VERB_EXEC, st, "web", &err) == 1) == (st == STATE_RUNNING));
    }
}

static void test_command_line(void **state)
{
    struct create_options o;
    struct image image = {0};
    struct error err = ERROR_INIT;
    char **argv = NULL;
    (void)state;
    create_options_init(&o);
    assert_true(spec_argv(&o, &image, &argv, &err) < 0);
    strv_add(&image.entrypoint, "/entry");
    strv_add(&image.cmd, "default");
    assert_int_equal(spec_argv(&o, &image, &argv, &err), 0);
    assert_int_equal(strv_len(argv), 2);
    strv_free(argv);
    o.entrypoint = xstrdup("/other"); /* the image's command goes with its entrypoint */
    assert_int_equal(spec_argv(&o, &image, &argv, &err), 0);
    assert_int_equal(strv_len(argv), 1);
    strv_free(argv);
    strv_free(image.entrypoint);
    strv_free(image.cmd);
    create_options_done(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_survive_json),
        cmocka_unit_test(test_options_of_one_network),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_places_bad),
        cmocka_unit_test(test_options_refuse_wrong_types),
        cmocka_unit_test(test_volumes),
        cmocka_unit_test(test_mount_words_and_duplicates),
        cmocka_unit_test(test_capabilities),
        cmocka_unit_test(test_sysctls),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_lifecycle),
        cmocka_unit_test(test_command_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
