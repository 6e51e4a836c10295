#include "check.h"

#include <string.h>

#include "base/macro.h"
#include "base/sha256.h"
#include "base/text.h"

static void hash(const char *data, size_t len, size_t step, char out[static 65])
{
    struct sha256 h;
    unsigned char digest[SHA256_SIZE];
    sha256_init(&h);
    for (size_t i = 0; i < len; i += step)
        sha256_add(&h, data + i, MIN(step, len - i));
    sha256_end(&h, digest);
    hex_encode(digest, sizeof(digest), out);
}

/* FIPS 180-4's own examples, and lengths around the block's. */
static void test_known(void **state)
{
    static const struct {
        const char *text, *digest;
    } known[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    char out[65];
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        hash(known[i].text, strlen(known[i].text), 1, out);
        assert_string_equal(out, known[i].digest);
        hash(known[i].text, strlen(known[i].text), 1000, out);
        assert_string_equal(out, known[i].digest);
    }
}

static void test_million(void **state)
{
    static char text[1000000];
    char out[65];
    (void)state;
    memset(text, 'a', sizeof(text));
    for (size_t step = 1; step <= sizeof(text); step = step * 7 + 60) {
        hash(text, sizeof(text), step, out);
        assert_string_equal(out,
                            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
}

static void test_split(void **state)
{
    struct sha256 a, b;
    unsigned char x[SHA256_SIZE], y[SHA256_SIZE];
    (void)state;
    sha256_init(&a);
    sha256_init(&b);
    sha256_add_text(&a, "ab");
    sha256_add_text(&a, "c");
    sha256_add_text(&b, "a");
    sha256_add_text(&b, "bc");
    sha256_end(&a, x);
    sha256_end(&b, y);
    assert_memory_not_equal(x, y, sizeof(x));
    sha256_init(&a);
    sha256_init(&b);
    sha256_add_text(&a, NULL);
    sha256_add_text(&b, "");
    sha256_end(&a, x);
    sha256_end(&b, y);
    assert_memory_not_equal(x, y, sizeof(x));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known), cmocka_unit_test(test_million),
                                       cmocka_unit_test(test_split)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
