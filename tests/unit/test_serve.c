/* The words of the distribution API: names, addresses, ranges, and the messages about them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "wire/serve/message.h"
#include "wire/serve/range.h"
#include "wire/serve/route.h"

#define HEX64  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define SHA256 "sha256:" HEX64
#define SHA512 "sha512:" HEX64 HEX64
#define ID     "0123456789abcdef0123456789abcdef"

static void test_names(void **state)
{
    static const char *const good[] = {"a", "a/b", "a.b_c__d---e/1", "localhost/x", "0"};
    static const char *const bad[] = {"",      "A",   "a/",  "/a",   "a//b", "a..b",
                                      "a___b", "-a",  "a-",  "a._b", "../a", "a/../b",
                                      "a b",   "a\n", "a:1", "a%2f", "."};
    char long_name[300];
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_true(serve_repository_ok(good[i]));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(serve_repository_ok(bad[i]));
    memset(long_name, 'a', sizeof(long_name));
    long_name[256] = '\0';
    assert_false(serve_repository_ok(long_name));
    long_name[255] = '\0';
    assert_true(serve_repository_ok(long_name));
    assert_true(serve_tag_ok("_A.b-c"));
    assert_false(serve_tag_ok(".a"));
    assert_false(serve_tag_ok("a/b"));
    assert_string_equal(serve_digest_algorithm(SHA256), "sha256");
    assert_string_equal(serve_digest_algorithm(SHA512), "sha512");
    assert_null(serve_digest_algorithm("sha256:" HEX64 "0"));
    assert_null(serve_digest_algorithm("sha512:" HEX64));
    assert_null(serve_digest_algorithm("sha256:baddigeststring"));
    assert_null(
        serve_digest_algorithm("sha256:../../../../../../../../../../../../../../../../../../etc"));
    assert_false(serve_type_ok("a\r\nb: c"));
}

static void test_routes(void **state)
{
    static const struct {
        const char *path;
        enum serve_problem problem;
        enum serve_route_kind kind;
        const char *repository, *reference;
    } cases[] = {
        {"/v2/", PROBLEM_NONE, ROUTE_ROOT, "", ""},
        {"/v2", PROBLEM_NONE, ROUTE_ROOT, "", ""},
        {"/token", PROBLEM_NONE, ROUTE_TOKEN, "", ""},
        {"/v2/_catalog", PROBLEM_NONE, ROUTE_CATALOG, "", ""},
        {"/v2/a/b/tags/list", PROBLEM_NONE, ROUTE_TAGS, "a/b", ""},
        {"/v2/a/manifests/latest", PROBLEM_NONE, ROUTE_MANIFEST, "a", "latest"},
        {"/v2/a/manifests/" SHA512, PROBLEM_NONE, ROUTE_MANIFEST, "a", SHA512},
        {"/v2/manifests/blobs/manifests/x", PROBLEM_NONE, ROUTE_MANIFEST, "manifests/blobs", "x"},
        {"/v2/a/blobs/" SHA256, PROBLEM_NONE, ROUTE_BLOB, "a", SHA256},
        {"/v2/a/blobs/uploads/", PROBLEM_NONE, ROUTE_UPLOADS, "a", ""},
        {"/v2/a/blobs/uploads", PROBLEM_NONE, ROUTE_UPLOADS, "a", ""},
        {"/v2/a/blobs/uploads/" ID, PROBLEM_NONE, ROUTE_UPLOAD, "a", ID},
        {"/v2/a/referrers/" SHA256, PROBLEM_NONE, ROUTE_REFERRERS, "a", SHA256},
        {"/v2/a/blobs/uploads/x", PROBLEM_UPLOAD_UNKNOWN, ROUTE_UPLOAD, "a", NULL},
        {"/v2/a/blobs/sha256:bad", PROBLEM_DIGEST_INVALID, ROUTE_BLOB, "a", NULL},
        {"/v2/a/manifests/sha256:bad", PROBLEM_DIGEST_INVALID, ROUTE_MANIFEST, "a", NULL},
        {"/v2/a/manifests/.x", PROBLEM_MANIFEST_INVALID, ROUTE_MANIFEST, "a", NULL},
        {"/v2/A/tags/list", PROBLEM_NAME_INVALID, ROUTE_TAGS, NULL, NULL},
        {"/v2/a/../b/tags/list", PROBLEM_NAME_INVALID, ROUTE_TAGS, NULL, NULL},
        {"/v2//tags/list", PROBLEM_PATH, ROUTE_TAGS, NULL, NULL},
        {"/v2/tags/list", PROBLEM_PATH, ROUTE_ROOT, NULL, NULL},
        {"/v2/manifests/x", PROBLEM_PATH, ROUTE_ROOT, NULL, NULL},
        {"/v1/a", PROBLEM_PATH, ROUTE_ROOT, NULL, NULL},
        {"", PROBLEM_PATH, ROUTE_ROOT, NULL, NULL},
    };
    struct serve_route r;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(serve_route_parse(cases[i].path, &r), cases[i].problem);
        if (cases[i].problem != PROBLEM_NONE)
            continue;
        assert_int_equal(r.kind, cases[i].kind);
        assert_string_equal(r.repository, cases[i].repository);
        assert_string_equal(r.reference, cases[i].reference);
    }
}

static void test_ranges(void **state)
{
    static const struct {
        const char *header;
        enum serve_range_found found;
        uint64_t start, length;
    } cases[] = {
        {NULL, RANGE_NONE, 0, 0},
        {"bytes=0-0", RANGE_FOUND, 0, 1},
        {"bytes=500-1499", RANGE_FOUND, 500, 1000},
        {"bytes=500-", RANGE_FOUND, 500, 1548},
        {"bytes=-500", RANGE_FOUND, 1548, 500},
        {"bytes=-9999", RANGE_FOUND, 0, 2048},
        {"bytes=2000-5000", RANGE_FOUND, 2000, 48},
        {"bytes=500-0", RANGE_OUTSIDE, 0, 0},
        {"bytes=2048-", RANGE_OUTSIDE, 0, 0},
        {"bytes=-0", RANGE_OUTSIDE, 0, 0},
        {"bytes=0-1,5-6", RANGE_NONE, 0, 0},
        {"lines=0-1", RANGE_NONE, 0, 0},
        {"bytes=", RANGE_NONE, 0, 0},
        {"bytes=-", RANGE_NONE, 0, 0},
        {"bytes=99999999999999999999-", RANGE_NONE, 0, 0},
    };
    struct serve_range r;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(serve_range_parse(cases[i].header, 2048, &r), cases[i].found);
        if (cases[i].found == RANGE_FOUND) {
            assert_int_equal(r.start, cases[i].start);
            assert_int_equal(r.length, cases[i].length);
        }
    }
    assert_int_equal(serve_range_parse("bytes=-1", 0, &r), RANGE_OUTSIDE);
    assert_true(serve_chunk_parse("0-99", &r));
    assert_int_equal(r.length, 100);
    assert_true(serve_chunk_parse("bytes 5-5/10", &r));
    assert_int_equal(r.start, 5);
    assert_true(serve_chunk_parse("5-5/*", &r));
    static const char *const wrong[] = {"",     "5",     "5-",  "-5",   "6-5",
                                        "0-1 ", "0-9/9", "a-b", "0-1/x"};
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_false(serve_chunk_parse(wrong[i], &r));
}

static void test_request_round_trip(void **state)
{
    char *tags[] = {(char *)"one", (char *)"two", NULL};
    struct serve_request out = {.op = SERVE_MANIFEST_PUT,
                                .session = (char *)ID,
                                .repository = (char *)"a/b",
                                .reference = (char *)SHA256,
                                .upload = (char *)ID,
                                .media_type = (char *)"application/json",
                                .tags = tags};
    struct serve_request in = {0};
    (void)state;
    _cleanup_free_ char *text = serve_request_encode(&out);
    assert_int_equal(serve_request_decode(text, strlen(text), &in, NULL), 0);
    assert_int_equal(in.op, SERVE_MANIFEST_PUT);
    assert_string_equal(in.reference, SHA256);
    assert_int_equal(strv_len(in.tags), 2);
    assert_string_equal(in.tags[1], "two");
    serve_request_done(&in);
}

static void test_requests_that_are_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        "[]",
        "{}",
        "{\"op\":\"format-disk\"}",
        "{\"op\":1}",
        /* a member is missing */
        "{\"op\":\"blob-get\",\"repository\":\"a\"}",
        /* one too many, unknown, of another type, in another form */
        "{\"op\":\"blob-get\",\"repository\":\"a\",\"digest\":\"" SHA256 "\",\"from\":\"b\"}",
        "{\"op\":\"check\",\"path\":\"/etc/shadow\"}",
        "{\"op\":\"tags\",\"repository\":1}",
        "{\"op\":\"tags\",\"repository\":null}",
        "{\"op\":\"tags\",\"repository\":\"../a\"}",
        "{\"op\":\"tags\",\"repository\":\"a\",\"count\":-1}",
        "{\"op\":\"blob-get\",\"repository\":\"a\",\"digest\":\"sha256:../../../etc/passwd\"}",
        "{\"op\":\"upload-commit\",\"repository\":\"a\",\"upload\":\"x\",\"digest\":\"" SHA256
        "\"}",
        "{\"op\":\"manifest-put\",\"repository\":\"a\",\"reference\":\"x\",\"upload\":\"" ID
        "\",\"tags\":[\"..\"]}",
        "{\"op\":\"tags\",\"repository\":\"a\",\"repository\":\"b\"}",
    };
    struct serve_request r;
    struct error err;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        error_clear(&err);
        assert_true(serve_request_decode(wrong[i], strlen(wrong[i]), &r, &err) < 0);
        assert_string_not_equal(err.msg, "");
    }
    _cleanup_free_ char *large = xcalloc(1, SERVE_MESSAGE_MAX + 2);
    memset(large, ' ', SERVE_MESSAGE_MAX + 1);
    assert_true(serve_request_decode(large, SERVE_MESSAGE_MAX + 1, &r, &err) < 0);
}

static void test_replies(void **state)
{
    struct serve_reply out = {.problem = PROBLEM_NONE,
                              .digest = (char *)SHA256,
                              .size = 12,
                              .filtered = true,
                              .next = (char *)"x"};
    struct serve_reply in = {0};
    struct error err = ERROR_INIT;
    static const char *const wrong[] = {"{}", "{\"problem\":-1}", "{\"problem\":1000}",
                                        "{\"problem\":0,\"digest\":\"x\"}",
                                        "{\"problem\":0,\"other\":1}"};
    (void)state;
    _cleanup_free_ char *text = serve_reply_encode(&out);
    assert_int_equal(serve_reply_decode(text, strlen(text), &in, NULL), 0);
    assert_string_equal(in.digest, SHA256);
    assert_true(in.filtered);
    serve_reply_done(&in);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_true(serve_reply_decode(wrong[i], strlen(wrong[i]), &in, &err) < 0);
}

/* Every refusal has a status, a code, and a body that is JSON whatever is quoted in it. */
static void test_problems(void **state)
{
    (void)state;
    for (int p = 1; p < PROBLEM_COUNT_; p++) {
        assert_true(serve_problem_status((enum serve_problem)p) >= 400);
        assert_true(strlen(serve_problem_code((enum serve_problem)p)) > 0);
        _cleanup_free_ char *text = serve_problem_json((enum serve_problem)p, "\xff\"");
        assert_non_null(strstr(text, "\"message\""));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_request_round_trip),
        cmocka_unit_test(test_requests_that_are_refused),
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_problems),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
