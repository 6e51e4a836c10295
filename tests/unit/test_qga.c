#include "check.h"

#include <string.h>

#include "base/json.h"
#include "wire/qga/qga.h"

static int parse(const char *line, struct qga_answer *a)
{
    struct error err = ERROR_INIT;
    return qga_parse(line, strlen(line), a, &err);
}

/* An answer that must be parsed. */
static struct qga_answer answer(const char *line)
{
    struct qga_answer a;
    assert_int_equal(parse(line, &a), 0);
    return a;
}

static void test_requests(void **state)
{
    (void)state;
    static char *const argv[] = {(char *)"/bin/echo", (char *)"a b", NULL};
    static char *const bad[] = {(char *)"/bin/echo", (char *)"\xc3(", NULL};
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    assert_int_equal(qga_add_sync(&b, 7), 0);
    assert_string_equal(b.data,
                        "\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":7}}\n");
    buf_reset(&b);
    assert_int_equal(qga_add(&b, "guest-ping", NULL), 0);
    assert_string_equal(b.data, "{\"execute\":\"guest-ping\"}\n");
    buf_reset(&b);
    assert_int_equal(qga_add_exec(&b, argv, true), 0);
    assert_non_null(strstr(b.data, "\"arg\":[\"a b\"]"));
    assert_non_null(strstr(b.data, "\"capture-output\":true"));
    buf_reset(&b);
    assert_true(qga_add_exec(&b, bad, true) < 0);
    assert_int_equal(b.len, 0);
    assert_int_equal(qga_add_write(&b, 1000, "hello", 5), 0);
    assert_non_null(strstr(b.data, "aGVsbG8="));
    buf_reset(&b);
    assert_int_equal(qga_add_read(&b, 1000, (size_t)1 << 30), 0);
    assert_non_null(strstr(b.data, "\"count\":65536"));
}

static void test_lines(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    const char *line;
    size_t len, used;
    bool delimited;
    static const char old[] = "{\"return\": 1\xff{\"return\": 2}\nrest";
    assert_int_equal(qga_line("{\"ret", 5, &line, &len, &delimited, &used, &err), 0);
    assert_int_equal(used, 0);
    assert_int_equal(qga_line(old, sizeof(old) - 1, &line, &len, &delimited, &used, &err), 0);
    assert_true(delimited);
    assert_int_equal(len, 13);
    assert_memory_equal(line, "{\"return\": 2}", 13);
    assert_string_equal(old + used, "rest");
    char *endless = malloc(QGA_LINE_MAX + 1);
    memset(endless, 'x', QGA_LINE_MAX + 1);
    assert_int_equal(qga_line(endless, QGA_LINE_MAX, &line, &len, &delimited, &used, &err), 0);
    assert_int_equal(qga_line(endless, QGA_LINE_MAX + 1, &line, &len, &delimited, &used, &err),
                     -EFBIG);
    free(endless);
}

static void test_what_is_no_answer(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "{}",
                                      "[]",
                                      "3",
                                      "{\"error\": 3}",
                                      "{\"error\": {\"desc\": 3}}",
                                      "{\"return\": {}} x",
                                      "{\"return\": {}, \"return\": 1}"};
    struct qga_answer a;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_true(parse(bad[i], &a) < 0);
    _cleanup_buf_ struct buf deep = BUF_INIT(1 << 20);
    assert_int_equal(buf_add_str(&deep, "{\"return\":"), 0);
    for (size_t i = 0; i < 100000; i++)
        assert_int_equal(buf_add_str(&deep, "["), 0);
    assert_true(parse(deep.data, &a) < 0);
}

static void test_refusals(void **state)
{
    (void)state;
    struct qga_answer a =
        answer("{\"error\": {\"class\": \"G\", \"desc\": \"no\\u001b[31m\\nway\"}}");
    assert_null(a.value);
    assert_string_equal(a.error, "no?[31m?way");
    qga_answer_done(&a);
}

static void test_status(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct qga_status s;
    static const struct {
        const char *line;
        int code;
    } good[] = {{"{\"return\": {\"exited\": true, \"exitcode\": 3}}", 3},
                {"{\"return\": {\"exited\": true, \"signal\": 9}}", 137},
                {"{\"return\": {\"exited\": true, \"exitcode\": 3221225477}}", 5},
                {"{\"return\": {\"exited\": false}}", 0}};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct qga_answer a = answer(good[i].line);
        assert_int_equal(qga_get_status(&a, &s, &err), 0);
        assert_int_equal(s.code, good[i].code);
        assert_int_equal(s.exited, i < 3);
        qga_answer_done(&a);
    }
    struct qga_answer a =
        answer("{\"return\": {\"exited\": true, \"exitcode\": 0, \"out-data\": \"aGk=\"}}");
    assert_int_equal(qga_get_status(&a, &s, &err), 0);
    assert_string_equal(s.output, "hi");
    qga_status_done(&s);
    qga_answer_done(&a);
    static const char *const bad[] = {
        "{\"return\": {}}",
        "{\"return\": 3}",
        "{\"return\": {\"exited\": 1}}",
        "{\"return\": {\"exited\": true, \"exitcode\": \"x\"}}",
        "{\"return\": {\"exited\": true, \"exitcode\": -1}}",
        "{\"return\": {\"exited\": true, \"exitcode\": 0, \"out-data\": \"!\"}}",
        ("{\"return\": {\"exited\": true, \"exitcode\": 0, \"out-data\": \"aGk=\", \"err-data\": "
         "1}}")};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        a = answer(bad[i]);
        assert_int_equal(qga_get_status(&a, &s, &err), -EPROTO);
        qga_answer_done(&a);
    }
}

static void test_data(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct qga_data d = {0};
    size_t count;
    int64_t number;
    struct qga_answer a =
        answer("{\"return\": {\"count\": 5, \"buf-b64\": \"aGVsbG8=\", \"eof\": false}}");
    assert_int_equal(qga_get_data(&a, 5, &d, &err), 0);
    assert_int_equal(d.len, 5);
    assert_string_equal(d.bytes, "hello");
    assert_false(d.eof);
    free(d.bytes);
    assert_int_equal(qga_get_data(&a, 4, &d, &err), -EPROTO); /* more than was asked for */
    assert_int_equal(qga_get_count(&a, 5, &count, &err), 0);
    assert_int_equal(count, 5);
    assert_int_equal(qga_get_count(&a, 4, &count, &err), -EPROTO);
    assert_int_equal(qga_get_number(&a, &number, &err), -EPROTO);
    assert_int_equal(qga_get_pid(&a, &number, &err), -EPROTO);
    qga_answer_done(&a);
}

static void test_what_is_shown(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    json_t *o = NULL;
    struct qga_traffic t;
    struct qga_answer a = answer(
        "{\"return\": [{\"name\": \"lo\", \"ip-addresses\": []}, 3, {\"name\": \"eth\\u001b0\", "
        "\"hardware-address\": \"52:54:00:12:34:56\", \"statistics\": {\"rx-bytes\": 7, "
        "\"tx-bytes\": 8}, \"ip-addresses\": [{\"ip-address\": \"10.0.0.2\", \"prefix\": 24}, "
        "{\"ip-address\": 3, \"prefix\": 24}, {\"ip-address\": \"::1\", \"prefix\": 1000}]}]}");
    assert_int_equal(qga_get_interfaces(&a, &o, &err), 0);
    _cleanup_free_ char *text = json_to_text(o);
    assert_string_equal(text, "[{\"name\":\"eth?0\",\"mac\":\"52:54:00:12:34:56\",\"addresses\":["
                              "\"10.0.0.2/24\"]}]");
    json_decref(o);
    assert_int_equal(qga_get_traffic(&a, &t, &err), 0);
    assert_int_equal(t.rx_bytes, 7);
    assert_int_equal(t.tx_bytes, 8);
    assert_int_equal(qga_get_system(&a, &o, &err), -EPROTO);
    qga_answer_done(&a);
}

static void test_info(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    char version[16];
    struct qga_answer a = answer(
        "{\"return\": {\"version\": \"7.2.19\", \"supported_commands\": [{\"name\": "
        "\"guest-exec\", \"enabled\": false}, {\"name\": \"guest-ping\", \"enabled\": true}]}}");
    assert_int_equal(qga_get_info(&a, version, sizeof(version), &err), 0);
    assert_string_equal(version, "7.2.19");
    assert_true(qga_has_command(&a, "guest-ping"));
    assert_false(qga_has_command(&a, "guest-exec"));
    assert_false(qga_has_command(&a, "guest-set-time"));
    qga_answer_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_what_is_no_answer),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_data),
        cmocka_unit_test(test_what_is_shown),
        cmocka_unit_test(test_info),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
