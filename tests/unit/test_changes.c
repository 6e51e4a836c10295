/* kernel/tree_changes: an upper directory, or several layers, as one OCI layer. As root whiteouts
 * and overlay's marks are made as the kernel makes them; an ordinary user sees the rest. */
#include "check.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "kernel/tree.h"
#include "wire/tar/tar.h"

struct place {
    char dir[64];
    int lower, upper;
};

static int make_dir(const struct place *p, const char *name)
{
    _cleanup_free_ char *path = path_join(p->dir, name);
    assert_int_equal(mkdir(path, 0755), 0);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static int setup(void **state)
{
    struct place *p = xnew(struct place);
    snprintf(p->dir, sizeof(p->dir), "/tmp/proa-changes-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    p->lower = make_dir(p, "lower");
    p->upper = make_dir(p, "upper");
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    close(p->lower);
    close(p->upper);
    assert_int_equal(path_remove_tree(AT_FDCWD, p->dir), 0);
    free(p);
    return 0;
}

static void put(int dir, const char *name, const char *text)
{
    assert_int_equal(file_write_atomic(dir, name, text, strlen(text), 0644), 0);
}

static void whiteout(int dir, const char *name)
{
    assert_int_equal(mknodat(dir, name, S_IFCHR, makedev(0, 0)), 0);
}

static void make_opaque(int dir, const char *name)
{
    _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0), 0);
}

static bool is_root(void)
{
    return geteuid() == 0;
}

/* The stream's names, one after another, with "=CONTENTS" of small files and ">TARGET" of links. */
static char *list(const int *dirs, size_t n, int64_t newest_ns, int64_t *ret_last_mtime)
{
    struct error err = ERROR_INIT;
    struct tar_reader reader;
    struct tar_event event;
    struct buf stream = BUF_INIT(1 << 20), text = BUF_INIT(1 << 16);
    _cleanup_close_ int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    if (tree_send_changes(dirs, n, newest_ns, fd, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(fd_read_to_end(fd, &stream), 0);
    const unsigned char *p = (const unsigned char *)stream.data;
    size_t left = stream.len;
    tar_reader_init(&reader);
    do {
        if (tar_reader_next(&reader, &p, &left, &event, &err) < 0)
            fail_msg("%s", err.msg);
        int r = 0;
        if (event.kind == TAR_EVENT_ENTRY) {
            r = buf_addf(&text, "%s%s%s%s", text.len ? " " : "", event.entry.path,
                         *event.entry.link ? ">" : "", event.entry.link);
            if (ret_last_mtime)
                *ret_last_mtime = event.entry.mtime;
        } else if (event.kind == TAR_EVENT_DATA) {
            r = buf_addf(&text, "=%.*s", (int)event.len, (const char *)event.data);
        }
        assert_int_equal(r, 0);
    } while (event.kind != TAR_EVENT_END);
    tar_reader_done(&reader);
    buf_done(&stream);
    return buf_take(&text);
}

static void test_sorted(void **state)
{
    struct place *p = *state;
    bool changed = true;
    struct error err = ERROR_INIT;
    assert_int_equal(tree_has_changes(p->upper, &changed, &err), 0);
    assert_false(changed);
    put(p->upper, "c", "3");
    put(p->upper, "a", "1");
    assert_int_equal(mkdirat(p->upper, "b", 0700), 0);
    put(p->upper, "b/z", "");
    assert_int_equal(linkat(p->upper, "c", p->upper, "d", 0), 0);
    assert_int_equal(symlinkat("a", p->upper, "e"), 0);
    assert_int_equal(mkfifoat(p->upper, "f", 0600), 0);
    _cleanup_free_ char *text = list(&p->upper, 1, INT64_MAX, NULL);
    assert_string_equal(text, "a=1 b/ b/z c=3 d>c e>a f");
    assert_int_equal(tree_has_changes(p->upper, &changed, &err), 0);
    assert_true(changed);
}

static void test_times(void **state)
{
    struct place *p = *state;
    const struct timespec old[2] = {{100, 5}, {100, 5}}, late[2] = {{5000, 0}, {5000, 0}};
    int64_t mtime;
    put(p->upper, "f", "");
    assert_int_equal(utimensat(p->upper, "f", old, 0), 0);
    free(list(&p->upper, 1, 1000000000000, &mtime));
    assert_int_equal(mtime, 100);
    assert_int_equal(utimensat(p->upper, "f", late, 0), 0);
    free(list(&p->upper, 1, 1000000000000, &mtime));
    assert_int_equal(mtime, 1000);
}

static void test_marks(void **state)
{
    struct place *p = *state;
    if (!is_root())
        return;
    whiteout(p->upper, "gone");
    assert_int_equal(mkdirat(p->upper, "new", 0755), 0);
    make_opaque(p->upper, "new");
    put(p->upper, "new/f", "x");
    _cleanup_free_ char *text = list(&p->upper, 1, INT64_MAX, NULL);
    assert_string_equal(text, ".wh.gone new/ new/.wh..wh..opq new/f=x");
}

/* The topmost layer decides; what it hides of the others is hidden from below them, too. */
static void test_several(void **state)
{
    struct place *p = *state;
    if (!is_root())
        return;
    put(p->lower, "a", "old");
    put(p->lower, "b", "kept");
    put(p->lower, "was-file", "");
    const char *const dirs[] = {"both", "hidden", "opened"};
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
        assert_int_equal(mkdirat(p->lower, dirs[i], 0755), 0);
        _cleanup_free_ char *name = path_join(dirs[i], "low");
        put(p->lower, name, "");
    }
    put(p->upper, "a", "new");
    assert_int_equal(mkdirat(p->upper, "both", 0755), 0);
    put(p->upper, "both/up", "");
    whiteout(p->upper, "hidden");
    assert_int_equal(mkdirat(p->upper, "opened", 0755), 0);
    make_opaque(p->upper, "opened");
    assert_int_equal(mkdirat(p->upper, "was-file", 0755), 0);
    const int layers[] = {p->upper, p->lower};
    _cleanup_free_ char *text = list(layers, 2, INT64_MAX, NULL);
    assert_string_equal(text, "a=new b=kept both/ both/low both/up .wh.hidden opened/ "
                              "opened/.wh..wh..opq was-file/ was-file/.wh..wh..opq");
}

static void test_redirect_is_refused(void **state)
{
    struct place *p = *state;
    struct error err = ERROR_INIT;
    if (!is_root())
        return;
    assert_int_equal(mkdirat(p->upper, "d", 0755), 0);
    _cleanup_close_ int fd = openat(p->upper, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fsetxattr(fd, "trusted.overlay.redirect", "x", 1, 0), 0);
    _cleanup_close_ int out = open("/dev/null", O_WRONLY | O_CLOEXEC);
    assert_int_equal(tree_send_changes(&p->upper, 1, INT64_MAX, out, &err), -EOPNOTSUPP);
}

/* A step that makes such a file means the file, not what a layer's reader would take it for. */
static void test_a_name_that_would_hide_another_is_refused(void **state)
{
    struct place *p = *state;
    struct error err = ERROR_INIT;
    _cleanup_close_ int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    put(p->upper, ".wh.passwd", "");
    assert_true(tree_send_changes(&p->upper, 1, INT64_MAX, null, &err) < 0);
    assert_non_null(strstr(err.msg, ".wh.passwd: in a layer this name would hide another file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sorted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_times, setup, teardown),
        cmocka_unit_test_setup_teardown(test_marks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_several, setup, teardown),
        cmocka_unit_test_setup_teardown(test_redirect_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_name_that_would_hide_another_is_refused, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
