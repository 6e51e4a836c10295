/* What proa-names is told, as text and back. */
#include "check.h"

#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "service/names/names.h"

static void test_told_and_understood(_unused_ void **state)
{
    char *one[] = {(char *)"example.com", (char *)"*.example.org", NULL},
         *two[] = {(char *)"a.b", NULL};
    struct policy_domains lists[] = {{17, one}, {4000000000, two}};
    struct names_config c = {.n_addresses = 2, .lists = lists, .n_lists = 2}, back;
    assert_int_equal(policy_address_parse("10.1.0.2", &c.addresses[0]), 0);
    assert_int_equal(policy_address_parse("fd00::2", &c.addresses[1]), 0);
    char *text = names_config_text(&c);
    assert_string_equal(text, "address 10.1.0.2\naddress fd00::2\n"
                              "list 17 example.com *.example.org\nlist 4000000000 a.b\n");
    assert_int_equal(names_config_parse(text, &back), 0);
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
        "list 1 a.b\n", /* of nobody */
        "address 10.1.0.2 x\n",
        "address 10.1.0.256\n",
        "address 10.1.0.2\nlist 1\n",
        "address 10.1.0.2\nlist x a.b\n",
        "address 10.1.0.2\nlist 4294967296 a.b\n",
        "address 10.1.0.2\nlist 1 A.b\n",
        "address 10.1.0.2\nlist 1 *.b\n",
        "address 10.1.0.2\nelse\n",
    };
    struct names_config c;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(names_config_parse(bad[i], &c), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told_and_understood),
        cmocka_unit_test(test_what_is_not_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
