/* Policies, signed texts, manifests of signatures. */
#include "check.h"

#include "base/alloc.h"
#include "base/strv.h"
#include "wire/sign/manifest.h"
#include "wire/sign/payload.h"
#include "wire/sign/policy.h"

#define HEX       "abababababababababababababababababababababababababababababababab"
#define DIGEST    "sha256:" HEX
#define ACCEPT    "[{\"type\":\"insecureAcceptAnything\"}]"
#define REJECT    "[{\"type\":\"reject\"}]"
#define DOCKER(x) "{\"default\":" REJECT ",\"transports\":{\"docker\":{" x "}}}"
#define SIGNED(x) "{\"default\":[{\"type\":\"sigstoreSigned\"," x "}]}"

static int parse(const char *text, struct trust_policy *p, struct error *err)
{
    return trust_policy_parse(text, strlen(text), "policy", p, err);
}

static char *rule_of(const struct trust_policy *p, const char *name)
{
    _cleanup_(reference_done) struct reference r = {0};
    assert_int_equal(reference_parse(name, &r, NULL), 0);
    _cleanup_strv_ char **scopes = trust_scopes_of_reference(&r);
    const struct trust_rule *rule = trust_policy_find(p, TRUST_TRANSPORT_REGISTRY, scopes);
    return xstrdup(rule->scope ? rule->scope : "(default)");
}

static void test_most_specific_scope(void **state)
{
    static const char text[] =
        DOCKER("\"docker.io/team\":" ACCEPT ",\"docker.io/team/a\":" ACCEPT
               ",\"docker.io/team/a:2\":" ACCEPT ",\"docker.io/team/a@" DIGEST "\":" ACCEPT
               ",\"r.example.com:5000\":" ACCEPT ",\"*.com\":" ACCEPT ",\"*.example.com\":" ACCEPT
               ",\"localhost\":" ACCEPT);
    static const struct {
        const char *name, *scope;
    } cases[] = {
        {"docker.io/team/b", "docker.io/team"},
        {"docker.io/teams/b", "(default)"},
        {"docker.io/team/a/b/c:1", "docker.io/team/a"},
        {"docker.io/team/a:1", "docker.io/team/a"},
        {"docker.io/team/a:2", "docker.io/team/a:2"},
        {"docker.io/team/a:2@" DIGEST, "docker.io/team/a@" DIGEST},
        {"docker.io/debian", "(default)"},
        {"r.example.com:5000/x", "r.example.com:5000"},
        {"r.example.com:5001/x", "*.example.com"},
        {"r.example.com/x", "*.example.com"},
        {"R.Example.COM/x", "*.example.com"},
        {"r.example.com.:5000/x", "r.example.com:5000"},
        {"example.com/x", "*.com"},
        {"example.net/x", "(default)"},
        {"localhost/x", "localhost"},
        {"localhost:1/x", "(default)"},
    };
    _cleanup_(trust_policy_done) struct trust_policy p = {0};
    struct error err = ERROR_INIT;
    (void)state;
    int r = parse(text, &p, &err);
    assert_string_equal(err.msg, "");
    assert_int_equal(r, 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *scope = rule_of(&p, cases[i].name);
        assert_string_equal(scope, cases[i].scope);
    }
}

static void test_transports(void **state)
{
    static const char text[] =
        "{\"default\":" REJECT ",\"transports\":{\"oci\":{\"/srv/a\":" REJECT ",\"\":" ACCEPT "},"
        "\"docker-archive\":{\"\":" ACCEPT "},\"docker-daemon\":{\"x:y\":" ACCEPT "}}}";
    static const struct {
        const char *transport, *path;
        enum trust_requirement_type type;
    } cases[] = {
        {"oci", "/srv/a", TRUST_REJECT},         {"oci", "/srv//a/./b", TRUST_REJECT},
        {"oci", "/srv/ab", TRUST_ACCEPT},        {"oci", "/x/../srv/a/c", TRUST_REJECT},
        {"docker-archive", NULL, TRUST_ACCEPT},  {"tarball", NULL, TRUST_REJECT},
        {"oci-archive", "/x.tar", TRUST_REJECT},
    };
    _cleanup_(trust_policy_done) struct trust_policy p = {0};
    (void)state;
    assert_int_equal(parse(text, &p, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_strv_ char **scopes = cases[i].path ? trust_scopes_of_path(cases[i].path) : NULL;
        const struct trust_rule *rule = trust_policy_find(&p, cases[i].transport, scopes);
        assert_int_equal(rule->requirements[0].type, cases[i].type);
    }
}

static void test_requirements(void **state)
{
    static const char text[] =
        "{\"default\":[{\"type\":\"requireDigest\"},{\"type\":\"sigstoreSigned\",\"keyPaths\":"
        "[\"/a\",\"/b\"]},{\"type\":\"sigstoreSigned\",\"keyData\":\"QUJD\",\"signedIdentity\":"
        "{\"type\":\"matchRepository\"}},{\"type\":\"signedBy\",\"keyType\":\"GPGKeys\","
        "\"keyPath\":\"/g\"},{\"type\":\"sigstoreSigned\",\"fulcio\":{}}]}";
    _cleanup_(trust_policy_done) struct trust_policy p = {0};
    (void)state;
    assert_int_equal(parse(text, &p, NULL), 0);
    assert_int_equal(p.n_rules, 1);
    const struct trust_requirement *q = p.rules[0].requirements;
    assert_int_equal(p.rules[0].n_requirements, 5);
    assert_int_equal(q[0].type, TRUST_DIGEST);
    assert_int_equal(q[1].type, TRUST_SIGNED);
    assert_string_equal(q[1].key_paths[1], "/b");
    assert_int_equal(q[1].identity.type, TRUST_MATCH_REPOSITORY_DIGEST_OR_EXACT);
    assert_string_equal(q[2].keys[0], "ABC");
    assert_int_equal(q[2].identity.type, TRUST_MATCH_REPOSITORY);
    assert_int_equal(q[3].type, TRUST_UNSUPPORTED);
    assert_string_equal(q[4].word, "sigstoreSigned with fulcio");
}

static void test_refused_policies(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "not valid JSON"},
        {"[]", "must be an object"},
        {"{}", "1 to 16 requirements"},
        {"{\"default\":[]}", "1 to 16 requirements"},
        {"{\"default\":" REJECT ",\"default\":" ACCEPT "}", "duplicate"},
        {"{\"default\":" REJECT ",\"defaults\":1}", "\"defaults\" is not known"},
        {"{\"default\":[{\"type\":\"rejekt\"}]}", "\"rejekt\" is not known"},
        {"{\"default\":[{}]}", "is not known"},
        {"{\"default\":[\"reject\"]}", "must be an object"},
        {"{\"default\":[{\"type\":\"reject\",\"keyPath\":\"/a\"}]}", "\"keyPath\" is not known"},
        {SIGNED("\"keyPath\":\"a.pub\""), "not absolute"},
        {SIGNED("\"keyPath\":7"), "must be a string"},
        {SIGNED("\"keyPaths\":[]"), "exactly one of"},
        {SIGNED("\"keyPath\":\"/a\",\"keyData\":\"QUJD\""), "exactly one of"},
        {SIGNED("\"keyData\":\"?\""), "no base64"},
        {SIGNED("\"keyPath\":\"/a\",\"signedIdentity\":{\"type\":\"matchAny\"}"),
         "\"matchAny\" is not known"},
        {SIGNED("\"keyPath\":\"/a\",\"signedIdentity\":{\"type\":\"exactReference\"}"),
         "needs \"dockerReference\""},
        {SIGNED("\"keyPath\":\"/a\",\"signedIdentity\":{\"type\":\"exactReference\","
                "\"dockerReference\":\"a.b/c\"}"),
         "must name a tag"},
        {SIGNED("\"keyPath\":\"/a\",\"signedIdentity\":{\"type\":\"exactRepository\","
                "\"dockerRepository\":\"a.b/c:1\"}"),
         "must name a repository"},
        {SIGNED("\"keyPath\":\"/a\",\"signedIdentity\":{\"type\":\"matchExact\",\"prefix\":\"\"}"),
         "\"prefix\" is not known"},
        {"{\"default\":" REJECT ",\"transports\":{\"dokcer\":{}}}", "\"dokcer\" is not known"},
        {DOCKER("\"debian\":" ACCEPT), "begin with the registry"},
        {DOCKER("\"team/debian\":" ACCEPT), "begin with the registry"},
        {DOCKER("\"https://r.example\":" ACCEPT), "no image name"},
        {DOCKER("\"*.example.com/x\":" ACCEPT), "a domain and nothing else"},
        {DOCKER("\"R.example\":" ACCEPT), "small letters"},
        {DOCKER("\"r.example\":{}"), "1 to 16 requirements"},
        {"{\"default\":" REJECT ",\"transports\":{\"tarball\":{\"/a\":" ACCEPT "}}}",
         "knows no scopes"},
        {"{\"default\":" REJECT ",\"transports\":{\"oci\":{\"a\":" ACCEPT "}}}",
         "must be absolute"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct trust_policy p = {0};
        struct error err = ERROR_INIT;
        assert_true(parse(cases[i].text, &p, &err) < 0);
        if (!strstr(err.msg, cases[i].why))
            fail_msg("%s: \"%s\" has no \"%s\"", cases[i].text, err.msg, cases[i].why);
        assert_null(strchr(err.msg, '\n'));
    }
}

static void test_identities(void **state)
{
    static const struct {
        enum trust_identity_type type;
        const char *value, *prefix, *image, *claimed;
        bool matches;
    } cases[] = {
        {TRUST_MATCH_REPOSITORY_DIGEST_OR_EXACT, NULL, NULL, "a.b/c:1", "a.b/c:1", true},
        {TRUST_MATCH_REPOSITORY_DIGEST_OR_EXACT, NULL, NULL, "a.b/c:1", "a.b/c:2", false},
        {TRUST_MATCH_REPOSITORY_DIGEST_OR_EXACT, NULL, NULL, "a.b/c:1", "a.b/d:1", false},
        {TRUST_MATCH_REPOSITORY_DIGEST_OR_EXACT, NULL, NULL, "a.b/c:1", "a.b/c", false},
        {TRUST_MATCH_REPOSITORY_DIGEST_OR_EXACT, NULL, NULL, "a.b/c@" DIGEST, "a.b/c:2", true},
        {TRUST_MATCH_REPOSITORY_DIGEST_OR_EXACT, NULL, NULL, "a.b/c@" DIGEST, "a.b/c", false},
        {TRUST_MATCH_REPOSITORY_DIGEST_OR_EXACT, NULL, NULL, "a.b/c@" DIGEST, "a.b/d:2", false},
        {TRUST_MATCH_REPOSITORY_DIGEST_OR_EXACT, NULL, NULL, "docker.io/debian:1", "debian:1",
         true},
        {TRUST_MATCH_REPOSITORY_DIGEST_OR_EXACT, NULL, NULL, "a.b/c:1", "", false},
        {TRUST_MATCH_EXACT, NULL, NULL, "a.b/c:1", "a.b/c:1", true},
        {TRUST_MATCH_EXACT, NULL, NULL, "a.b/c", "a.b/c", false},
        {TRUST_MATCH_EXACT, NULL, NULL, "a.b/c@" DIGEST, "a.b/c:1", false},
        {TRUST_MATCH_REPOSITORY, NULL, NULL, "a.b/c:1", "a.b/c", true},
        {TRUST_MATCH_REPOSITORY, NULL, NULL, "a.b/c:1", "a.b/c/d", false},
        {TRUST_EXACT_REFERENCE, "x.y/z:9", NULL, "a.b/c:1", "x.y/z:9", true},
        {TRUST_EXACT_REFERENCE, "x.y/z:9", NULL, "a.b/c:1", "x.y/z:8", false},
        {TRUST_EXACT_REPOSITORY, "x.y/z", NULL, "a.b/c:1", "x.y/z:8", true},
        {TRUST_EXACT_REPOSITORY, "x.y/z", NULL, "a.b/c:1", "a.b/c:1", false},
        {TRUST_REMAP_IDENTITY, "a.b", "x.y/hub", "a.b/c:1", "x.y/hub/c:1", true},
        {TRUST_REMAP_IDENTITY, "a.b", "x.y/hub", "a.b/c:1", "a.b/c:1", false},
        {TRUST_REMAP_IDENTITY, "a.b/c", "x.y/z", "a.b/cd:1", "a.b/cd:1", true},
        {TRUST_REMAP_IDENTITY, "a.b/c", "x.y/z", "a.b/c@" DIGEST, "x.y/z:7", true},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(reference_done) struct reference image = {0};
        _cleanup_free_ char *value = xstrdup(cases[i].value), *prefix = xstrdup(cases[i].prefix);
        struct trust_identity identity = {cases[i].type, value, prefix};
        assert_int_equal(reference_parse(cases[i].image, &image, NULL), 0);
        if (trust_identity_matches(&identity, &image, cases[i].claimed) != cases[i].matches)
            fail_msg("%s signed as %s, %d", cases[i].image, cases[i].claimed, cases[i].type);
    }
}

#define CRITICAL(type, image, identity)                                                            \
    "{\"critical\":{\"type\":\"" type "\",\"image\":{" image "},\"identity\":{" identity "}}"
#define TYPE     "cosign container image signature"
#define IMAGE    "\"docker-manifest-digest\":\"" DIGEST "\""
#define IDENTITY "\"docker-reference\":\"a.b/c:1\""

static void test_payloads(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {CRITICAL(TYPE, IMAGE, IDENTITY) "}", true},
        {CRITICAL(TYPE, IMAGE, IDENTITY) ",\"optional\":null}", true},
        {CRITICAL(TYPE, IMAGE, IDENTITY) ",\"optional\":{\"a\":1}}", true},
        {CRITICAL(TYPE, IMAGE, IDENTITY) ",\"optional\":7}", false},
        {CRITICAL(TYPE, IMAGE, IDENTITY) ",\"critical\":{}}", false},
        {CRITICAL(TYPE, IMAGE, IDENTITY) ",\"more\":1}", false},
        {CRITICAL("atomic container signature", IMAGE, IDENTITY) "}", false},
        {CRITICAL(TYPE, IMAGE "," IMAGE, IDENTITY) "}", false},
        {CRITICAL(TYPE, IMAGE ",\"expires\":1", IDENTITY) "}", false},
        {CRITICAL(TYPE, "", IDENTITY) "}", false},
        {CRITICAL(TYPE, "\"docker-manifest-digest\":\"sha256:00\"", IDENTITY) "}", false},
        {CRITICAL(TYPE, IMAGE, "\"docker-reference\":7") "}", false},
        {CRITICAL(TYPE, IMAGE, IDENTITY) "} x", false},
        {"[]", false},
        {"", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(sign_payload_done) struct sign_payload p = {0};
        if ((sign_payload_parse(cases[i].text, strlen(cases[i].text), &p, NULL) == 0) !=
            cases[i].good)
            fail_msg("%s", cases[i].text);
    }
    _cleanup_(sign_payload_done) struct sign_payload p = {0};
    _cleanup_free_ char *made = sign_payload_make("a.b/c:1", DIGEST);
    assert_int_equal(sign_payload_parse(made, strlen(made), &p, NULL), 0);
    assert_string_equal(p.reference, "a.b/c:1");
    assert_string_equal(p.digest, DIGEST);

    _cleanup_free_ char *huge = xcalloc(SIGN_PAYLOAD_MAX_BYTES + 2, 1);
    memset(huge, ' ', SIGN_PAYLOAD_MAX_BYTES + 1);
    memcpy(huge, made, strlen(made));
    assert_int_equal(sign_payload_parse(huge, SIGN_PAYLOAD_MAX_BYTES + 1, &p, NULL), -EFBIG);
}

#define LAYER(size)                                                                                \
    "{\"mediaType\":\"application/vnd.dev.cosign.simplesigning.v1+json\",\"digest\":\"" DIGEST     \
    "\",\"size\":" size ",\"annotations\":{\"dev.cosignproject.cosign/signature\":\"AAAA\"}}"

static void test_manifests(void **state)
{
    static const struct {
        const char *text;
        int entries; /* -1: refused */
    } cases[] = {
        {"{\"schemaVersion\":2,\"layers\":[]}", 0},
        {"{\"schemaVersion\":2,\"layers\":[" LAYER("9") "]}", 1},
        {"{\"schemaVersion\":2,\"layers\":[{\"mediaType\":\"x\"}," LAYER("9") "]}", 1},
        {"{\"schemaVersion\":2,\"layers\":[" LAYER("65537") "]}", -1},
        {"{\"schemaVersion\":2,\"layers\":[" LAYER("-1") "]}", -1},
        {"{\"schemaVersion\":2,\"layers\":[7]}", -1},
        {"{\"schemaVersion\":2,\"layers\":[],\"manifests\":[]}", -1},
        {"{\"schemaVersion\":2,\"layers\":[],\"layers\":[]}", -1},
        {"{\"schemaVersion\":1,\"layers\":[]}", -1},
        {"{\"schemaVersion\":2,\"mediaType\":\"x\",\"layers\":[]}", -1},
        {"{\"schemaVersion\":2}", -1},
        {"[]", -1},
        {"", -1},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(sign_manifest_done) struct sign_manifest m = {0};
        int r = sign_manifest_parse(cases[i].text, strlen(cases[i].text), &m, NULL);
        if ((r < 0 ? -1 : (int)m.n_entries) != cases[i].entries)
            fail_msg("%s: %d, %zu", cases[i].text, r, m.n_entries);
    }
}

static void test_adding_signatures(void **state)
{
    char digest[] = DIGEST, signature[] = "AAAA";
    const struct sign_entry entry = {digest, 5, signature};
    _cleanup_free_ char *old = NULL;
    struct error err = ERROR_INIT;
    (void)state;
    for (size_t n = 1; n <= SIGN_SIGNATURES_MAX + 1; n++) {
        _cleanup_(sign_manifest_done) struct sign_manifest m = {0};
        _cleanup_free_ char *config = NULL, *made = NULL;
        size_t len = old ? strlen(old) : 0;
        assert_int_equal(sign_config_make(old, len, DIGEST, &config, &err), 0);
        int r = sign_manifest_make(old, len, &entry, config, DIGEST, &made, &err);
        if (n > SIGN_SIGNATURES_MAX) {
            assert_int_equal(r, -EFBIG);
            break;
        }
        assert_int_equal(r, 0);
        assert_int_equal(sign_manifest_parse(made, strlen(made), &m, &err), 0);
        assert_int_equal(m.n_entries, n);
        assert_string_equal(m.entries[n - 1].signature, "AAAA");
        free(old);
        old = TAKE_PTR(made);
    }
    _cleanup_free_ char *tag = sign_tag(DIGEST);
    assert_string_equal(tag, "sha256-" HEX ".sig");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_most_specific_scope), cmocka_unit_test(test_transports),
        cmocka_unit_test(test_requirements),        cmocka_unit_test(test_refused_policies),
        cmocka_unit_test(test_identities),          cmocka_unit_test(test_payloads),
        cmocka_unit_test(test_manifests),           cmocka_unit_test(test_adding_signatures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
