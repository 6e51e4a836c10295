#include "check.h"

#include <string.h>

#include "wire/qmp/qmp.h"

static int parse(const char *line, struct qmp_message *m)
{
    struct error err = ERROR_INIT;
    return qmp_parse(line, strlen(line), m, &err);
}

static void test_messages(void **state)
{
    (void)state;
    struct qmp_message m;
    assert_int_equal(parse("{\"QMP\": {\"version\": {}, \"capabilities\": []}}", &m), 0);
    assert_int_equal(m.type, QMP_GREETING);
    assert_int_equal(parse("{\"return\": {}}", &m), 0);
    assert_int_equal(m.type, QMP_RETURN);
    assert_int_equal(parse("{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}", &m), 0);
    assert_int_equal(m.type, QMP_ERROR);
    assert_string_equal(m.text, "no");
    assert_int_equal(
        parse("{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": "
              "\"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}",
              &m),
        0);
    assert_int_equal(m.type, QMP_EVENT);
    assert_string_equal(m.name, "SHUTDOWN");
    assert_string_equal(m.text, "guest-reset");
    assert_false(m.stops || m.no_room);
}

static void test_disk_errors(void **state)
{
    (void)state;
    struct qmp_message m;
    assert_int_equal(
        parse("{\"event\": \"BLOCK_IO_ERROR\", \"data\": {\"device\": \"\", \"node-name\": "
              "\"disk0\", \"nospace\": true, \"operation\": \"write\", \"action\": \"stop\", "
              "\"reason\": \"No space left on device\"}}",
              &m),
        0);
    assert_true(m.stops && m.no_room);
    assert_int_equal(parse("{\"event\": \"BLOCK_IO_ERROR\", \"data\": {\"nospace\": 1, "
                           "\"action\": \"report\", \"reason\": \"Input/output error\"}}",
                           &m),
                     0);
    assert_false(m.stops || m.no_room);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "[]",
                                      "{}",
                                      "{\"event\": 3}",
                                      "{\"error\": 1}",
                                      "nonsense",
                                      "{\"event\": \"A\", \"data\": []}",
                                      "{\"return\": {}} x"};
    struct qmp_message m;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_true(parse(bad[i], &m) < 0);
}

static void test_long_names_are_cut(void **state)
{
    (void)state;
    struct qmp_message m;
    char line[400];
    snprintf(line, sizeof(line), "{\"event\": \"%0300d\"}", 0);
    assert_int_equal(parse(line, &m), 0);
    assert_int_equal(strlen(m.name), sizeof(m.name) - 1);
}

static void test_a_device_that_goes(void **state)
{
    (void)state;
    struct qmp_message m;
    assert_int_equal(parse("{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"card9\", "
                           "\"path\": \"/machine/peripheral/card9\"}}",
                           &m),
                     0);
    assert_string_equal(m.text, "card9");
    assert_int_equal(parse("{\"event\": \"DEVICE_DELETED\", \"data\": {\"path\": "
                           "\"/machine/peripheral/card9/virtio-backend\"}}",
                           &m),
                     0);
    assert_string_equal(m.text, "");
}

static void test_command(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf b = BUF_INIT(100);
    assert_int_equal(qmp_command_add(&b, "stop"), 0);
    assert_string_equal(b.data, "{\"execute\":\"stop\"}\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_disk_errors),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_long_names_are_cut),
        cmocka_unit_test(test_a_device_that_goes),
        cmocka_unit_test(test_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
