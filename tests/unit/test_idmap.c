/* kernel/idmap: what /etc/subuid gives whom. */
#include "check.h"

#include <string.h>

#include "kernel/idmap.h"

static struct ns_id_map maps[IDMAP_MAX];

static void check(size_t i, uint32_t inside, uint32_t outside, uint32_t size)
{
    assert_int_equal(maps[i].inside, inside);
    assert_int_equal(maps[i].outside, outside);
    assert_int_equal(maps[i].size, size);
}

static void by_name_and_by_number(void **state)
{
    static const char text[] =
        "other:100000:65536\nsomeone:200000:1000\n5000:300000:10\nsome:1:1\n";
    (void)state;
    assert_int_equal(idmap_parse(text, "someone", 5000, 5000, maps), 3);
    check(0, 0, 5000, 1);
    check(1, 1, 200000, 1000);
    check(2, 1001, 300000, 10);
    assert_int_equal(idmap_parse(text, NULL, 5000, 5000, maps), 2);
    check(1, 1, 300000, 10);
}

static void nothing_for_this_user(void **state)
{
    (void)state;
    assert_int_equal(idmap_parse("", "someone", 5000, 5001, maps), 1);
    check(0, 0, 5001, 1);
    assert_int_equal(idmap_parse("other:1:2", "someone", 5000, 5000, maps), 1);
}

static void lines_that_are_none(void **state)
{
    static const char text[] =
        "someone\nsomeone:1\nsomeone:x:1\nsomeone:1:0\nsomeone:4294967295:2\n"
        "someone:1:2:3\n#someone:1:2\nsomeone:-1:5\nsomeone:7:5";
    (void)state;
    assert_int_equal(idmap_parse(text, "someone", 5000, 5000, maps), 2);
    check(1, 1, 7, 5);
}

static void no_more_than_there_are_numbers(void **state)
{
    char text[IDMAP_MAX * 32 + 64] = "someone:1:4294967200\nsomeone:1:200\n";
    (void)state;
    assert_int_equal(idmap_parse(text, "someone", 5000, 5000, maps), 2);
    text[0] = '\0';
    for (size_t i = 0; i < IDMAP_MAX + 8; i++)
        snprintf(text + strlen(text), 32, "someone:%zu:1\n", 1000 + i);
    assert_int_equal(idmap_parse(text, "someone", 5000, 5000, maps), IDMAP_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_name_and_by_number),
        cmocka_unit_test(nothing_for_this_user),
        cmocka_unit_test(lines_that_are_none),
        cmocka_unit_test(no_more_than_there_are_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
