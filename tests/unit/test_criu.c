#include "check.h"

#include <string.h>

#include "base/alloc.h"
#include "wire/criu/rpc.h"

#define BYTES(text) text, sizeof(text) - 1

static void assert_bytes(const struct buf *b, const char *data, size_t len)
{
    assert_int_equal(b->len, len);
    assert_memory_equal(b->data, data, len);
}

static void test_a_small_request(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf b = BUF_INIT(1000);
    const struct criu_request q = {
        .type = CRIU_DUMP,
        .images_fd = 5,
        .work_fd = -1,
        .pid = 300,
        .leave_running = true,
        .log_file = "a.log",
        .cgroups = CRIU_CGROUPS_SOFT,
    };
    assert_int_equal(criu_request_encode(&q, &b), 0);
    assert_bytes(&b, BYTES("\x08\x01"     /* type */
                           "\x12\x18"     /* opts, 24 bytes */
                           "\x08\x05"     /* images_dir_fd */
                           "\x10\xac\x02" /* pid */
                           "\x18\x01"     /* leave_running */
                           "\x52\x05"
                           "a.log"        /* log_file */
                           "\x48\x04"     /* log_level */
                           "\x60\x01"     /* notify_scripts */
                           "\xc0\x01\x01" /* manage_cgroups */
                           "\x90\x02\x03" /* manage_cgroups_mode */
                           ""));
}

static void test_the_version_needs_nothing(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf b = BUF_INIT(100);
    const struct criu_request q = {.type = CRIU_VERSION, .images_fd = -1};
    assert_int_equal(criu_request_encode(&q, &b), 0);
    assert_bytes(&b, BYTES("\x08\x0a"));
}

static bool has(const struct buf *b, const char *data, size_t len)
{
    return memmem(b->data, b->len, data, len) != NULL;
}

static void test_lists(void **state)
{
    (void)state;
    char *external[] = {(char *)"mnt[/a]:/b", (char *)"net[7]:n", NULL};
    const struct criu_inherited inherited[] = {{(char *)"pipe:[1]", 2}};
    const struct criu_group groups[] = {{"", "/x"}, {"cpu", "/y"}};
    const struct criu_join joins[] = {{"uts", "/proc/1/ns/uts"}};
    _cleanup_buf_ struct buf b = BUF_INIT(1000);
    const struct criu_request q = {
        .type = CRIU_RESTORE,
        .images_fd = 3,
        .work_fd = 4,
        .external = external,
        .inherited = inherited,
        .n_inherited = 1,
        .groups = groups,
        .n_groups = 2,
        .joins = joins,
        .n_joins = 1,
    };
    assert_int_equal(criu_request_encode(&q, &b), 0);
    assert_true(has(&b, BYTES("\xaa\x02\x0amnt[/a]:/b\xaa\x02\x08net[7]:n")));
    assert_true(has(&b, BYTES("\xda\x01\x0c\x0a\x08pipe:[1]\x10\x02")));
    assert_true(has(&b, BYTES("\xca\x01\x06\x0a\x00\x12\x02/x")));
    assert_true(has(&b, BYTES("\xca\x01\x09\x0a\x03"
                              "cpu\x12\x02/y")));
    assert_true(has(&b, BYTES("\xba\x02\x15\x0a\x03uts\x12\x0e/proc/1/ns/uts")));
    assert_false(has(&b, BYTES("\x18\x01"))); /* leave_running */
}

static void test_a_request_has_a_maximum(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf b = BUF_INIT(20);
    const struct criu_request q = {.type = CRIU_DUMP, .log_file = "a rather long name of a file"};
    assert_int_equal(criu_request_encode(&q, &b), -EFBIG);
}

static void test_reply(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf b = BUF_INIT(100);
    assert_int_equal(criu_reply_encode(true, &b), 0);
    assert_bytes(&b, BYTES("\x08\x06\x18\x01"));
}

static void test_answers(void **state)
{
    (void)state;
    struct criu_answer a;
    assert_int_equal(criu_answer_decode(BYTES("\x08\x02\x10\x01\x22\x03\x08\xac\x02"), &a), 0);
    assert_int_equal(a.type, CRIU_RESTORE);
    assert_true(a.success);
    assert_int_equal(a.pid, 300);
    assert_string_equal(a.script, "");

    static const char notify[] = "\x08\x06\x10\x01\x2a\x10\x0a\x0cpost-restore\x10\x05";
    assert_int_equal(criu_answer_decode(BYTES(notify), &a), 0);
    assert_int_equal(a.type, CRIU_NOTIFY);
    assert_string_equal(a.script, "post-restore");
    assert_int_equal(a.pid, 5);

    /* With members that are of no use here, of every wire type. */
    static const char failed[] = "\x08\x01\x10\x00\x38\x02\x4a\x04o\nps\x52\x00\x7d\x01\x02\x03\x04"
                                 "\x81\x01\x01\x02\x03\x04\x05\x06\x07\x08";
    assert_int_equal(criu_answer_decode(BYTES(failed), &a), 0);
    assert_false(a.success);
    assert_int_equal(a.errnum, 2);
    assert_string_equal(a.complaint, "o ps");

    static const char version[] = "\x08\x0a\x10\x01\x52\x04\x08\x03\x10\x11";
    assert_int_equal(criu_answer_decode(BYTES(version), &a), 0);
    assert_int_equal(a.major, 3);
    assert_int_equal(a.minor, 17);
}

static void test_a_long_name_is_cut(void **state)
{
    (void)state;
    char data[210] = "\x08\x06\x2a\xcb\x01\x0a\xc8\x01"; /* notify of 203 bytes: script of 200 */
    struct criu_answer a;
    memset(data + 8, 'x', 200);
    assert_int_equal(criu_answer_decode(data, 208, &a), 0);
    assert_int_equal(strlen(a.script), sizeof(a.script) - 1);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        size_t len;
    } bad[] = {
        {BYTES("")},
        {BYTES("\x10\x01")},                                         /* no type */
        {BYTES("\x08")},                                             /* no value */
        {BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")}, /* too long a number */
        {BYTES("\x08\x02\x22\x05\x08\x01")},                         /* too short */
        {BYTES("\x08\x02\x22\x01\x08")},                             /* cut inside */
        {BYTES("\x08\x02\x0b")},                                     /* a group */
        {BYTES("\x08\x02\x7d\x01")},                                 /* a short fixed32 */
    };
    struct criu_answer a;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(criu_answer_decode(bad[i].data, bad[i].len, &a), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_small_request),
        cmocka_unit_test(test_the_version_needs_nothing),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_a_request_has_a_maximum),
        cmocka_unit_test(test_reply),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_a_long_name_is_cut),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
