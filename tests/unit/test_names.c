/* What proa-names is told, as text and back; and what its keeper takes for a request of the relay.
 */
#include "check.h"

#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "service/names/names-internal.h"

static void test_told_and_understood(_unused_ void **state)
{
    char *one[] = {(char *)"example.com", (char *)"*.example.org", NULL},
         *two[] = {(char *)"a.b", NULL};
    struct policy_domains lists[] = {{17, one}, {4000000000, two}};
    struct names_config c = {.table = "proa-policy-0badcafe",
                             .n_addresses = 2,
                             .lists = lists,
                             .n_lists = 2},
                        back;
    assert_int_equal(policy_address_parse("10.1.0.2", &c.addresses[0]), 0);
    assert_int_equal(policy_address_parse("fd00::2", &c.addresses[1]), 0);
    char *text = names_config_text(&c);
    assert_string_equal(text, "table proa-policy-0badcafe\n"
                              "address 10.1.0.2\naddress fd00::2\n"
                              "list 17 example.com *.example.org\nlist 4000000000 a.b\n");
    assert_int_equal(names_config_parse(text, &back), 0);
    assert_string_equal(back.table, c.table);
    assert_int_equal(back.n_addresses, 2);
    assert_int_equal(back.n_lists, 2);
    assert_int_equal(back.lists[1].id, 4000000000);
    assert_string_equal(back.lists[0].patterns[1], "*.example.org");
    char *again = names_config_text(&back);
    assert_string_equal(text, again);
    free(text);
    free(again);
    names_config_done(&back);
}

static void test_what_is_not_understood(_unused_ void **state)
{
    static const char *const bad[] = {
        "",
        "table proa-policy\nlist 1 a.b\n", /* of nobody */
        "address 10.1.0.2\n",              /* in no table */
        "table filter\naddress 10.1.0.2\n",
        "table proa-policy x\naddress 10.1.0.2\n",
        "table proa-policy-0123456789abcdef01234567\naddress 10.1.0.2\n",
        "table proa-policy\naddress 10.1.0.2 x\n",
        "table proa-policy\naddress 10.1.0.256\n",
        "table proa-policy\naddress 10.1.0.2\nlist 1\n",
        "table proa-policy\naddress 10.1.0.2\nlist x a.b\n",
        "table proa-policy\naddress 10.1.0.2\nlist 4294967296 a.b\n",
        "table proa-policy\naddress 10.1.0.2\nlist 1 A.b\n",
        "table proa-policy\naddress 10.1.0.2\nlist 1 *.b\n",
        "table proa-policy\naddress 10.1.0.2\nelse\n",
    };
    struct names_config c;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(names_config_parse(bad[i], &c), -EINVAL);
}

/* A keeper of a list that the kernel does not have: whatever it would learn fails there. */
static struct keeper *keeper_of(const char *pattern)
{
    _cleanup_free_ char *text =
        xasprintf("table proa-policy\naddress 10.1.0.2\nlist 4294967295 %s\n", pattern);
    struct names_config c;
    struct keeper *k = NULL;
    assert_int_equal(names_config_parse(text, &c), 0);
    assert_int_equal(keeper_new(&c, "127.0.0.1:1", &k), 0);
    return k;
}

static int answer(struct keeper *k, const struct names_request *q, size_t len)
{
    int fd = 0, r = keeper_answer(k, q, len, &fd);
    assert_true(fd < 0 || q->kind == NAMES_CONNECT);
    if (fd >= 0)
        close(fd);
    return r;
}

static void test_requests_that_are_none(_unused_ void **state)
{
    static const struct names_request good = {.kind = NAMES_LEARN, .n = 1, .name = "www.a.com"};
    if (geteuid() != 0) /* the kernel tells nobody else what it has */
        skip();
    struct keeper *k = keeper_of("*.a.com");
    struct names_request q = good;
    assert_int_equal(answer(k, &q, sizeof(q)), NAMES_DONE); /* 0.0.0.0: nothing to learn */
    assert_int_equal(answer(k, &q, sizeof(q) - 1), -EBADMSG);
    assert_int_equal(answer(k, &q, 0), -EBADMSG);
    q.kind = 0;
    assert_int_equal(answer(k, &q, sizeof(q)), -EBADMSG);
    q.kind = NAMES_CONNECT; /* with an address */
    assert_int_equal(answer(k, &q, sizeof(q)), -EBADMSG);
    q.kind = NAMES_CONNECT + 1;
    q.n = 0;
    assert_int_equal(answer(k, &q, sizeof(q)), -EBADMSG);
    q = good;
    q.n = NAMES_AT_ONCE + 1;
    assert_int_equal(answer(k, &q, sizeof(q)), -EBADMSG);
    q = good;
    q.list[0].v6 = 2;
    assert_int_equal(answer(k, &q, sizeof(q)), -EBADMSG);
    q = good;
    memset(q.name, 'a', sizeof(q.name)); /* without an end */
    assert_int_equal(answer(k, &q, sizeof(q)), -EBADMSG);
    static const char *const bad[] = {"", "a", "WWW.a.com", "*.a.com", "www.a.com.", "a b.a.com"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        q = good;
        memset(q.name, 0, sizeof(q.name));
        memcpy(q.name, bad[i], strlen(bad[i]));
        assert_int_equal(answer(k, &q, sizeof(q)), -EBADMSG);
    }
}

static void test_what_is_learned(_unused_ void **state)
{
    static const struct {
        uint8_t v6, bytes[16];
        bool outside;
    } cases[] = {
        {0, {127, 0, 0, 1}, false},
        {0, {169, 254, 169, 254}, false},
        {0, {100, 100, 100, 200}, false},
        {0, {239, 1, 2, 3}, false},
        {0, {192, 0, 2, 1}, true},
        {1, {[15] = 1}, false},
        {1, {[10] = 0xff, 0xff, 192, 0, 2, 1}, false},
        {1, {0xfe, 0x80, [15] = 1}, false},
        {1, {0xfd, 0, 0xe, 0xc2, [14] = 2, 0x54}, false},
    };
    if (geteuid() != 0)
        skip();
    struct keeper *k = keeper_of("*.a.com");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct names_request q = {.kind = NAMES_LEARN, .n = 1, .name = "www.a.com"};
        q.list[0].v6 = cases[i].v6;
        memcpy(q.list[0].bytes, cases[i].bytes, sizeof(q.list[0].bytes));
        assert_int_equal(answer(k, &q, sizeof(q)), cases[i].outside ? NAMES_FAILED : NAMES_DONE);
        memcpy(q.name, "a.com\0\0\0\0", 9); /* nobody's */
        assert_int_equal(answer(k, &q, sizeof(q)), NAMES_DONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told_and_understood),
        cmocka_unit_test(test_what_is_not_understood),
        cmocka_unit_test(test_requests_that_are_none),
        cmocka_unit_test(test_what_is_learned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
