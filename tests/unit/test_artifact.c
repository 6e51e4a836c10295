/* Manifests and indexes as a registry reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "wire/image/artifact.h"
#include "wire/serve/name.h"

#define HEX      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST   "sha256:" HEX
#define MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define INDEX    "application/vnd.oci.image.index.v1+json"
#define BLOB     "{\"mediaType\":\"a/b\",\"digest\":\"" DIGEST "\",\"size\":5}"
#define FAR                                                                                        \
    "{\"mediaType\":\"application/vnd.oci.image.layer.nondistributable.v1.tar\",\"digest\":"       \
    "\"" DIGEST "\",\"size\":5}"
#define URLS "{\"mediaType\":\"a/b\",\"digest\":\"" DIGEST "\",\"size\":5,\"urls\":[\"x\"]}"

static int parse(const char *text, const char *type, struct artifact *ret, struct error *err)
{
    return artifact_parse(text, strlen(text), type, serve_digest_ok, ret, err);
}

static void test_manifest(void **state)
{
    struct artifact a = {0};
    (void)state;
    assert_int_equal(parse("{\"schemaVersion\":2,\"config\":" BLOB ",\"layers\":[" BLOB "," FAR
                           "," URLS "],\"subject\":" BLOB ",\"annotations\":{\"k\":\"v\"}}",
                           NULL, &a, NULL),
                     0);
    assert_false(a.index);
    assert_string_equal(a.media_type, MANIFEST);
    assert_string_equal(a.artifact_type, "a/b");
    assert_string_equal(a.subject, DIGEST);
    assert_string_equal(a.annotations, "{\"k\":\"v\"}");
    assert_int_equal(a.n_needs, 2); /* the configuration and the layer that is here */
    assert_false(a.needs[0].manifest);
    assert_int_equal(a.needs[1].size, 5);
    artifact_done(&a);
}

static void test_index(void **state)
{
    struct artifact a = {0};
    (void)state;
    assert_int_equal(parse("{\"schemaVersion\":2,\"mediaType\":\"" INDEX
                           "\",\"artifactType\":\"x/y\",\"manifests\":[" BLOB "]}",
                           INDEX, &a, NULL),
                     0);
    assert_true(a.index);
    assert_string_equal(a.artifact_type, "x/y");
    assert_int_equal(a.n_needs, 1);
    assert_true(a.needs[0].manifest);
    assert_null(a.subject);
    artifact_done(&a);
}

static void test_what_is_refused(void **state)
{
    static const struct {
        const char *text, *type, *say;
    } cases[] = {
        {"", NULL, "not valid JSON"},
        {"[]", NULL, "no JSON object"},
        {"{\"schemaVersion\":2}", NULL, "neither"},
        {"{\"schemaVersion\":1,\"layers\":[]}", NULL, "schemaVersion"},
        {"{\"schemaVersion\":2,\"layers\":[],\"manifests\":[]}", NULL, "at once"},
        {"{\"schemaVersion\":2,\"layers\":[]}", NULL, "no object"},
        {"{\"schemaVersion\":2,\"config\":" BLOB ",\"layers\":[1]}", NULL, "no object"},
        {"{\"schemaVersion\":2,\"config\":" BLOB ",\"layers\":{}}", NULL, "layers"},
        {"{\"schemaVersion\":2,\"config\":" BLOB "}", INDEX, "no index"},
        {"{\"schemaVersion\":2,\"manifests\":[]}", MANIFEST, "is an index"},
        {"{\"schemaVersion\":2,\"manifests\":[]}", "a/b", "not kept"},
        {"{\"schemaVersion\":2,\"manifests\":[],\"mediaType\":\"" MANIFEST "\"}", INDEX,
         "announced"},
        {"{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"sha256:x\",\"size\":1}]}", NULL,
         "valid digest"},
        {"{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"" DIGEST "\"}]}", NULL, "valid size"},
        {"{\"schemaVersion\":2,\"manifests\":[],\"subject\":{\"digest\":\"x\",\"size\":1}}", NULL,
         "valid digest"},
        {"{\"schemaVersion\":2,\"manifests\":[],\"annotations\":[]}", NULL, "annotations"},
    };
    struct artifact a;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        assert_true(parse(cases[i].text, cases[i].type, &a, &err) < 0);
        if (!strstr(err.msg, cases[i].say))
            fail_msg("%s: %s", cases[i].text, err.msg);
    }
}

/* A small text can be a large document: it is counted before it is parsed. */
static void test_many_values(void **state)
{
    size_t n = ARTIFACT_MAX_VALUES;
    struct error err = ERROR_INIT;
    struct artifact a;
    (void)state;
    _cleanup_free_ char *text = xcalloc(3 * n + 100, 1);
    char *p = text + snprintf(text, 100, "{\"schemaVersion\":2,\"manifests\":[],\"x\":[");
    for (size_t i = 0; i < n; i++) {
        memcpy(p, "{},", 3);
        p += 3;
    }
    memcpy(p - 1, "]}", 2);
    assert_true(parse(text, NULL, &a, &err) < 0);
    assert_int_equal(err.kind, ERROR_LIMIT);
    /* Inside a string they are only characters. */
    memset(p - 3 * n, ',', 3 * n);
    p[-3 * (ptrdiff_t)n - 1] = '"';
    p[-3 * (ptrdiff_t)n - 2] = ':';
    memcpy(p - 2, "\"}", 2);
    text[p - text] = '\0';
    char *key = strstr(text, "\"x\":");
    memcpy(key, "\"\":", 3);
    key[3] = '"';
    key[4] = ',';
    error_clear(&err);
    assert_int_equal(parse(text, NULL, &a, &err), 0);
    artifact_done(&a);
}

static void test_list_of_referrers(void **state)
{
    const struct artifact_entry entries[] = {
        {MANIFEST, DIGEST, "x/y", "{\"k\":\"v\"}", 7},
        {INDEX, DIGEST, NULL, NULL, 8},
    };
    struct artifact a = {0};
    (void)state;
    _cleanup_free_ char *text = artifact_index_make(entries, 2);
    assert_non_null(strstr(text, "\"artifactType\":\"x/y\",\"annotations\":{\"k\":\"v\"}"));
    assert_int_equal(parse(text, INDEX, &a, NULL), 0);
    assert_int_equal(a.n_needs, 2);
    assert_int_equal(a.needs[1].size, 8);
    artifact_done(&a);
    _cleanup_free_ char *none = artifact_index_make(NULL, 0);
    assert_non_null(strstr(none, "\"manifests\":[]"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifest),          cmocka_unit_test(test_index),
        cmocka_unit_test(test_what_is_refused),   cmocka_unit_test(test_many_values),
        cmocka_unit_test(test_list_of_referrers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
