/* wire/layer: the hostile archives of the fuzz corpus, each with the line it is refused by, and the
 * honest ones with the same contents in every compression. */
#include "check.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "wire/layer/layer.h"

static int convert(const char *name, uint64_t max_bytes, struct layer_result *ret,
                   struct error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", getenv("LAYER_CORPUS"), name);
    _cleanup_close_ int in = open(path, O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int out = memfd_create("out", MFD_CLOEXEC);
    assert_true(in >= 0 && out >= 0);
    struct layer_source source = {.fd = in, .max_bytes = max_bytes};
    struct layer_target to = {out, -EBADF, true};
    return layer_convert(&source, &to, ret, err);
}

static void test_hostile(void **state)
{
    static const struct {
        const char *name, *message;
    } cases[] = {
        {"dotdot.tar", "\"../x\" contains \"..\""},
        {"hard-outside.tar", "hard link \"x\": \"../../etc/passwd\" contains \"..\""},
        {"hard-missing.tar", "hard link \"x\": \"y\" is not in the archive"},
        {"via-symlink.tar",
         "\"s/passwd\" goes through a symbolic link that leads to nothing in the archive"},
        {"loop.tar", "\"a/x\" goes through too many symbolic links"},
        {"whiteout-dotdot.tar", "\"d/.wh...\" hides no name"},
        {"whiteout-nothing.tar", "\".wh.\" hides no name"},
        {"long-name.tar", NULL},
        {"long-path.tar", NULL},
        {"cut.tar", "the archive is truncated"},
        {"no-end.tar", "the archive is truncated"},
        {"cut.gz", "the archive is truncated"},
        {"owner.tar", "\"x\": owner out of range"},
        {"garbage", "this is no tar archive"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        struct layer_result result;
        if (convert(cases[i].name, LAYER_MAX_BYTES, &result, &err) == 0)
            fail_msg("%s is taken", cases[i].name);
        assert_int_equal(err.kind, ERROR_CORRUPT);
        if (cases[i].message && !strstr(err.msg, cases[i].message))
            fail_msg("%s: %s", cases[i].name, err.msg);
    }
}

static void test_honest(void **state)
{
    static const char *const names[] = {"plain.tar",     "plain.tar.gz",  "plain.tar.xz",
                                        "plain.tar.bz2", "plain.tar.zst", "two-members.gz"};
    char diff_id[LAYER_DIGEST_SIZE] = "";
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct error err = ERROR_INIT;
        struct layer_result result = {0};
        convert(names[i], LAYER_MAX_BYTES, &result, &err);
        assert_string_equal(err.msg, "");
        assert_int_equal(result.inodes, 7);
        if (i == 0)
            memcpy(diff_id, result.digests.tar, sizeof(diff_id));
        assert_string_equal(result.digests.tar, diff_id);
        assert_int_equal(strcmp(result.digests.archive, diff_id) == 0, i == 0);
    }
}

static void test_others(void **state)
{
    static const char *const names[] = {"gnu.tar",        "ustar.tar",        "absolute.tar",
                                        "twice.tar",      "whiteouts.tar",    "zeros",
                                        "sparse-gnu.tar", "sparse-posix.tar", "sparse-01.tar"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct error err = ERROR_INIT;
        struct layer_result result = {0};
        convert(names[i], LAYER_MAX_BYTES, &result, &err);
        assert_string_equal(err.msg, "");
        assert_true(result.erofs_bytes >= 8192);
    }
}

/* Writes into memory what layer_tar gives. */
static int read_back(int erofs, int split, char **ret, struct layer_sink_result *result,
                     struct error *err)
{
    _cleanup_close_ int out = memfd_create("tar", MFD_CLOEXEC);
    struct layer_back how = {
        .split_fd = split,
        .erofs_fd = erofs,
        .out_fd = out,
        .max_bytes = LAYER_MAX_BYTES,
        .verify = true,
    };
    int r = layer_tar(&how, result, err);
    if (r < 0)
        return r;
    *ret = calloc(1, result->plain_bytes + 1);
    assert_int_equal(pread(out, *ret, result->plain_bytes + 1, 0), result->plain_bytes);
    return 0;
}

static int convert_both(const char *name, int *ret_erofs, int *ret_split, struct layer_result *ret,
                        struct error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", getenv("LAYER_CORPUS"), name);
    _cleanup_close_ int in = open(path, O_RDONLY | O_CLOEXEC);
    *ret_erofs = memfd_create("erofs", MFD_CLOEXEC);
    *ret_split = memfd_create("split", MFD_CLOEXEC);
    struct layer_source source = {.fd = in, .max_bytes = LAYER_MAX_BYTES};
    struct layer_target to = {*ret_erofs, *ret_split, true};
    return layer_convert(&source, &to, ret, err);
}

static void test_back(void **state)
{
    static const char *const names[] = {
        "plain.tar",     "gnu.tar",        "ustar.tar",        "absolute.tar",  "twice.tar",
        "whiteouts.tar", "sparse-gnu.tar", "sparse-posix.tar", "sparse-01.tar", "zeros"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct error err = ERROR_INIT;
        struct layer_result result = {0};
        struct layer_sink_result back = {0};
        _cleanup_close_ int erofs = -EBADF, split = -EBADF;
        _cleanup_free_ char *path = xasprintf("%s/%s", getenv("LAYER_CORPUS"), names[i]);
        _cleanup_free_ char *given = NULL, *got = NULL;
        assert_int_equal(convert_both(names[i], &erofs, &split, &result, &err), 0);
        if (read_back(erofs, split, &got, &back, &err) < 0)
            fail_msg("%s: %s", names[i], err.msg);
        assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &given), 0);
        assert_int_equal(back.plain_bytes, result.digests.tar_bytes);
        assert_memory_equal(given, got, back.plain_bytes);
        assert_string_equal(back.plain, result.digests.tar);
        assert_string_equal(back.written, back.plain);
    }
}

/* Every byte of both files counts: with any of them changed there is an error or another digest. */
static void test_damage(void **state)
{
    struct layer_result result = {0};
    _cleanup_close_ int erofs = -EBADF, split = -EBADF;
    unsigned int unseen = 0;
    (void)state;
    assert_int_equal(convert_both("plain.tar", &erofs, &split, &result, NULL), 0);
    const int files[] = {erofs, split};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        off_t end = lseek(files[i], 0, SEEK_END);
        for (off_t at = 0; at < end; at++) {
            struct layer_sink_result back = {0};
            char good, bad;
            _cleanup_free_ char *got = NULL;
            assert_int_equal(pread(files[i], &good, 1, at), 1);
            bad = (char)(good ^ 0x10);
            assert_int_equal(pwrite(files[i], &bad, 1, at), 1);
            if (read_back(erofs, split, &got, &back, NULL) == 0 &&
                strcmp(back.plain, result.digests.tar) == 0)
                unseen++;
            assert_int_equal(pwrite(files[i], &good, 1, at), 1);
        }
    }
    assert_int_equal(unseen, 0);
}

static void test_bomb(void **state)
{
    struct error err = ERROR_INIT;
    struct layer_result result;
    (void)state;
    assert_true(convert("plain.tar.gz", 4096, &result, &err) < 0);
    assert_int_equal(err.kind, ERROR_LIMIT);
}

static void test_index(void **state)
{
    _cleanup_free_ char *path = xasprintf("%s/plain.tar.gz", getenv("LAYER_CORPUS"));
    _cleanup_close_ int in = open(path, O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int spool = memfd_create("spool", MFD_CLOEXEC);
    _cleanup_free_ char *json = NULL;
    char contents[8] = "";
    struct layer_source source = {.fd = in, .max_bytes = LAYER_MAX_BYTES};
    (void)state;
    assert_int_equal(layer_index(&source, spool, true, &json, NULL), 0);
    assert_non_null(strstr(json, "{\"name\":\"a/f\",\"offset\":0,\"size\":5,\"digest\":\"sha256:"
                                 "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
                                 "\"}"));
    assert_non_null(strstr(json, "{\"name\":\"a/s\",\"link\":\"a/f\"}"));
    assert_int_equal(pread(spool, contents, 7, 0), 6);
    assert_string_equal(contents, "hellox");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile), cmocka_unit_test(test_honest),
        cmocka_unit_test(test_others),  cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_index),   cmocka_unit_test(test_back),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
