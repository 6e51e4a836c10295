/* wire/erofs: what is written is what the format says, the same each time, and within its limits.
 * fsck.erofs, when it is installed, judges the whole; mounting is tests/integration's. */
#include "check.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/process.h"
#include "wire/erofs/format.h"
#include "wire/erofs/writer.h"

static const struct erofs_limits limits = {(uint64_t)1 << 30, (size_t)64 << 20};
static const struct erofs_attributes file = {.mode = S_IFREG | 0640, .uid = 7, .mtime = 5};
static const struct erofs_attributes directory = {.mode = S_IFDIR | 0755};

static struct erofs_inode *add(struct erofs_writer *w, struct erofs_inode *dir, const char *name,
                               const struct erofs_attributes *a)
{
    struct erofs_inode *i = NULL;
    assert_int_equal(erofs_add(w, dir, name, strlen(name), a, &i, NULL), 0);
    return i;
}

static void fill(struct erofs_writer *w, struct erofs_inode *i, size_t size)
{
    _cleanup_free_ char *data = malloc(size + 1);
    memset(data, 'x', size);
    assert_int_equal(erofs_file_begin(w, i, size, false, NULL), 0);
    assert_int_equal(erofs_file_write(w, data, size / 2, 0, NULL), 0);
    assert_int_equal(erofs_file_write(w, data, size - size / 2, size / 2, NULL), 0);
    assert_int_equal(erofs_file_end(w, NULL), 0);
}

static void make_tree(int fd, struct erofs_result *ret)
{
    static const size_t sizes[] = {0, 1, 4031, 4032, 4033, 4095, 4096, 4097, 1 << 20, 1234567};
    _cleanup_erofs_ struct erofs_writer *w = NULL;
    char name[64];
    assert_int_equal(erofs_writer_new(fd, &limits, &w, NULL), 0);
    struct erofs_inode *many = add(w, erofs_root(w), "many", &directory);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        snprintf(name, sizeof(name), "size-%zu", sizes[i]);
        fill(w, add(w, erofs_root(w), name, &file), sizes[i]);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "%d", i * 7919 % 1000);
        struct erofs_inode *f = add(w, many, name, &file);
        assert_int_equal(erofs_xattr_set(w, f, "user.n", name, strlen(name), NULL), 0);
        fill(w, f, (size_t)i);
    }
    struct erofs_inode *linked = erofs_lookup(w, many, "5", 1);
    assert_int_equal(erofs_link(w, erofs_root(w), "hard", 4, linked, NULL), 0);
    struct erofs_attributes link = {.mode = S_IFLNK | 0777};
    assert_int_equal(erofs_set_target(w, add(w, many, "link", &link), "size-1", NULL), 0);
    struct erofs_inode *sparse = add(w, erofs_root(w), "sparse", &file);
    assert_int_equal(erofs_file_begin(w, sparse, (uint64_t)5 << 30, true, NULL), 0);
    assert_int_equal(erofs_file_write(w, "middle", 6, (uint64_t)3 << 30, NULL), 0);
    assert_int_equal(erofs_file_end(w, NULL), 0);
    assert_int_equal(erofs_finish(w, ret, NULL), 0);
}

static void test_tree(void **state)
{
    struct erofs_result a, b;
    struct stat st;
    (void)state;
    _cleanup_close_ int one = memfd_create("one", 0), two = memfd_create("two", 0);
    make_tree(one, &a);
    make_tree(two, &b);
    assert_int_equal(fstat(one, &st), 0);
    assert_int_equal(st.st_size, a.bytes);
    assert_int_equal(a.bytes % EROFS_BLOCK_SIZE, 0);
    assert_int_equal(a.inodes, 1014);
    assert_int_equal(a.bytes, b.bytes);
    void *x = mmap(NULL, a.bytes, PROT_READ, MAP_PRIVATE, one, 0);
    void *y = mmap(NULL, a.bytes, PROT_READ, MAP_PRIVATE, two, 0);
    assert_memory_equal(x, y, a.bytes); /* hashes are keyed anew each time: no trace of it */
    const struct erofs_disk_super *super =
        (const struct erofs_disk_super *)((char *)x + EROFS_SUPER_OFFSET);
    assert_int_equal(super->magic, EROFS_MAGIC);
    assert_int_equal(super->inodes, a.inodes);
    assert_int_not_equal(super->root_nid, 0);
    munmap(x, a.bytes);
    munmap(y, a.bytes);
}

static void test_fsck(void **state)
{
    struct erofs_result result;
    char path[] = "/tmp/proa-test-erofs-XXXXXX";
    char *argv[] = {(char *)"fsck.erofs", path, NULL};
    struct error err = ERROR_INIT;
    (void)state;
    _cleanup_close_ int fd = mkstemp(path);
    assert_true(fd >= 0);
    make_tree(fd, &result);
    int r = process_run("fsck.erofs", argv, -EBADF, NULL, &err);
    unlink(path);
    if (r == -ENOENT)
        skip();
    assert_string_equal(err.msg, "");
}

static void test_refusals(void **state)
{
    _cleanup_erofs_ struct erofs_writer *w = NULL;
    struct erofs_inode *i = NULL;
    struct error err = ERROR_INIT;
    char long_name[256];
    (void)state;
    _cleanup_close_ int fd = memfd_create("refusals", 0);
    assert_int_equal(erofs_writer_new(fd, &limits, &w, NULL), 0);
    struct erofs_inode *root = erofs_root(w);
    memset(long_name, 'n', sizeof(long_name));
    static const char *const bad[] = {"", ".", "..", "a/b"};
    for (size_t n = 0; n < ARRAY_SIZE(bad); n++)
        assert_true(erofs_add(w, root, bad[n], strlen(bad[n]), &file, &i, &err) < 0);
    assert_true(erofs_add(w, root, long_name, 256, &file, &i, &err) < 0);
    assert_int_equal(erofs_add(w, root, long_name, 255, &file, &i, &err), 0);
    assert_int_equal(erofs_add(w, root, long_name, 255, &file, &i, &err), -EEXIST);
    assert_true(erofs_add(w, i, "below", 5, &file, &i, &err) < 0);
    assert_true(erofs_link(w, root, "x", 1, root, &err) < 0);
    assert_int_equal(erofs_xattr_set(w, i, "other.x", "", 0, &err), -EOPNOTSUPP);
    assert_int_equal(erofs_file_begin(w, i, 10, false, &err), 0);
    assert_true(erofs_file_write(w, "12345678901", 11, 0, &err) < 0);
    assert_int_equal(erofs_file_write(w, "12345", 5, 0, &err), 0);
    assert_true(erofs_file_end(w, &err) < 0);
    assert_string_equal(err.msg, "a file ends after 5 of its 10 bytes");
}

static void test_limits(void **state)
{
    const struct erofs_limits small = {(uint64_t)1 << 20, (size_t)1 << 20};
    _cleanup_erofs_ struct erofs_writer *w = NULL;
    struct erofs_inode *i;
    struct error err = ERROR_INIT;
    char data[65536] = "", name[64];
    int r = 0;
    (void)state;
    _cleanup_close_ int fd = memfd_create("limits", 0);
    assert_int_equal(erofs_writer_new(fd, &small, &w, NULL), 0);
    i = add(w, erofs_root(w), "big", &file);
    assert_int_equal(erofs_file_begin(w, i, (uint64_t)1 << 30, false, &err), 0);
    for (uint64_t at = 0; r == 0 && at < (uint64_t)1 << 30; at += sizeof(data))
        r = erofs_file_write(w, data, sizeof(data), at, &err);
    assert_int_equal(err.kind, ERROR_LIMIT);
    error_clear(&err);
    for (int n = 0, added = 0; added == 0 && n < 100000; n++) {
        snprintf(name, sizeof(name), "%d", n);
        added = erofs_add(w, erofs_root(w), name, strlen(name), &file, &i, &err);
    }
    assert_int_equal(err.kind, ERROR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_fsck),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
