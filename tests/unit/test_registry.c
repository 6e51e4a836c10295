/* References, challenges, token answers, links, base64. */
#include "check.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "wire/registry/auth.h"
#include "wire/registry/link.h"
#include "wire/registry/reference.h"

#define DIGEST "sha256:abababababababababababababababababababababababababababababababab"

static void assert_text(const char *got, const char *wanted)
{
    if (!wanted)
        assert_null(got);
    else
        assert_string_equal(got ? got : "(null)", wanted);
}

static void test_references(void **state)
{
    static const struct {
        const char *text, *registry, *repository, *tag, *digest, *store;
    } cases[] = {
        {"debian", NULL, "debian", NULL, NULL, "debian"},
        {"a/b:1", NULL, "a/b", "1", NULL, "a/b:1"},
        {"docker.io/debian:12", "docker.io", "library/debian", "12", NULL, "debian:12"},
        {"index.docker.io/a/b", "docker.io", "a/b", NULL, NULL, "a/b"},
        {"docker.io/library/debian", "docker.io", "library/debian", NULL, NULL, "debian"},
        {"docker.io/a.b/c", "docker.io", "a.b/c", NULL, NULL, "docker.io/a.b/c"},
        {"docker.io/localhost/c", "docker.io", "localhost/c", NULL, NULL, "docker.io/localhost/c"},
        {"localhost/x", "localhost", "x", NULL, NULL, "localhost/x"},
        {"localhost:5000/x/y:z", "localhost:5000", "x/y", "z", NULL, "localhost:5000/x/y:z"},
        {"r.example/x@" DIGEST, "r.example", "x", NULL, DIGEST, "r.example/x"},
        {"r.example/x:t@" DIGEST, "r.example", "x", "t", DIGEST, "r.example/x:t"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(reference_done) struct reference r = {0};
        assert_int_equal(reference_parse(cases[i].text, &r, NULL), 0);
        assert_text(r.registry, cases[i].registry);
        assert_text(r.repository, cases[i].repository);
        assert_text(r.tag, cases[i].tag);
        assert_text(r.digest, cases[i].digest);
        _cleanup_free_ char *store = reference_store_name(&r, r.tag);
        assert_text(store, cases[i].store);
    }
}

static void test_bad_references(void **state)
{
    static const char *const cases[] = {"",
                                        ":x",
                                        "A/b",
                                        "r.example/",
                                        "r.example/x:",
                                        "r.example/x@sha256:00",
                                        "x@" DIGEST "0",
                                        "r.example:/x",
                                        "r.example:80a/x",
                                        "r.exa mple/x",
                                        "-r.example/x",
                                        "r.example/x y",
                                        "r.example/../x",
                                        "r.example/x?y",
                                        "r.example/%2e",
                                        "http://r.example/x",
                                        "user@r.example/x"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(reference_done) struct reference r = {0};
        struct error err = ERROR_INIT;
        if (reference_parse(cases[i], &r, &err) == 0)
            fail_msg("\"%s\" is taken", cases[i]);
        assert_int_equal(err.kind, ERROR_INVALID);
    }
}

static void test_challenges(void **state)
{
    static const struct {
        const char *header;
        bool basic, bearer;
        const char *realm, *service, *scope, *reason;
    } cases[] = {
        {"Basic realm=\"x\"", true, false, NULL, NULL, NULL, NULL},
        {"Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:a:pull,push\"", false, true,
         "https://a/t", "s", "repository:a:pull,push", NULL},
        {"bearer realm=\"q\\\"q\" , error=insufficient_scope", false, true, "q\"q", NULL, NULL,
         "insufficient_scope"},
        {"Basic realm=\"x\", Bearer realm=\"y\"", true, true, "y", NULL, NULL, NULL},
        {"Bearer realm=\"y\", Basic realm=\"x\"", true, true, "y", NULL, NULL, NULL},
        {"Bearer realm=\"y\", Bearer realm=\"z\", service=s", false, true, "y", NULL, NULL, NULL},
        {"Negotiate YWJj==, Bearer realm=y", false, true, "y", NULL, NULL, NULL},
        {"Negotiate", false, false, NULL, NULL, NULL, NULL},
        {"", false, false, NULL, NULL, NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(auth_challenge_done) struct auth_challenge c = {0};
        if (auth_challenge_add(&c, cases[i].header, NULL) < 0)
            fail_msg("%s: refused", cases[i].header);
        assert_int_equal(c.basic, cases[i].basic);
        assert_int_equal(c.bearer, cases[i].bearer);
        assert_text(c.realm, cases[i].realm);
        assert_text(c.service, cases[i].service);
        assert_text(c.scope, cases[i].scope);
        assert_text(c.reason, cases[i].reason);
    }
}

static void test_bad_challenges(void **state)
{
    static const char *const cases[] = {"Bearer realm=\"x", "Bearer realm=\"a\x01\"", "\"x\"",
                                        "Bearer =x", "Bearer realm=\"x\\"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(auth_challenge_done) struct auth_challenge c = {0};
        if (auth_challenge_add(&c, cases[i], NULL) == 0)
            fail_msg("%s: taken", cases[i]);
    }
    _cleanup_(auth_challenge_done) struct auth_challenge c = {0};
    _cleanup_free_ char *large = xcalloc(AUTH_CHALLENGE_MAX + 2, 1);
    memset(large, 'a', AUTH_CHALLENGE_MAX + 1);
    assert_int_equal(auth_challenge_add(&c, large, NULL), -EBADMSG);
}

static void test_tokens(void **state)
{
    static const struct {
        const char *text, *token; /* NULL: refused */
    } cases[] = {
        {"{\"token\":\"abc\"}", "abc"},
        {"{\"access_token\":\"abc\",\"expires_in\":60}", "abc"},
        {"{\"token\":\"a\",\"access_token\":\"b\"}", "a"},
        {"{\"token\":\"\"}", NULL},
        {"{}", NULL},
        {"[]", NULL},
        {"", NULL},
        {"{\"token\":1}", NULL},
        {"{\"token\":\"a\\r\\nX-Evil: 1\"}", NULL},
        {"{\"token\":\"a b\"}", NULL},
        {"{\"token\":\"\\u00e4\"}", NULL},
        {"{\"token\":\"a\",\"token\":\"b\"}", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *token = NULL;
        int r = auth_token_parse(cases[i].text, strlen(cases[i].text), &token, NULL);
        if ((r == 0) != (cases[i].token != NULL))
            fail_msg("%s: %s", cases[i].text, r == 0 ? "taken" : "refused");
        assert_text(token, cases[i].token);
    }
    _cleanup_free_ char *large = xcalloc(AUTH_TOKEN_MAX + 2, 1);
    _cleanup_free_ char *token = NULL;
    memset(large, ' ', AUTH_TOKEN_MAX + 1);
    assert_int_equal(auth_token_parse(large, AUTH_TOKEN_MAX + 1, &token, NULL), -EFBIG);
}

static void test_links(void **state)
{
    static const struct {
        const char *header, *next;
    } cases[] = {
        {"</v2/a/tags/list?last=b&n=1>; rel=\"next\"", "/v2/a/tags/list?last=b&n=1"},
        {"<a>; rel=prev, <b>; rel=next", "b"},
        {"<a>; title=\"x, <c>; rel=next\", <b>; rel=next", "b"},
        {"<a>", NULL},
        {"<a", NULL},
        {"", NULL},
        {"<a>; rel=\"nex\"", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *next = link_next(cases[i].header);
        assert_text(next, cases[i].next);
    }
}

static void test_base64(void **state)
{
    static const struct {
        const char *text, *code;
    } cases[] = {{"", ""},
                 {"f", "Zg=="},
                 {"fo", "Zm8="},
                 {"foo", "Zm9v"},
                 {"foob", "Zm9vYg=="},
                 {"fooba", "Zm9vYmE="},
                 {"\xff\xfe", "//4="}};
    static const char *const bad[] = {"Z", "Zg=a", "Z g=", "====", "Zm9v\n", "Zg-_"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *code = base64_encode(cases[i].text, strlen(cases[i].text));
        _cleanup_free_ char *text = NULL;
        size_t len;
        assert_string_equal(code, cases[i].code);
        assert_int_equal(base64_decode(code, &text, &len), 0);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(len, strlen(cases[i].text));
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_free_ char *text = NULL;
        size_t len;
        if (base64_decode(bad[i], &text, &len) == 0)
            fail_msg("\"%s\" is taken", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_references), cmocka_unit_test(test_bad_references),
        cmocka_unit_test(test_challenges), cmocka_unit_test(test_bad_challenges),
        cmocka_unit_test(test_tokens),     cmocka_unit_test(test_links),
        cmocka_unit_test(test_base64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
