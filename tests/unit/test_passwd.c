#include "check.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/path.h"
#include "kernel/passwd.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
                             "+nis::0:0:::\n"
                             "1000:x:0:0::/:\n"
                             "broken:x:-1:0::/:\n"
                             "short:x\n"
                             "big:x:4294967296:0::/:\n"
                             "www:x:33:34:web:/var/www:/bin/sh\n"
                             "last:x:5:6::/home/last";
static const char group[] = "root:x:0:\nstaff:x:50:www,last\nweb:x:34:www\nadm:x:4:root,www\n";

static int look(const char *spec, struct passwd_user *u)
{
    struct error err = ERROR_INIT;
    memset(u, 0, sizeof(*u));
    int r = passwd_lookup_text(passwd, group, spec, u, &err);
    assert_true(r == 0 || (err.msg[0] && !strchr(err.msg, '\n')));
    return r;
}

static void test_found(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        uint32_t uid, gid;
        size_t groups;
        const char *home;
    } rows[] = {
        {"www", 33, 34, 2, "/var/www"},  {"www:staff", 33, 50, 0, "/var/www"},
        {"33", 33, 34, 2, "/var/www"},   {"33:7", 33, 7, 0, "/var/www"},
        {"last", 5, 6, 1, "/home/last"}, {"01", 1, 0, 0, NULL},
        {"1000", 1000, 0, 0, NULL},      {"4294967294", 4294967294, 0, 0, NULL},
        {"0", 0, 0, 1, "/root"},         {"2147483648", 2147483648, 0, 0, NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct passwd_user u;
        assert_int_equal(look(rows[i].spec, &u), 0);
        assert_int_equal(u.uid, rows[i].uid);
        assert_int_equal(u.gid, rows[i].gid);
        assert_int_equal(u.n_groups, rows[i].groups);
        if (rows[i].home)
            assert_string_equal(u.home, rows[i].home);
        else
            assert_null(u.home);
        passwd_user_done(&u);
    }
}

/* What made other engines run things as root. */
static void test_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "1000:",
        ":0",
        ":",
        "",
        " 1",
        "+1",
        "-1",
        "1e3",
        "0x0",
        "1000 ",
        "4294967295",
        "4294967296",
        "99999999999999999999",
        "nobody",
        "broken",
        "big",
        "short",
        "+nis",
        "nis",
        "www:0:0",
        "www:x",
        "www:4294967295",
        "root\n",
        "www:-1",
        "0:4294967296",
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct passwd_user u;
        if (look(rows[i], &u) == 0)
            fail_msg("\"%s\" became %u", rows[i], u.uid);
    }
}

static void test_files(void **state)
{
    (void)state;
    char dir[] = "/tmp/proa-passwd-XXXXXX";
    struct passwd_user u = {0};
    struct error err = ERROR_INIT;
    assert_non_null(mkdtemp(dir));
    int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0 && mkdirat(fd, "etc", 0755) == 0);
    assert_int_equal(passwd_lookup(fd, "7:8", &u, &err), 0);
    assert_int_equal(u.uid, 7);
    passwd_user_done(&u);
    assert_int_equal(mkfifoat(fd, "etc/passwd", 0600), 0);
    assert_int_equal(passwd_lookup(fd, "7", &u, &err), -EINVAL);
    unlinkat(fd, "etc/passwd", 0);
    assert_int_equal(symlinkat("../../../../../../../etc/passwd", fd, "etc/passwd"), 0);
    assert_true(passwd_lookup(fd, "root", &u, &err) < 0);
    unlinkat(fd, "etc/passwd", 0);
    int big = openat(fd, "etc/passwd", O_CREAT | O_WRONLY, 0600);
    assert_int_equal(ftruncate(big, (off_t)1 << 30), 0);
    close(big);
    assert_int_equal(passwd_lookup(fd, "7", &u, &err), -EFBIG);
    close(fd);
    assert_int_equal(path_remove_tree(AT_FDCWD, dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
