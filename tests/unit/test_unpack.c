/* wire/erofs/reader and wire/layer/unpack: what the writer has put into an EROFS file comes out of
 * it, and into a directory (kernel/tree); what is damaged is refused, and ends. */
#include "check.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "kernel/tree.h"
#include "wire/erofs/format.h"
#include "wire/erofs/writer.h"
#include "wire/layer/unpack.h"
#include "wire/tar/tar.h"

#define MOST ((uint64_t)64 << 20)

static const struct erofs_limits limits = {(uint64_t)1 << 30, (size_t)64 << 20};

static struct erofs_inode *add(struct erofs_writer *w, struct erofs_inode *dir, const char *name,
                               uint32_t mode)
{
    const struct erofs_attributes a = {
        .mode = mode, .uid = geteuid(), .gid = getegid(), .mtime = 77};
    struct erofs_inode *i = NULL;
    assert_int_equal(erofs_add(w, dir, name, strlen(name), &a, &i, NULL), 0);
    return i;
}

static void fill(struct erofs_writer *w, struct erofs_inode *i, const char *data, size_t len)
{
    assert_int_equal(erofs_file_begin(w, i, len, false, NULL), 0);
    assert_int_equal(erofs_file_write(w, data, len, 0, NULL), 0);
    assert_int_equal(erofs_file_end(w, NULL), 0);
}

/* Contents of every layout, and more names than a block holds. */
static void make_tree(int fd)
{
    static const size_t sizes[] = {0, 1, 4031, 4033, 4096, 4097, 300000};
    _cleanup_erofs_ struct erofs_writer *w = NULL;
    _cleanup_free_ char *data = xcalloc(1, 300000);
    struct erofs_result result;
    char name[32];
    memset(data, 'd', 300000);
    assert_int_equal(erofs_writer_new(fd, &limits, &w, NULL), 0);
    struct erofs_inode *root = erofs_root(w), *many = add(w, root, "many", S_IFDIR | 0750);
    assert_int_equal(erofs_xattr_set(w, many, "trusted.overlay.opaque", "y", 1, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        snprintf(name, sizeof(name), "size-%zu", sizes[i]);
        fill(w, add(w, root, name, S_IFREG | 0640), data, sizes[i]);
    }
    for (int i = 0; i < 700; i++) {
        snprintf(name, sizeof(name), "name-%d", i);
        fill(w, add(w, many, name, S_IFREG | 0600), name, strlen(name));
    }
    struct erofs_inode *first = erofs_lookup(w, many, "name-5", 6);
    assert_int_equal(erofs_xattr_set(w, first, "user.n", "v\0w", 3, NULL), 0);
    assert_int_equal(erofs_link(w, root, "zz-hard", 7, first, NULL), 0);
    struct erofs_inode *link = add(w, root, "link", S_IFLNK | 0777);
    assert_int_equal(erofs_set_target(w, link, "size-1", NULL), 0);
    (void)add(w, root, "gone", S_IFCHR);
    struct erofs_inode *sparse = add(w, root, "sparse", S_IFREG | 0644);
    assert_int_equal(erofs_file_begin(w, sparse, (uint64_t)1 << 20, true, NULL), 0);
    assert_int_equal(erofs_file_write(w, "middle", 6, 500000, NULL), 0);
    assert_int_equal(erofs_file_end(w, NULL), 0);
    assert_int_equal(erofs_finish(w, &result, NULL), 0);
}

struct seen {
    size_t entries, bytes, links, xattrs, opaque;
};

static struct seen read_stream(int fd)
{
    struct seen s = {0};
    _cleanup_(tar_reader_done) struct tar_reader reader;
    _cleanup_free_ char *text = NULL;
    size_t len = (size_t)lseek(fd, 0, SEEK_END);
    text = xcalloc(1, len + 1);
    assert_int_equal(pread(fd, text, len, 0), len);
    const unsigned char *p = (const unsigned char *)text;
    struct tar_event ev;
    tar_reader_init(&reader);
    do {
        assert_int_equal(tar_reader_next(&reader, &p, &len, &ev, NULL), 0);
        if (ev.kind == TAR_EVENT_DATA)
            s.bytes += ev.len;
        if (ev.kind != TAR_EVENT_ENTRY)
            continue;
        s.entries++;
        s.links += ev.entry.type == TAR_HARDLINK;
        for (size_t i = 0; i < ev.entry.n_xattrs; i++) {
            const struct tar_xattr *x = &ev.entry.xattrs[i];
            s.xattrs +=
                strcmp(x->name, "user.n") == 0 && x->len == 3 && memcmp(x->value, "v\0w", 3) == 0;
            s.opaque += strcmp(x->name, "trusted.overlay.opaque") == 0 &&
                        strcmp(ev.entry.path, "./many/") == 0;
        }
    } while (ev.kind != TAR_EVENT_END);
    return s;
}

static int unpack(int erofs, uint64_t most, int *ret_out, struct error *err)
{
    struct layer_unpacked done = {0};
    *ret_out = memfd_create("stream", MFD_CLOEXEC);
    return layer_unpack(erofs, *ret_out, most, &done, err);
}

static void everything_comes_out(void **state)
{
    struct error err = ERROR_INIT;
    (void)state;
    _cleanup_close_ int fd = memfd_create("layer", MFD_CLOEXEC), out = -EBADF;
    make_tree(fd);
    assert_int_equal(unpack(fd, MOST, &out, &err), 0);
    struct seen s = read_stream(out);
    assert_int_equal(s.entries, 1 + 1 + 7 + 700 + 1 + 1 + 1 + 1);
    assert_int_equal(s.links, 1);
    assert_int_equal(s.xattrs, 1);
    assert_int_equal(s.opaque, 1);
    /* name-0 to name-9, to name-99, to name-699 */
    assert_int_equal(s.bytes, 1 + 4031 + 4033 + 4096 + 4097 + 300000 + 10 * 6 + 90 * 7 + 600 * 8 +
                                  (1 << 20));
}

static void check_file(int top, const char *path, size_t size, mode_t mode)
{
    struct stat st;
    assert_int_equal(fstatat(top, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_size, size);
    assert_int_equal(st.st_mode, S_IFREG | mode);
    assert_int_equal(st.st_mtime, 77);
}

static void it_fills_a_directory(void **state)
{
    char dir[] = "/tmp/proa-unpack-XXXXXX", value[8];
    struct stat one, two, hidden;
    struct error err = ERROR_INIT;
    (void)state;
    _cleanup_close_ int fd = memfd_create("layer", MFD_CLOEXEC), out = -EBADF;
    make_tree(fd);
    assert_int_equal(unpack(fd, MOST, &out, &err), 0);
    assert_non_null(mkdtemp(dir));
    _cleanup_close_ int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(lseek(out, 0, SEEK_SET), 0);
    int r = tree_receive_layer(top, false, out, &err);
    if (r == 0) {
        check_file(top, "size-4097", 4097, 0640);
        check_file(top, "many/name-699", 8, 0600);
        check_file(top, "sparse", 1 << 20, 0644);
        assert_int_equal(fstatat(top, "many/name-5", &one, 0), 0);
        assert_int_equal(fstatat(top, "zz-hard", &two, 0), 0);
        assert_int_equal(one.st_ino, two.st_ino);
        assert_int_equal(fstatat(top, "gone", &hidden, AT_SYMLINK_NOFOLLOW), 0);
        assert_true(S_ISCHR(hidden.st_mode) && hidden.st_rdev == 0);
        _cleanup_close_ int file = openat(top, "zz-hard", O_RDONLY | O_CLOEXEC);
        _cleanup_close_ int many = openat(top, "many", O_RDONLY | O_CLOEXEC);
        assert_int_equal(fgetxattr(file, "user.n", value, sizeof(value)), 3);
        assert_int_equal(fgetxattr(many, "user.overlay.opaque", value, sizeof(value)), 1);
    }
    assert_int_equal(path_remove_tree(AT_FDCWD, dir), 0);
    assert_string_equal(err.msg, "");
}

static void bounds_hold(void **state)
{
    struct error err = ERROR_INIT;
    (void)state;
    _cleanup_close_ int fd = memfd_create("layer", MFD_CLOEXEC), out = -EBADF;
    make_tree(fd);
    assert_int_equal(unpack(fd, 100000, &out, &err), -EFBIG);
    assert_int_equal(err.kind, ERROR_LIMIT);
}

/* The root is made its own child: the walk comes to an end all the same. */
static void a_directory_in_itself_ends(void **state)
{
    struct error err = ERROR_INIT;
    struct erofs_disk_super super;
    struct erofs_disk_dirent d;
    (void)state;
    _cleanup_erofs_ struct erofs_writer *w = NULL;
    struct erofs_result result;
    _cleanup_close_ int fd = memfd_create("layer", MFD_CLOEXEC), out = -EBADF;
    assert_int_equal(erofs_writer_new(fd, &limits, &w, NULL), 0);
    (void)add(w, erofs_root(w), "a", S_IFDIR | 0755);
    assert_int_equal(erofs_finish(w, &result, NULL), 0);
    assert_int_equal(pread(fd, &super, sizeof(super), EROFS_SUPER_OFFSET), sizeof(super));
    off_t root =
        ((off_t)super.meta_block << EROFS_BLOCK_BITS) + ((off_t)super.root_nid << EROFS_SLOT_BITS);
    off_t third = root + (off_t)sizeof(struct erofs_disk_inode) + 2 * (off_t)sizeof(d);
    assert_int_equal(pread(fd, &d, sizeof(d), third), sizeof(d));
    d.nid = super.root_nid;
    assert_int_equal(pwrite(fd, &d, sizeof(d), third), sizeof(d));
    assert_true(unpack(fd, MOST, &out, &err) < 0);
    assert_int_equal(err.kind, ERROR_LIMIT);
}

/* Every byte of the superblock and of three inodes with what stands behind them is wrong once: it
 * is an error or another tree, never a fault. */
static void what_is_damaged_is_refused(void **state)
{
    (void)state;
    _cleanup_erofs_ struct erofs_writer *w = NULL;
    struct erofs_result result;
    size_t refused = 0;
    _cleanup_close_ int fd = memfd_create("layer", MFD_CLOEXEC);
    assert_int_equal(erofs_writer_new(fd, &limits, &w, NULL), 0);
    struct erofs_inode *dir = add(w, erofs_root(w), "d", S_IFDIR | 0755);
    struct erofs_inode *f = add(w, dir, "f", S_IFREG | 0644);
    assert_int_equal(erofs_xattr_set(w, f, "user.n", "v", 1, NULL), 0);
    fill(w, f, "contents", 8);
    assert_int_equal(erofs_finish(w, &result, NULL), 0);
    off_t last = (off_t)result.metadata + 512;
    for (off_t at = EROFS_SUPER_OFFSET; at < last; at++) {
        unsigned char byte, wrong;
        if (at == EROFS_SUPER_OFFSET + 128)
            at = (off_t)result.metadata;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        wrong = byte ^ 0xa5;
        assert_int_equal(pwrite(fd, &wrong, 1, at), 1);
        int out = -EBADF;
        struct error err = ERROR_INIT;
        if (unpack(fd, 1 << 20, &out, &err) < 0) {
            assert_string_not_equal(err.msg, "");
            refused++;
        }
        close_fd(out);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    assert_true(refused > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_comes_out),
        cmocka_unit_test(it_fills_a_directory),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(a_directory_in_itself_ends),
        cmocka_unit_test(what_is_damaged_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
