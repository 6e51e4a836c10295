/* kernel/tree: an upper directory as an image's layer, a whole tree for export, and two trees
 * compared. What only root can make is left out for others. */
#include "check.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "kernel/tree.h"
#include "wire/tar/tar.h"

struct place {
    char dir[64];
    int top;
};

static int setup(void **state)
{
    struct place *p = xnew(struct place);
    snprintf(p->dir, sizeof(p->dir), "/tmp/proa-layer-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    p->top = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(p->top >= 0);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    close(p->top);
    assert_int_equal(path_remove_tree(AT_FDCWD, p->dir), 0);
    free(p);
    return 0;
}

static void put(int dir, const char *name, const char *text)
{
    assert_int_equal(file_write_atomic(dir, name, text, strlen(text), 0644), 0);
}

static int sub_dir(int dir, const char *name)
{
    assert_int_equal(mkdirat(dir, name, 0755), 0);
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static int send(int dir, enum tree_form form, char **ret, size_t *ret_len, struct error *err)
{
    _cleanup_close_ int out = memfd_create("tar", MFD_CLOEXEC);
    int r = tree_send_all(dir, form, out, err);
    if (r < 0)
        return r;
    *ret_len = (size_t)lseek(out, 0, SEEK_END);
    *ret = calloc(1, *ret_len + 1);
    assert_int_equal(pread(out, *ret, *ret_len, 0), *ret_len);
    return 0;
}

static bool holds(const char *stream, size_t len, const char *text)
{
    return memmem(stream, len, text, strlen(text)) != NULL;
}

/* The names of all entries, sorted, and the sum of what is in them. */
static char **names_of(const char *stream, size_t stream_len, size_t *ret_contents)
{
    char **names = strv_copy(NULL);
    struct tar_reader reader;
    const unsigned char *p = (const unsigned char *)stream;
    struct tar_event event;
    *ret_contents = 0;
    tar_reader_init(&reader);
    do {
        assert_int_equal(tar_reader_next(&reader, &p, &stream_len, &event, NULL), 0);
        if (event.kind == TAR_EVENT_ENTRY)
            strv_add(&names, event.entry.path);
        if (event.kind == TAR_EVENT_DATA)
            *ret_contents += event.len;
    } while (event.kind != TAR_EVENT_MORE && event.kind != TAR_EVENT_END);
    assert_int_equal(event.kind, TAR_EVENT_END);
    tar_reader_done(&reader);
    return names;
}

static void test_attributes(void **state)
{
    const struct place *p = *state;
    _cleanup_free_ char *copy = NULL, *layer = NULL;
    size_t len, layer_len;
    put(p->top, "f", "x");
    _cleanup_close_ int f = openat(p->top, "f", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fsetxattr(f, "user.colour", "gr\0en", 5, 0), 0);
    assert_int_equal(fsetxattr(f, "user.overlay.origin", "x", 1, 0), 0);
    assert_int_equal(send(p->top, TREE_EXPORT, &layer, &layer_len, NULL), 0);
    assert_non_null(memmem(layer, layer_len, "34 SCHILY.xattr.user.colour=gr\0en\n",
                           strlen("34 SCHILY.xattr.user.colour=") + 6));
    assert_false(holds(layer, layer_len, "overlay"));
    assert_int_equal(send(p->top, TREE_COPY, &copy, &len, NULL), 0);
    assert_false(holds(copy, len, "SCHILY"));
}

static void test_holes(void **state)
{
    const struct place *p = *state;
    _cleanup_free_ char *layer = NULL, *whole = NULL;
    size_t len;
    _cleanup_close_ int f = openat(p->top, "s", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_int_equal(pwrite(f, "middle", 6, 1 << 20), 6);
    assert_int_equal(ftruncate(f, 3 << 20), 0);
    assert_int_equal(send(p->top, TREE_LAYER, &layer, &len, NULL), 0);
    assert_true(len < 64 << 10);
    assert_true(holds(layer, len, "GNU.sparse.realsize=3145728\n"));
    assert_true(holds(layer, len, "GNU.sparse.name=s\n"));
    assert_true(holds(layer, len, "1\n1048576\n4096\n"));
    assert_true(holds(layer, len, "middle"));
    assert_int_equal(send(p->top, TREE_EXPORT, &whole, &len, NULL), 0);
    assert_true(len > 3 << 20);
}

static void test_whiteouts(void **state)
{
    const struct place *p = *state;
    _cleanup_free_ char *stream = NULL, *changes = NULL;
    size_t len, contents;
    if (geteuid() != 0)
        return;
    _cleanup_close_ int d = sub_dir(p->top, "d"), o = sub_dir(d, "o");
    assert_int_equal(mknodat(d, "gone", S_IFCHR, makedev(0, 0)), 0);
    assert_int_equal(fsetxattr(o, "trusted.overlay.opaque", "y", 1, 0), 0);
    put(o, "new", "new");
    assert_int_equal(linkat(o, "new", p->top, "same", 0), 0);
    assert_int_equal(send(p->top, TREE_LAYER, &stream, &len, NULL), 0);
    _cleanup_strv_ char **names = names_of(stream, len, &contents);
    for (size_t i = 0; i < 6; i++) {
        static const char *const wanted[] = {"d/",   "d/.wh.gone",       "d/o/",
                                             "same", "d/o/.wh..wh..opq", "d/o/new"};
        assert_true(strv_has(names, wanted[i]));
    }
    assert_int_equal(strv_len(names), 6);
    assert_int_equal(contents, 3);
    assert_false(holds(stream, len, "trusted"));
    assert_int_equal(send(p->top, TREE_CHANGES, &changes, &len, NULL), 0);
    _cleanup_strv_ char **same = names_of(changes, len, &contents);
    assert_int_equal(strv_len(same), 6);
    assert_int_equal(contents, 0);
}

/* What a layer cannot say is refused, not said wrongly. */
static void test_refused(void **state)
{
    const struct place *p = *state;
    _cleanup_free_ char *stream = NULL;
    struct error err = ERROR_INIT;
    size_t len;
    put(p->top, ".wh.trap", "x");
    assert_true(send(p->top, TREE_LAYER, &stream, &len, &err) < 0);
    assert_int_equal(err.kind, ERROR_UNSUPPORTED);
    assert_int_equal(send(p->top, TREE_EXPORT, &stream, &len, NULL), 0);
    assert_int_equal(unlinkat(p->top, ".wh.trap", 0), 0);
    if (geteuid() != 0)
        return;
    _cleanup_close_ int d = sub_dir(p->top, "moved");
    assert_int_equal(fsetxattr(d, "trusted.overlay.redirect", "/old", 4, 0), 0);
    _cleanup_free_ char *other = NULL;
    assert_true(send(p->top, TREE_LAYER, &other, &len, &err) < 0);
    assert_non_null(strstr(err.msg, "moved"));
}

static int report(void *context, char kind, const char *path, struct error *err)
{
    (void)err;
    strv_addf((char ***)context, "%c %s", kind, path);
    return 0;
}

static void test_compare(void **state)
{
    static const char *const wanted[] = {"C d/changed", "D d/gone", "A d/new",  "C d",
                                         "C kind",      "C link",   "A tree/x", "A tree"};
    const struct place *p = *state;
    _cleanup_strv_ char **lines = strv_copy(NULL);
    _cleanup_close_ int a = sub_dir(p->top, "a"), b = sub_dir(p->top, "b");
    _cleanup_close_ int ad = sub_dir(a, "d"), bd = sub_dir(b, "d"), t = sub_dir(b, "tree");
    const int both[] = {a, b}, dirs[] = {ad, bd};
    const struct timespec times[] = {{1, 0}, {1, 0}};
    for (size_t i = 0; i < 2; i++) {
        put(both[i], "same", "x");
        assert_int_equal(utimensat(both[i], "same", times, 0), 0);
        put(dirs[i], "changed", i ? "longer" : "x");
        assert_int_equal(symlinkat(i ? "there" : "here", both[i], "link"), 0);
    }
    put(ad, "gone", "x");
    put(bd, "new", "x");
    put(t, "x", "x");
    put(a, "kind", "x");
    assert_int_equal(mkdirat(b, "kind", 0755), 0);
    assert_int_equal(tree_compare(a, b, report, &lines, NULL), 0);
    assert_int_equal(strv_len(lines), ARRAY_SIZE(wanted));
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
        assert_string_equal(lines[i], wanted[i]);
    strv_free(TAKE_PTR(lines));
    lines = strv_copy(NULL);
    assert_int_equal(tree_compare(a, a, report, &lines, NULL), 0);
    assert_int_equal(strv_len(lines), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_attributes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_holes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_whiteouts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_compare, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
