/* What a policy lets in, against a registry of this test's own and the real proa-trust. */
#include "check.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/program.h"
#include "base/strv.h"
#include "service/trust/trust.h"
#include "wire/sign/manifest.h"
#include "wire/sign/payload.h"

#define A     "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B     "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define NAME  "r.example/team/web:1"
#define LAYER "application/vnd.dev.cosign.simplesigning.v1+json"
#define ANNOT "dev.cosignproject.cosign/signature"

/* The registry: names with texts. */
struct document {
    char *name, *text;
};
struct fake {
    struct document documents[16];
    size_t n;
    unsigned int requests;
    struct error broken; /* what every request fails with, when its code is set */
};

static struct document *find(struct fake *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->documents[i].name, name) == 0)
            return &f->documents[i];
    return NULL;
}

static void put(struct fake *f, const char *name, const char *text)
{
    struct document *d = find(f, name);
    if (!d)
        d = &f->documents[f->n++];
    assert_true(f->n <= ARRAY_SIZE(f->documents));
    xreplace(&d->name, name);
    xreplace(&d->text, text);
}

static int get(struct fake *f, const char *name, char **ret, size_t *ret_len, struct error *err)
{
    struct document *d = find(f, name);
    f->requests++;
    if (f->broken.code)
        return error_set(err, f->broken.kind, f->broken.code, "%s", f->broken.msg);
    *ret = d ? xstrdup(d->text) : NULL;
    *ret_len = d ? strlen(d->text) : 0;
    return 0;
}

static int get_manifest(void *context, const char *reference, char **ret, size_t *ret_len,
                        struct error *err)
{
    return get(context, reference, ret, ret_len, err);
}

static int get_blob(void *context, const char *digest, uint64_t size, char **ret, size_t *ret_len,
                    struct error *err)
{
    (void)size;
    int r = get(context, digest, ret, ret_len, err);
    return r == 0 && !*ret ? error_set(err, ERROR_NOT_FOUND, ENOENT, "there is no such blob") : r;
}

static int put_blob(void *context, const char *digest, const char *text, struct error *err)
{
    (void)err;
    put(context, digest, text);
    return 0;
}

static int put_manifest(void *context, const char *tag, const char *type, const char *text,
                        struct error *err)
{
    (void)err;
    assert_string_equal(type, SIGN_MANIFEST_TYPE);
    put(context, tag, text);
    return 0;
}

struct world {
    char *dir, *policy;
    struct trust_key key, other;
    struct fake fake;
    struct trust_registry registry;
};

static void write_text(const struct world *w, const char *name, const char *text)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", w->dir, name);
    assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600), 0);
}

static void make_key(struct world *w, const char *type, const char *name, struct trust_key *ret)
{
    _cleanup_free_ char *public = NULL;
    assert_int_equal(trust_generate(type, NULL, &ret->pem, &public, NULL), 0);
    write_text(w, name, public);
}

static int setup(void **state)
{
    struct world *w = xnew(struct world);
    char template[] = "/tmp/proa-test-trust-XXXXXX";
    w->dir = xstrdup(mkdtemp(template));
    w->policy = xasprintf("%s/policy.json", w->dir);
    w->registry = (struct trust_registry){get_manifest, get_blob, put_blob, put_manifest, &w->fake};
    program_set_directory(getenv("PROA_BUILD"));
    make_key(w, "ecdsa-p256", "a.pub", &w->key);
    make_key(w, "ed25519", "b.pub", &w->other);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"a.pub", "b.pub", "bad.pub", "policy.json"};
    struct world *w = *state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_free_ char *path = xasprintf("%s/%s", w->dir, names[i]);
        unlink(path);
    }
    rmdir(w->dir);
    for (size_t i = 0; i < w->fake.n; i++) {
        free(w->fake.documents[i].name);
        free(w->fake.documents[i].text);
    }
    trust_key_done(&w->key);
    trust_key_done(&w->other);
    free(w->dir);
    free(w->policy);
    free(w);
    return 0;
}

static void set_policy(struct world *w, const char *requirements)
{
    _cleanup_free_ char *text = xasprintf("{\"default\":%s}", requirements);
    write_text(w, "policy.json", text);
}

/* Requires a signature by the key of that file. */
static void require_key(struct world *w, const char *file, const char *identity)
{
    _cleanup_free_ char *text =
        xasprintf("[{\"type\":\"sigstoreSigned\",\"keyPath\":\"%s/%s\"%s%s%s}]", w->dir, file,
                  identity ? ",\"signedIdentity\":{\"type\":\"" : "", identity ? identity : "",
                  identity ? "\"}" : "");
    set_policy(w, text);
}

static int ask(struct world *w, const char *name, const char *digest, const char *index,
               struct error *err)
{
    _cleanup_trust_ struct trust *t = NULL;
    _cleanup_(reference_done) struct reference r = {0};
    int e = trust_open(w->policy, &t, err);
    if (e < 0)
        return e;
    assert_int_equal(reference_parse(name, &r, NULL), 0);
    const struct trust_image image = {&r, {digest, index}};
    return trust_check(t, &image, &w->registry, err);
}

static void expect(struct world *w, const char *name, const char *why)
{
    struct error err = ERROR_INIT;
    int r = ask(w, name, A, NULL, &err);
    if (!why) {
        assert_string_equal(err.msg, "");
        assert_int_equal(r, 0);
        return;
    }
    assert_true(r < 0);
    if (!strstr(err.msg, why))
        fail_msg("\"%s\" has no \"%s\"", err.msg, why);
    assert_null(strchr(err.msg, '\n'));
}

static void sign(struct world *w, const struct trust_key *key, const char *identity,
                 const char *digest, const char *beside)
{
    _cleanup_(trust_signature_done) struct trust_signature s = {0};
    assert_int_equal(trust_sign(key, identity, digest, &s, NULL), 0);
    assert_int_equal(trust_attach(&w->registry, beside, &s, NULL), 0);
}

static void test_no_policy_accepts(void **state)
{
    _cleanup_trust_ struct trust *t = NULL;
    (void)state;
    if (access(TRUST_DEFAULT_FILE, F_OK) == 0)
        fail_msg("this host has a policy of its own: %s", TRUST_DEFAULT_FILE);
    assert_int_equal(trust_open(NULL, &t, NULL), 0);
    assert_null(t->file);
    assert_int_equal(t->policy.rules[0].requirements[0].type, TRUST_ACCEPT);
}

static void test_policies_that_cannot_be_used(void **state)
{
    struct world *w = *state;
    expect(w, NAME, "read the policy");
    set_policy(w, "[{\"type\":\"acceptEverything\"}]");
    expect(w, NAME, "\"acceptEverything\" is not known");
    set_policy(w, "[{\"type\":\"signedBy\",\"keyType\":\"GPGKeys\",\"keyPath\":\"/x\"}]");
    expect(w, NAME, "signedBy, which Proa does not know");
    require_key(w, "absent.pub", NULL);
    expect(w, NAME, "read the key");
    sign(w, &w->key, NAME, A, A);
    write_text(w, "bad.pub", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    require_key(w, "bad.pub", NULL);
    expect(w, NAME, "it is no public key");
    assert_int_equal(w->fake.n, 3);
}

static void test_reject_and_digest(void **state)
{
    struct world *w = *state;
    set_policy(w, "[{\"type\":\"reject\"}]");
    expect(w, NAME, "it is rejected");
    set_policy(w, "[{\"type\":\"requireDigest\"}]");
    expect(w, NAME, "named by its digest");
    expect(w, "r.example/team/web@" A, NULL);
    set_policy(w, "[{\"type\":\"requireDigest\"},{\"type\":\"reject\"}]");
    expect(w, "r.example/team/web@" A, "it is rejected");
    assert_int_equal(w->fake.requests, 0);
}

static void test_signatures(void **state)
{
    struct world *w = *state;
    require_key(w, "a.pub", NULL);
    expect(w, NAME, "it has no signature");
    sign(w, &w->other, NAME, A, A);
    expect(w, NAME, "signed with another key");
    sign(w, &w->key, NAME, B, A);
    expect(w, NAME, "another manifest");
    sign(w, &w->key, "r.example/team/other:1", A, A);
    expect(w, NAME, "what is signed is r.example/team/other:1");
    sign(w, &w->key, "r.example/team/web:2", A, A);
    expect(w, NAME, "none of 4 signatures will do; of the last, what is signed is");
    expect(w, "r.example/team/web@" A, NULL);
    require_key(w, "a.pub", "matchRepository");
    expect(w, NAME, NULL);
    require_key(w, "a.pub", "matchExact");
    expect(w, NAME, "none of 4");
    sign(w, &w->key, NAME, A, A);
    expect(w, NAME, NULL);
    require_key(w, "b.pub", NULL);
    expect(w, NAME, NULL);
}

static void test_the_index_may_be_signed(void **state)
{
    struct world *w = *state;
    struct error err = ERROR_INIT;
    require_key(w, "a.pub", NULL);
    sign(w, &w->key, NAME, B, B);
    assert_int_equal(ask(w, NAME, A, B, &err), 0);
    assert_int_equal(ask(w, NAME, B, A, &err), 0);
    assert_int_equal(ask(w, NAME, A, NULL, &err), -EACCES);
}

/* The manifest of signatures with one text replaced by another. */
static void tamper(struct world *w, const char *from, const char *to)
{
    _cleanup_free_ char *tag = sign_tag(A);
    const char *old = find(&w->fake, tag)->text, *at = strstr(old, from);
    assert_non_null(at);
    _cleanup_free_ char *text = xasprintf("%.*s%s%s", (int)(at - old), old, to, at + strlen(from));
    put(&w->fake, tag, text);
}

static void test_tampered(void **state)
{
    static const struct {
        const char *from, *to, *why;
    } cases[] = {
        {ANNOT "\":\"", ANNOT "\":\"!", "no base64"},
        {ANNOT "\":\"", ANNOT "\":\"AAAA", "another key"},
        {ANNOT "\":\"", ANNOT "\":7,\"x\":\"", "must be a string"},
        {ANNOT, "other", "without a signature"},
        {"\"size\":", "\"size\":1", "not as long"},
        {"\"size\":", "\"size\":1000000", "is too large"},
        {"\"digest\":\"sha256:", "\"digest\":\"sha256:/../", "without a valid sha256 digest"},
        {"\"layers\":", "\"layers\":[],\"layers\":", "duplicate"},
        {"\"schemaVersion\":2", "\"schemaVersion\":1", "no OCI image manifest"},
    };
    struct world *w = *state;
    require_key(w, "a.pub", NULL);
    sign(w, &w->key, NAME, A, A);
    _cleanup_free_ char *tag = sign_tag(A), *whole = xstrdup(find(&w->fake, tag)->text);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        put(&w->fake, tag, whole);
        expect(w, NAME, NULL);
        tamper(w, cases[i].from, cases[i].to);
        expect(w, NAME, cases[i].why);
    }
}

static void test_hostile_manifests(void **state)
{
    struct world *w = *state;
    _cleanup_free_ char *tag = sign_tag(A);
    _cleanup_buf_ struct buf many = BUF_INIT(8u << 20);
    require_key(w, "a.pub", NULL);
    assert_int_equal(buf_add_str(&many, "{\"schemaVersion\":2,\"layers\":["), 0);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(buf_add_str(&many, i ? ",{}" : "{}"), 0);
    assert_int_equal(buf_add_str(&many, "]}"), 0);
    put(&w->fake, tag, many.data);
    expect(w, NAME, "10000 are too many");
    assert_int_equal(w->fake.requests, 1);
    _cleanup_free_ char *huge = xcalloc(SIGN_MANIFEST_MAX_BYTES + 2, 1);
    memset(huge, ' ', SIGN_MANIFEST_MAX_BYTES + 1);
    put(&w->fake, tag, huge);
    expect(w, NAME, "larger than");
    put(&w->fake, tag,
        "{\"schemaVersion\":2,\"layers\":[{\"mediaType\":\"" LAYER "\",\"digest\":\"" A
        "\",\"size\":4000000000}]}");
    expect(w, NAME, "is too large");
    put(&w->fake, tag,
        "{\"schemaVersion\":2,\"layers\":[{\"mediaType\":\"" LAYER "\",\"digest\":\"" A
        "\",\"size\":4,\"annotations\":{\"" ANNOT "\":\"AAAA\"}}]}");
    expect(w, NAME, "no such blob");
    put(&w->fake, A, "x");
    expect(w, NAME, "not as long");
}

/* Signed by the right key, but not what a signature of an image is. */
static void test_signed_nonsense(void **state)
{
    struct world *w = *state;
    _cleanup_(trust_signature_done) struct trust_signature s = {0};
    require_key(w, "a.pub", NULL);
    assert_int_equal(trust_sign(&w->key, "no name at all", A, &s, NULL), 0);
    assert_int_equal(trust_attach(&w->registry, A, &s, NULL), 0);
    expect(w, NAME, "what is signed is no name at all");
}

static void test_a_broken_network_refuses(void **state)
{
    struct world *w = *state;
    struct error err = ERROR_INIT;
    require_key(w, "a.pub", NULL);
    sign(w, &w->key, NAME, A, A);
    error_set(&w->fake.broken, ERROR_SYSTEM, ECONNREFUSED, "the connection was refused");
    assert_int_equal(ask(w, NAME, A, NULL, &err), -ECONNREFUSED);
    assert_int_equal(err.kind, ERROR_SYSTEM);
}

static void test_local(void **state)
{
    struct world *w = *state;
    struct store s = {.policy = w->policy};
    struct error err = ERROR_INIT;
    write_text(w, "policy.json",
               "{\"default\":[{\"type\":\"reject\"}],\"transports\":{\"oci\":{\"/srv\":"
               "[{\"type\":\"insecureAcceptAnything\"}]},\"tarball\":{\"\":[{\"type\":"
               "\"sigstoreSigned\",\"keyPath\":\"/k\"}]}}}");
    assert_int_equal(trust_check_local(&s, TRUST_TRANSPORT_OCI_DIR, "/srv/x", &err), 0);
    assert_int_equal(trust_check_local(&s, TRUST_TRANSPORT_OCI_DIR, "/srvx", &err), -EACCES);
    assert_int_equal(trust_check_local(&s, TRUST_TRANSPORT_ARCHIVE, NULL, &err), -EACCES);
    assert_non_null(strstr(err.msg, "(default): it is rejected"));
    assert_int_equal(trust_check_local(&s, TRUST_TRANSPORT_TAR, NULL, &err), -EACCES);
    assert_non_null(strstr(err.msg, "no archive can be"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_no_policy_accepts),        TEST(test_policies_that_cannot_be_used),
        TEST(test_reject_and_digest),        TEST(test_signatures),
        TEST(test_the_index_may_be_signed),  TEST(test_tampered),
        TEST(test_hostile_manifests),        TEST(test_signed_nonsense),
        TEST(test_a_broken_network_refuses), TEST(test_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
