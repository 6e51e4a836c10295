/* Names, manifests, configurations and Dockerfile changes. */
#include "check.h"

#include "base/json.h"
#include "base/strv.h"
#include "service/image/image.h"
#include "wire/image/change.h"
#include "wire/image/config.h"
#include "wire/image/digest.h"
#include "wire/image/history.h"
#include "wire/image/manifest.h"

#define DIGEST "sha256:abababababababababababababababababababababababababababababababab"
#define CONFIG                                                                                     \
    "{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"" DIGEST             \
    "\",\"size\":3}"
#define MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define INDEX    "application/vnd.oci.image.index.v1+json"

static void test_names(void **state)
{
    static const struct {
        const char *name, *canonical; /* NULL: refused */
    } cases[] = {
        {"debian", "debian:latest"},
        {"debian:12", "debian:12"},
        {"docker.io/library/debian", "debian:latest"},
        {"docker.io/a/b:c", "a/b:c"},
        {"localhost/x:y", "localhost/x:y"},
        {"reg.example:5000/a/b", "reg.example:5000/a/b:latest"},
        {"a__b/c-d--e.f", "a__b/c-d--e.f:latest"},
        {"", NULL},
        {"Debian", NULL},
        {"a:", NULL},
        {"a:b:c", NULL},
        {"a/", NULL},
        {"/a", NULL},
        {"a//b", NULL},
        {"../a", NULL},
        {"a/../b", NULL},
        {"-a", NULL},
        {"a___b", NULL},
        {"a..b", NULL},
        {"a:-x", NULL},
        {"a@sha256:00", NULL},
        {"a b", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *canonical = NULL;
        int r = image_name_parse(cases[i].name, &canonical, NULL);
        if ((r == 0) != (cases[i].canonical != NULL))
            fail_msg("\"%s\" is %s", cases[i].name, r == 0 ? "taken" : "refused");
        if (r == 0)
            assert_string_equal(canonical, cases[i].canonical);
    }
}

static void test_digests(void **state)
{
    char digest[DIGEST_LEN + 1];
    (void)state;
    assert_true(digest_valid(DIGEST));
    assert_false(digest_valid("sha256:../../../../../../../../../../etc/passwd"));
    assert_false(digest_valid(DIGEST "0"));
    assert_false(
        digest_valid("sha256:ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB"));
    assert_true(digest_from_name(digest_hex(DIGEST), "", digest));
    assert_false(digest_from_name("abc.erofs", ".erofs", digest));
}

static int parse(const char *text, const char *type, struct manifest *m, struct error *err)
{
    return manifest_parse(text, strlen(text), type, "it", m, err);
}

static void test_manifests(void **state)
{
    static const struct {
        const char *text, *type, *message; /* message NULL: taken */
    } cases[] = {
        {"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[]}", MANIFEST, NULL},
        {"{\"schemaVersion\":2,\"manifests\":[]}", INDEX, NULL},
        {"{\"schemaVersion\":2,\"manifests\":[]}", MANIFEST, "is an index but claims to be"},
        {"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[]}", INDEX, "is a manifest but"},
        {"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[],\"manifests\":[]}", NULL,
         "layers and manifests at once"},
        {"{\"schemaVersion\":2,\"config\":" CONFIG ",\"manifests\":[]}", NULL, "at once"},
        {"{\"schemaVersion\":2}", NULL, "neither layers nor manifests"},
        {"{\"schemaVersion\":1,\"manifests\":[]}", NULL, "schemaVersion"},
        {"{\"schemaVersion\":2,\"layers\":[]}", NULL, "no object"},
        {"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[{\"digest\":\"" DIGEST
         "\",\"size\":-1}]}",
         NULL, "valid size"},
        {"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[{\"digest\":\"" DIGEST
         "\",\"size\":1,\"mediaType\":\"x\"}]}",
         NULL, "unknown type"},
        {"{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"sha256:../x\",\"size\":1}]}", NULL,
         "valid sha256 digest"},
        {"[]", NULL, "no JSON object"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        struct manifest m;
        int r = parse(cases[i].text, cases[i].type, &m, &err);
        if ((r == 0) != (cases[i].message == NULL))
            fail_msg("%s: %s", cases[i].text, err.msg);
        if (r == 0)
            manifest_done(&m);
        else if (!strstr(err.msg, cases[i].message))
            fail_msg("%s: %s", cases[i].text, err.msg);
    }
}

static void test_choose(void **state)
{
    static char host[64];
    struct manifest_descriptor items[] = {
        {.os = (char *)"linux", .architecture = (char *)"other"},
        {.os = (char *)"unknown", .architecture = (char *)"unknown"},
        {.os = (char *)"linux", .architecture = host, .variant = (char *)"v3"},
        {.os = (char *)"linux", .architecture = host},
    };
    struct manifest index = {.index = true, .items = items, .n_items = 4};
    const struct manifest_descriptor *chosen = NULL;
    struct error err = ERROR_INIT;
    (void)state;
    snprintf(host, sizeof(host), "%s", platform_host_architecture());
    assert_int_equal(manifest_choose(&index, &chosen, &err), 0);
    assert_ptr_equal(chosen, &items[3]);
    index.n_items = 2;
    assert_int_equal(manifest_choose(&index, &chosen, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "linux/other"));
}

static void test_config(void **state)
{
    char *const changes[] = {
        (char *)"CMD [\"a\",\"b c\"]", (char *)"entrypoint run it",
        (char *)"ENV A=1 B=\"2 3\"",   (char *)"ENV A=9",
        (char *)"EXPOSE 80 53/udp",    (char *)"LABEL k=v proa.secret=1",
        (char *)"USER 10:20",          (char *)"VOLUME /data /more",
        (char *)"WORKDIR /w",          (char *)"STOPSIGNAL SIGINT",
        (char *)"ENV OLD some words",  NULL,
    };
    struct image_config_new n = {.diff_id = DIGEST, .message = "m", .changes = changes};
    _cleanup_(image_config_done) struct image_config c = {0};
    _cleanup_free_ char *json = NULL;
    (void)state;
    assert_int_equal(image_config_make(&n, &json, NULL), 0);
    assert_int_equal(image_config_parse(json, strlen(json), &c, NULL), 0);
    _cleanup_free_ char *cmd = strv_join(c.cmd, "|"), *entrypoint = strv_join(c.entrypoint, "|");
    _cleanup_free_ char *env = strv_join(c.env, "|"), *ports = strv_join(c.exposed_ports, "|");
    _cleanup_free_ char *volumes = strv_join(c.volumes, "|"), *labels = strv_join(c.labels, "|");
    assert_string_equal(cmd, "a|b c");
    assert_string_equal(entrypoint, "/bin/sh|-c|run it");
    assert_string_equal(env, "A=9|B=2 3|OLD=some words");
    assert_string_equal(ports, "80/tcp|53/udp");
    assert_string_equal(volumes, "/data|/more");
    assert_string_equal(labels, "k=v"); /* the reserved one is not an image's to set */
    assert_string_equal(c.user, "10:20");
    assert_string_equal(c.working_dir, "/w");
    assert_string_equal(c.stop_signal, "SIGINT");
    assert_string_equal(c.diff_ids[0], DIGEST);
}

/* What Docker leaves empty is null; what it noted of a container goes; the rest stays. */
static void test_commit(void **state)
{
    static const char parent[] =
        "{\"architecture\":\"arm64\",\"variant\":\"v8\",\"os\":\"linux\",\"container\":\"x\","
        "\"config\":{\"Env\":null,\"Labels\":null,\"Cmd\":[\"old\"],\"Healthcheck\":{\"Test\":[]}},"
        "\"history\":null,\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" DIGEST "\"]}}";
    static const char *const changes[] = {"ENV A=1", "LABEL k=v", "CMD [\"new\"]", NULL};
    struct image_config_new n = {.parent = parent,
                                 .diff_id = DIGEST,
                                 .created_by = "sh",
                                 .author = "me",
                                 .message = "why",
                                 .changes = (char *const *)changes};
    _cleanup_(image_config_done) struct image_config c = {0};
    _cleanup_(image_history_done) struct image_history h = {0};
    _cleanup_free_ char *json = NULL, *bad = NULL;
    (void)state;
    assert_int_equal(image_config_make(&n, &json, NULL), 0);
    assert_int_equal(image_config_parse(json, strlen(json), &c, NULL), 0);
    assert_int_equal(strv_len(c.diff_ids), 2);
    assert_string_equal(c.architecture, "arm64");
    assert_string_equal(c.env[0], "A=1");
    assert_string_equal(c.labels[0], "k=v");
    assert_string_equal(c.cmd[0], "new");
    assert_non_null(strstr(json, "Healthcheck"));
    assert_null(strstr(json, "container"));
    assert_int_equal(image_history_parse(json, strlen(json), &h, NULL), 0);
    assert_int_equal(h.n_steps, 1);
    assert_string_equal(h.steps[0].created_by, "sh");
    assert_string_equal(h.steps[0].author, "me");
    assert_string_equal(h.steps[0].comment, "why");
    n.parent = "{\"os\":\"linux\"}";
    assert_true(image_config_make(&n, &bad, NULL) < 0);
    n.parent = "{\"architecture\":\"a\",\"os\":\"linux\",\"history\":\"x\",\"rootfs\":{\"type\":"
               "\"layers\"}}";
    assert_true(image_config_make(&n, &bad, NULL) < 0);
}

static void test_bad_changes(void **state)
{
    static const char *const bad[] = {
        "",           "RUN x",   "CMD",         "ENV",       "ENV A",    "EXPOSE 0",    "EXPOSE x",
        "EXPOSE 1/x", "LABEL =", "VOLUME data", "ENV A=\"1", "COPY a b", "EXPOSE 65536"};
    _cleanup_json_ json_t *settings = json_object();
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct error err = ERROR_INIT;
        if (image_change_apply(settings, bad[i], &err) == 0)
            fail_msg("\"%s\" is taken", bad[i]);
        assert_int_equal(err.kind, ERROR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),     cmocka_unit_test(test_digests),
        cmocka_unit_test(test_manifests), cmocka_unit_test(test_choose),
        cmocka_unit_test(test_config),    cmocka_unit_test(test_bad_changes),
        cmocka_unit_test(test_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
