/* base: parsers, buffers, vectors, paths and the error idiom. */
#include "check.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/hosts.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/text.h"

static void test_hosts(void **state)
{
    (void)state;
    static const char text[] =
        "127.0.0.1\tlocalhost\n\n10.0.0.2 web\n10.0.0.22\tother\nfd00::2\tweb";
    char *gone[] = {(char *)"10.0.0.2", (char *)"fd00::2", NULL};
    _cleanup_buf_ struct buf out = BUF_INIT(64), small = BUF_INIT(16);
    assert_int_equal(hosts_text_edit(text, gone, "10.0.0.3\tweb\n", &out), 0);
    assert_string_equal(out.data, "127.0.0.1\tlocalhost\n\n10.0.0.22\tother\n10.0.0.3\tweb\n");
    assert_int_equal(hosts_text_edit(text, gone, "", &small), -EFBIG);
}

static void test_sizes(void **state)
{
    static const struct {
        const char *text;
        int r;
        uint64_t bytes;
    } cases[] = {
        {"0", 0, 0},
        {"512", 0, 512},
        {"1k", 0, 1024},
        {"16m", 0, 16 << 20},
        {"1.5g", 0, 1610612736},
        {"2GiB", 0, 2147483648},
        {"", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1x", -EINVAL, 0},
        {"1bb", -EINVAL, 0},
        {"1.m", -EINVAL, 0},
        {"99999999999999999999", -ERANGE, 0},
        {"9999999999t", -ERANGE, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t bytes = 0;
        assert_int_equal(parse_size(cases[i].text, &bytes), cases[i].r);
        assert_int_equal(bytes, cases[i].bytes);
    }
}

static void test_numbers(void **state)
{
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "0x0", "1e3", "4294967296"};
    uint32_t n = 7;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_true(parse_u32(bad[i], &n) < 0);
    assert_int_equal(n, 7);
    assert_int_equal(parse_u32("4294967295", &n), 0);
    assert_int_equal(n, 4294967295u);
}

static void test_durations(void **state)
{
    uint64_t ms;
    (void)state;
    assert_int_equal(parse_duration("90", &ms), 0);
    assert_int_equal(ms, 90000);
    assert_int_equal(parse_duration("1m30s", &ms), 0);
    assert_int_equal(ms, 90000);
    assert_int_equal(parse_duration("100ms", &ms), 0);
    assert_int_equal(ms, 100);
    assert_true(parse_duration("1y", &ms) < 0);
    assert_true(parse_duration("s", &ms) < 0);
}

static void test_times(void **state)
{
    int64_t ns;
    (void)state;
    assert_int_equal(time_parse("2024-01-02T03:04:05.5Z", &ns), 0);
    assert_string_equal(time_format(ns).s, "2024-01-02T03:04:05.500000000Z");
    assert_int_equal(time_parse("2024-01-02T03:04:05+02:00", &ns), 0);
    assert_string_equal(time_format(ns).s, "2024-01-02T01:04:05.000000000Z");
    assert_true(time_parse("yesterday", &ns) < 0);
    /* Nanoseconds of 64 bits end in 2262. */
    assert_true(time_parse("2262-01-01T00:00:00Z", &ns) == 0 && ns > 0);
    assert_true(time_parse("2263-01-01T00:00:00Z", &ns) < 0);
    assert_true(time_parse("9024-01-02", &ns) < 0);
    assert_string_equal(format_age(61).s, "About a minute");
    assert_string_equal(format_age(180).s, "3 minutes");
    assert_string_equal(format_size(1500000).s, "1.50MB");
}

static void test_buf_bounds(void **state)
{
    struct buf b = BUF_INIT(8);
    (void)state;
    assert_int_equal(buf_add(&b, "12345678", 8), 0);
    assert_int_equal(buf_add(&b, "9", 1), -EFBIG);
    assert_int_equal(b.len, 8);
    buf_consume(&b, 6);
    assert_string_equal(b.data, "78");
    assert_int_equal(buf_addf(&b, "%d", 123456), 0);
    assert_int_equal(buf_addf(&b, "%d", 1), -EFBIG);
    buf_done(&b);
}

static void test_strv(void **state)
{
    _cleanup_strv_ char **v = strv_split("a,,b", ',');
    (void)state;
    assert_int_equal(strv_len(v), 3);
    _cleanup_free_ char *joined = strv_join(v, "--");
    assert_string_equal(joined, "a----b");
    _cleanup_strv_ char **env = NULL;
    env_set(&env, "A=1");
    env_set(&env, "AB=2");
    env_set(&env, "A=3");
    assert_int_equal(strv_len(env), 2);
    assert_string_equal(env_get(env, "A"), "3");
    assert_null(env_get(env, "B"));
}

static void test_paths(void **state)
{
    static const char *const cases[][2] = {
        {"/a/../../b", "/b"}, {"a//./b/", "/a/b"}, {"", "/"}, {"/..", "/"}, {"/a/..", "/"}};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *p = path_normalize(cases[i][0]);
        assert_string_equal(p, cases[i][1]);
    }
    assert_false(path_is_name(".."));
    assert_false(path_is_name("a/b"));
    assert_true(path_is_name("a"));
}

/* A tree whose links all point outside: nothing may be opened or removed beyond it. */
static void test_beneath(void **state)
{
    char dir[] = "/tmp/proa-test-XXXXXX";
    (void)state;
    assert_non_null(mkdtemp(dir));
    _cleanup_close_ int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mkdirat(top, "root", 0755), 0);
    assert_int_equal(file_write_atomic(top, "secret", "s", 1, 0600), 0);
    assert_int_equal(symlinkat("../secret", top, "root/up"), 0);
    assert_int_equal(symlinkat("/etc", top, "root/etc"), 0);
    _cleanup_close_ int root = openat(top, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(path_open_in_root(root, "up", O_RDONLY, 0), -ENOENT);
    assert_int_equal(path_open_beneath(root, "up", O_RDONLY, 0), -EXDEV);
    assert_int_equal(path_open_in_root(root, "/etc/passwd", O_RDONLY, 0), -ELOOP); /* itself */
    assert_int_equal(path_open_in_root(root, "../../../secret", O_RDONLY, 0), -ENOENT);
    assert_int_equal(path_remove_tree(top, "root"), 0);
    assert_int_equal(faccessat(top, "secret", F_OK, 0), 0);
    assert_int_equal(access("/etc/passwd", F_OK), 0);
    assert_int_equal(path_remove_tree(AT_FDCWD, dir), 0);
}

/* Deeper than descriptors reach, with a name in the way of what is moved up. */
static void test_remove_deep(void **state)
{
    char dir[] = "/tmp/proa-test-XXXXXX";
    struct rlimit old, few = {256, 256};
    (void)state;
    assert_non_null(mkdtemp(dir));
    int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mkdirat(at, ".removed-0", 0755), 0);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(mkdirat(at, "d", 0755), 0);
        assert_int_equal(mkdirat(at, "e", 0755), 0);
        int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(at);
        at = next;
    }
    close(at);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    int r = path_remove_tree(AT_FDCWD, dir);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(r, 0);
    assert_int_equal(access(dir, F_OK), -1);
}

static void test_errors(void **state)
{
    struct error err = ERROR_INIT;
    (void)state;
    assert_int_equal(error_errno(&err, EACCES, "mount %s", "/data"), -EACCES);
    assert_int_equal(error_prefix(&err, "start %s", "web"), -EACCES);
    assert_string_equal(err.msg, "start web: mount /data: permission denied");
    assert_int_equal(err.kind, ERROR_DENIED);
    error_set(&err, ERROR_COMMAND_NOT_FOUND, ENOENT, "two\nlines\033[31m");
    assert_string_equal(err.msg, "two lines [31m");
    assert_int_equal(error_exit_code(&err), 127);
    assert_int_equal(error_kind_from_name("limit"), ERROR_LIMIT);
}

static void test_json_bounds(void **state)
{
    struct error err = ERROR_INIT;
    json_t *o = NULL;
    char deep[20001];
    (void)state;
    memset(deep, '[', 10000);
    memset(deep + 10000, ']', 10000);
    assert_true(json_parse(deep, 20000, "deep", &o, &err) < 0);
    assert_int_equal(err.kind, ERROR_CORRUPT);
    assert_true(json_parse("{\"a\":1,\"a\":2}", 13, "twice", &o, &err) < 0);
    assert_int_equal(json_parse("{\"a\":1}", 7, "good", &o, &err), 0);
    const char *s = NULL;
    assert_true(json_get_string(o, "good", "a", &s, &err) < 0);
    assert_string_equal(err.msg, "good: \"a\" must be a string");
    json_decref(o);
}

static void test_process(void **state)
{
    struct error err = ERROR_INIT;
    _cleanup_buf_ struct buf out = BUF_INIT(4096);
    char *const echo[] = {(char *)"sh", (char *)"-c",
                          (char *)"echo hello; ls /proc/self/fd | wc -l", NULL};
    char *const fail[] = {(char *)"sh", (char *)"-c", (char *)"echo why >&2; exit 3", NULL};
    char *const absent[] = {(char *)"/nonexistent", NULL};
    (void)state;
    assert_int_equal(process_run("sh", echo, -EBADF, &out, &err), 0);
    assert_string_equal(out.data, "hello\n4\n");
    assert_true(process_run("sh", fail, -EBADF, NULL, &err) < 0);
    assert_string_equal(err.msg, "sh: exit code 3: why");
    assert_int_equal(process_run("/nonexistent", absent, -EBADF, NULL, &err), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),       cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_durations),   cmocka_unit_test(test_times),
        cmocka_unit_test(test_buf_bounds),  cmocka_unit_test(test_strv),
        cmocka_unit_test(test_paths),       cmocka_unit_test(test_beneath),
        cmocka_unit_test(test_remove_deep), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_hosts),       cmocka_unit_test(test_json_bounds),
        cmocka_unit_test(test_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
