/* linux.intelRdt, in a folder that looks like resctrl: the kernel's files are made by hand. */
#include "check.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "runtime/oci/rdt.h"

static char directory[] = "/tmp/proa-rdt.XXXXXX";
static int root = -EBADF;

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return root < 0;
}

static int tear_down(void **state)
{
    (void)state;
    close_fd(root);
    return path_remove_tree(AT_FDCWD, directory);
}

static void put(int dir, const char *name, const char *text)
{
    assert_int_equal(file_write_atomic(dir, name, text, strlen(text), 0600), 0);
}

static void holds(int dir, const char *name, const char *expected)
{
    _cleanup_free_ char *text = NULL;
    assert_int_equal(file_read(dir, name, 4096, &text), 0);
    assert_string_equal(text, expected);
}

static int open_group(const struct oci_intel_rdt *rdt, const char *id, bool expect_made)
{
    struct error err = ERROR_INIT;
    bool made = !expect_made;
    int group = -EBADF;
    if (rdt_open_group(root, rdt, id, &group, &made, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(made, expect_made);
    return group;
}

static void test_own_group(void **state)
{
    const struct oci_intel_rdt rdt = {.l3_cache_schema = (char *)"L3:0=f",
                                      .enable_monitoring = true};
    struct stat st;
    (void)state;
    _cleanup_close_ int group = open_group(&rdt, "box", true);
    put(group, "schemata", "");
    put(group, "tasks", "");
    assert_int_equal(rdt_apply(group, &rdt, true, NULL), 0);
    holds(group, "schemata", "L3:0=f\n");
    assert_int_equal(mkdirat(group, "mon_groups", 0755), 0);
    assert_int_equal(mkdirat(group, "mon_groups/box", 0755), 0);
    put(group, "mon_groups/box/tasks", "");
    assert_int_equal(rdt_join(group, &rdt, "box", 4242, NULL), 0);
    holds(group, "tasks", "4242");
    holds(group, "mon_groups/box/tasks", "4242");
    /* Files of resctrl go with their folder; these do not. */
    assert_int_equal(unlinkat(group, "mon_groups/box/tasks", 0), 0);
    assert_int_equal(unlinkat(group, "tasks", 0), 0);
    assert_int_equal(unlinkat(group, "schemata", 0), 0);
    struct error err = ERROR_INIT;
    assert_int_equal(rdt_remove(root, &rdt, "box", true, &err), -ENOTEMPTY);
    assert_int_equal(unlinkat(group, "mon_groups", AT_REMOVEDIR), 0);
    assert_int_equal(rdt_remove(root, &rdt, "box", true, &err), 0);
    assert_int_equal(fstatat(root, "box", &st, 0), -1);
    assert_int_equal(rdt_remove(root, &rdt, "box", true, &err), 0);
}

static void test_group_that_was_there(void **state)
{
    char *schemata[] = {(char *)"MB:0=10", NULL};
    struct oci_intel_rdt rdt = {.clos_id = (char *)"gold"};
    struct error err = ERROR_INIT;
    struct stat st;
    int group = -EBADF;
    bool made;
    (void)state;
    /* Without schemata it must be there. */
    assert_int_equal(rdt_open_group(root, &rdt, "box", &group, &made, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "gold"));
    assert_int_equal(mkdirat(root, "gold", 0755), 0);
    group = open_group(&rdt, "box", false);
    put(group, "schemata", "    MB:0=10;1=20\n    L3:0=ff\n");
    assert_int_equal(rdt_apply(group, &rdt, false, &err), 0);
    rdt.l3_cache_schema = (char *)"L3:0=ff";
    assert_int_equal(rdt_apply(group, &rdt, false, &err), 0);
    rdt.schemata = schemata;
    assert_int_equal(rdt_apply(group, &rdt, false, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "MB:0=10"));
    holds(group, "schemata", "    MB:0=10;1=20\n    L3:0=ff\n");
    assert_int_equal(rdt_remove(root, &rdt, "box", false, &err), 0);
    assert_int_equal(fstatat(root, "gold", &st, 0), 0);
    close_fd(group);
}

static void test_names(void **state)
{
    struct oci_intel_rdt rdt = {.clos_id = (char *)"/"};
    struct error err = ERROR_INIT;
    int group = -EBADF;
    bool made;
    (void)state;
    close_fd(open_group(&rdt, "box", false)); /* the root itself */
    rdt.clos_id = NULL;
    assert_int_equal(mkdirat(root, "info", 0755), 0);
    assert_int_equal(rdt_open_group(root, &rdt, "info", &group, &made, &err), -EINVAL);
    assert_int_equal(symlinkat("/etc", root, "link"), 0);
    rdt.clos_id = (char *)"link";
    assert_true(rdt_open_group(root, &rdt, "box", &group, &made, &err) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_group),
        cmocka_unit_test(test_group_that_was_there),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
