/* Keys: made, encrypted, used; wrong passphrases, weak and foreign keys. */
#include "check.h"

#include <sodium.h>

#include "base/alloc.h"
#include "wire/sign/key.h"

static const struct key_text hello = {"hello", 5}, other = {"hellO", 5};

static void check_pair(const char *type, const char *passphrase)
{
    _cleanup_free_ char *private = NULL, *public = NULL, *again = NULL, *signature = NULL;
    size_t len = 0;
    bool good = false;
    assert_int_equal(key_generate(type, passphrase, &private, &public, NULL), 0);
    assert_int_equal(strstr(private, passphrase ? KEY_BOX_COSIGN : "BEGIN PRIVATE KEY") != NULL, 1);
    assert_int_equal(key_sign(private, passphrase, hello, &signature, &len, &again, NULL), 0);
    assert_string_equal(public, again);
    struct key_text s = {signature, len};
    assert_int_equal(key_verify(public, hello, s, &good, NULL), 0);
    assert_true(good);
    assert_int_equal(key_verify(public, other, s, &good, NULL), 0);
    assert_false(good);
    s.len--;
    assert_int_equal(key_verify(public, hello, s, &good, NULL), 0);
    assert_false(good);
    s.len = 0;
    assert_int_equal(key_verify(public, hello, s, &good, NULL), 0);
    assert_false(good);
}

static void test_pairs(void **state)
{
    static const char *const types[] = {"ecdsa-p256", "ecdsa-p384", "ed25519"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        check_pair(types[i], NULL);
        check_pair(types[i], "a passphrase");
    }
}

static void test_another_key(void **state)
{
    _cleanup_free_ char *private = NULL, *public = NULL, *foreign = NULL, *unused = NULL;
    _cleanup_free_ char *signature = NULL, *again = NULL;
    size_t len;
    bool good = true;
    (void)state;
    assert_int_equal(key_generate("ecdsa-p256", NULL, &private, &public, NULL), 0);
    assert_int_equal(key_generate("ecdsa-p256", NULL, &unused, &foreign, NULL), 0);
    assert_int_equal(key_sign(private, NULL, hello, &signature, &len, &again, NULL), 0);
    assert_int_equal(key_verify(foreign, hello, (struct key_text){signature, len}, &good, NULL), 0);
    assert_false(good);
}

static void expect_refused(const char *pem, const char *passphrase, const char *why)
{
    _cleanup_free_ char *signature = NULL, *public = NULL;
    size_t len;
    struct error err = ERROR_INIT;
    assert_true(key_sign(pem, passphrase, hello, &signature, &len, &public, &err) < 0);
    if (!strstr(err.msg, why))
        fail_msg("\"%s\" has no \"%s\"", err.msg, why);
}

static void test_passphrases(void **state)
{
    _cleanup_free_ char *private = NULL, *public = NULL;
    (void)state;
    assert_int_equal(key_generate("ed25519", "right", &private, &public, NULL), 0);
    expect_refused(private, NULL, "a passphrase is needed");
    expect_refused(private, "wrong", "the passphrase is wrong");
}

static void test_what_is_no_key(void **state)
{
    /* A curve that is not taken: secp256k1. */
    static const char curve[] = "-----BEGIN PUBLIC KEY-----\n"
                                "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAElaWtR7D2VJBWYO+7q3Inov2+yR9TIKb8\n"
                                "q0LrJEQc95Ju8pPk7xkAT1sVd/ThX9VF4Y7eL9T4mJ2aQYR1dzZukA==\n"
                                "-----END PUBLIC KEY-----\n";
    static const char empty[] = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    static const char *const cases[] = {"", "x", empty};
    bool good;
    struct error err = ERROR_INIT;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(key_verify(cases[i], hello, hello, &good, NULL), -EINVAL);
        expect_refused(cases[i], "x", "private key");
    }
    assert_int_equal(key_verify(curve, hello, hello, &good, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "curve"));
}

static void test_boxes(void **state)
{
    static const char *const cases[] = {
        "",
        "{}",
        "{\"kdf\":{\"name\":\"argon\"}}",
        "{\"kdf\":{\"name\":\"scrypt\",\"params\":{\"N\":1073741824,\"r\":8,\"p\":1},\"salt\":\"\"}"
        ","
        "\"cipher\":{\"name\":\"nacl/secretbox\",\"nonce\":\"\"},\"ciphertext\":\"\"}",
        "{\"kdf\":{\"name\":\"scrypt\",\"params\":{\"N\":1000,\"r\":8,\"p\":1},\"salt\":\"\"},"
        "\"cipher\":{\"name\":\"nacl/secretbox\",\"nonce\":\"\"},\"ciphertext\":\"\"}",
        "{\"kdf\":{\"name\":\"scrypt\",\"params\":{\"N\":1024,\"r\":8,\"p\":1},\"salt\":\"\"},"
        "\"cipher\":{\"name\":\"nacl/secretbox\",\"nonce\":\"AAAA\"},\"ciphertext\":\"AAAA\"}",
    };
    unsigned char *der = NULL;
    size_t len;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(
            key_box_open((struct key_text){cases[i], strlen(cases[i])}, "x", &der, &len, NULL) < 0,
            1);
}

static void test_digest(void **state)
{
    char digest[KEY_DIGEST_SIZE];
    (void)state;
    assert_int_equal(key_digest(hello, digest, NULL), 0);
    assert_string_equal(digest,
                        "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),       cmocka_unit_test(test_another_key),
        cmocka_unit_test(test_passphrases), cmocka_unit_test(test_what_is_no_key),
        cmocka_unit_test(test_boxes),       cmocka_unit_test(test_digest),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
