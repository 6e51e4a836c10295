/* kernel/tree: cp's rules, what is kept, and every way out of the root that a stream or a tree can
 * try. Runs as root or not; what needs root is skipped without it. */
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "kernel/tree.h"
#include "wire/tar/tar.h"

/* A directory with "from" and "to" roots and an "outside" that must stay as it is. */
struct place {
    char dir[64];
    int from, to, outside;
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
    snprintf(p->dir, sizeof(p->dir), "/tmp/proa-tree-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    p->from = make_dir(p, "from");
    p->to = make_dir(p, "to");
    p->outside = make_dir(p, "outside");
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    close(p->from);
    close(p->to);
    close(p->outside);
    assert_int_equal(path_remove_tree(AT_FDCWD, p->dir), 0);
    free(p);
    return 0;
}

static void put(int dir, const char *name, const char *text)
{
    assert_int_equal(file_write_atomic(dir, name, text, strlen(text), 0644), 0);
}

static void expect(int dir, const char *name, const char *text)
{
    _cleanup_free_ char *got = NULL;
    assert_int_equal(file_read(dir, name, 1 << 20, &got), 0);
    assert_string_equal(got, text);
}

static bool exists(int dir, const char *name)
{
    struct stat st;
    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Sends in a child and receives here. */
static int copy_how(int from, const char *source, bool follow, int to, const char *target,
                    struct error *err)
{
    int fds[2], status;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct error e = ERROR_INIT;
        close(fds[0]);
        _exit(tree_send(from, source, follow, fds[1], &e) == 0 ? 0 : 1);
    }
    close(fds[1]);
    int r = tree_receive(to, target, fds[0], err);
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return r;
}

static int copy(int from, const char *source, int to, const char *target, struct error *err)
{
    return copy_how(from, source, false, to, target, err);
}

static int receive_buf(int to, const char *target, const struct buf *stream, struct error *err)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_true(stream->len < 60000);
    assert_int_equal(fd_write_all(fds[1], stream->data, stream->len), 0);
    close(fds[1]);
    int r = tree_receive(to, target, fds[0], err);
    close(fds[0]);
    return r;
}

static void test_rules(void **state)
{
    struct place *p = *state;
    struct error err = ERROR_INIT;
    mkdirat(p->from, "d", 0755);
    put(p->from, "d/one", "1");
    put(p->from, "file", "text");
    mkdirat(p->to, "there", 0755);
    assert_int_equal(copy(p->from, "/file", p->to, "/there", &err), 0);
    expect(p->to, "there/file", "text");
    assert_int_equal(copy(p->from, "file", p->to, "/there/other", &err), 0);
    expect(p->to, "there/other", "text");
    assert_int_equal(copy(p->from, "/d", p->to, "/there", &err), 0);
    expect(p->to, "there/d/one", "1");
    assert_int_equal(copy(p->from, "/d", p->to, "/new", &err), 0);
    expect(p->to, "new/one", "1");
    assert_int_equal(copy(p->from, "/d/.", p->to, "/there", &err), 0);
    expect(p->to, "there/one", "1");
    assert_int_equal(copy(p->from, "/d/.", p->to, "/newer", &err), 0);
    expect(p->to, "newer/one", "1");
    assert_int_equal(copy(p->from, "/", p->to, "/all", &err), 0);
    expect(p->to, "all/d/one", "1");
    assert_int_equal(copy(p->from, "file", p->to, "/nowhere/", &err), -ENOENT);
    assert_int_equal(copy(p->from, "file", p->to, "/no/where", &err), -ENOENT);
    assert_int_equal(copy(p->from, "d", p->to, "/there/file", &err), -ENOTDIR);
    mkdirat(p->to, "there/x", 0755);
    mkdirat(p->to, "there/x/file", 0755);
    assert_int_equal(copy(p->from, "file", p->to, "/there/x", &err), -EISDIR);
    assert_true(tree_send(p->from, "absent", false, p->outside, &err) == -ENOENT);
}

/* With `follow` what the link leads to arrives under the link's name, never from outside the root.
 */
static void test_follow(void **state)
{
    struct place *p = *state;
    struct error err = ERROR_INIT;
    struct stat st;
    mkdirat(p->from, "d", 0755);
    put(p->from, "d/one", "1");
    put(p->from, "passwd", "inside");
    put(p->outside, "passwd", "outside");
    mkdirat(p->to, "there", 0755);
    assert_int_equal(symlinkat("d/one", p->from, "file"), 0);
    assert_int_equal(symlinkat("/d", p->from, "dir"), 0);
    assert_int_equal(symlinkat("../../outside/passwd", p->from, "up"), 0);
    assert_int_equal(symlinkat("../passwd", p->from, "d/over"), 0);
    assert_int_equal(symlinkat("loop", p->from, "loop"), 0);
    assert_int_equal(mkfifoat(p->from, "pipe", 0600), 0);
    assert_int_equal(copy_how(p->from, "/file", true, p->to, "/there", &err), 0);
    expect(p->to, "there/file", "1");
    assert_int_equal(fstatat(p->to, "there/file", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(copy_how(p->from, "/dir", true, p->to, "/there", &err), 0);
    expect(p->to, "there/dir/one", "1");
    assert_int_equal(copy_how(p->from, "/d/over", true, p->to, "/there", &err), 0);
    expect(p->to, "there/over", "inside");
    assert_int_equal(copy_how(p->from, "/passwd", true, p->to, "/there", &err), 0);
    expect(p->to, "there/passwd", "inside");
    assert_int_equal(copy_how(p->from, "/pipe", true, p->to, "/there", &err), 0);
    assert_true(exists(p->to, "there/pipe"));
    assert_true(tree_send(p->from, "up", true, p->outside, &err) == -ENOENT);
    assert_true(tree_send(p->from, "loop", true, p->outside, &err) == -ELOOP);
}

static void test_kept(void **state)
{
    struct place *p = *state;
    struct error err = ERROR_INIT;
    struct stat a, b;
    struct timespec times[2] = {{1600000000, 5}, {1600000001, 123456789}};
    mkdirat(p->from, "d", 0700);
    put(p->from, "d/file", "text");
    assert_int_equal(fchmodat(p->from, "d/file", 04751, 0), 0);
    assert_int_equal(linkat(p->from, "d/file", p->from, "d/hard", 0), 0);
    assert_int_equal(symlinkat("../../../etc/passwd", p->from, "d/link"), 0);
    assert_int_equal(mkfifoat(p->from, "d/fifo", 0640), 0);
    if (geteuid() == 0) {
        assert_int_equal(mknodat(p->from, "d/null", S_IFCHR | 0666, makedev(1, 3)), 0);
        assert_int_equal(fchownat(p->from, "d/file", 1234, 5678, 0), 0);
        assert_int_equal(fchmodat(p->from, "d/file", 04751, 0), 0);
    }
    int big = openat(p->from, "d/sparse", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(big, 8 << 20), 0);
    assert_int_equal(pwrite(big, "x", 1, 4 << 20), 1);
    close(big);
    assert_int_equal(utimensat(p->from, "d/file", times, 0), 0);
    assert_int_equal(utimensat(p->from, "d/link", times, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(utimensat(p->from, "d", times, 0), 0);
    assert_int_equal(copy(p->from, "d", p->to, "/", &err), 0);
    static const char *const names[] = {"d", "d/file", "d/hard", "d/link", "d/fifo", "d/sparse"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        assert_int_equal(fstatat(p->from, names[i], &a, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(fstatat(p->to, names[i], &b, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(a.st_mode, b.st_mode);
        assert_int_equal(a.st_uid, b.st_uid);
        assert_int_equal(a.st_gid, b.st_gid);
        assert_int_equal(a.st_mtim.tv_sec, b.st_mtim.tv_sec);
        assert_int_equal(a.st_mtim.tv_nsec, b.st_mtim.tv_nsec);
        if (!S_ISDIR(a.st_mode))
            assert_int_equal(a.st_size, b.st_size);
    }
    assert_true(b.st_blocks < 2048); /* the hole is one again */
    assert_int_equal(fstatat(p->to, "d/hard", &a, 0), 0);
    assert_int_equal(fstatat(p->to, "d/file", &b, 0), 0);
    assert_int_equal(a.st_ino, b.st_ino);
    if (geteuid() == 0) {
        assert_int_equal(fstatat(p->to, "d/null", &a, 0), 0);
        assert_int_equal(a.st_rdev, makedev(1, 3));
    }
}

static void test_links(void **state)
{
    struct place *p = *state;
    struct error err = ERROR_INIT;
    char target[64];
    mkdirat(p->from, "real", 0755);
    put(p->from, "real/one", "1");
    assert_int_equal(symlinkat("/real", p->from, "link"), 0);
    assert_int_equal(copy(p->from, "link", p->to, "/", &err), 0);
    assert_int_equal(readlinkat(p->to, "link", target, sizeof(target)), 5);
    unlinkat(p->to, "link", 0);
    assert_int_equal(copy(p->from, "link/", p->to, "/", &err), 0);
    expect(p->to, "link/one", "1");
    /* A link at the end of the target is written through, inside the root. */
    put(p->from, "file", "text");
    assert_int_equal(symlinkat("../../../../victim", p->to, "out"), 0);
    assert_int_equal(copy(p->from, "file", p->to, "/out", &err), 0);
    expect(p->to, "victim", "text");
    assert_int_equal(symlinkat("loop", p->to, "loop"), 0);
    assert_true(copy(p->from, "file", p->to, "/loop", &err) < 0);
}

static void add(struct buf *out, enum tar_type type, const char *path, const char *link)
{
    struct tar_entry e = {
        .type = type, .path = path, .link = link, .mode = 0755, .uid = geteuid(), .gid = getegid()};
    assert_int_equal(tar_write_header(out, &e), 0);
}

static void test_escapes(void **state)
{
    struct place *p = *state;
    _cleanup_free_ char *outside = path_join(p->dir, "outside");
    static const char *const names[] = {"../outside/x", "a/../../outside/x", "..", "a/.."};
    put(p->outside, "canary", "alive");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_buf_ struct buf s = BUF_INIT(1 << 20);
        struct error err = ERROR_INIT;
        add(&s, TAR_FILE, names[i], "");
        assert_int_equal(tar_write_end(&s), 0);
        assert_int_equal(receive_buf(p->to, "/", &s, &err), -EINVAL);
        assert_int_equal(err.kind, ERROR_CORRUPT);
    }
    for (int what = 0; what < 4; what++) {
        _cleanup_buf_ struct buf s = BUF_INIT(1 << 20);
        struct error err = ERROR_INIT;
        add(&s, TAR_SYMLINK, "out", outside);
        if (what == 0)
            add(&s, TAR_FILE, "out/x", "");
        if (what == 1)
            add(&s, TAR_DIRECTORY, "out/", "");
        if (what == 2)
            add(&s, TAR_HARDLINK, "hard", "out/canary");
        if (what == 3)
            add(&s, TAR_HARDLINK, "hard", "../outside/canary");
        assert_int_equal(tar_write_end(&s), 0);
        assert_true(receive_buf(p->to, "/", &s, &err) < 0);
        assert_false(exists(p->to, "hard"));
    }
    _cleanup_buf_ struct buf s = BUF_INIT(1 << 20);
    struct error err = ERROR_INIT;
    add(&s, TAR_FILE, "/absolute", "");
    add(&s, TAR_FILE, "out", ""); /* replaces the link, does not write through it */
    assert_int_equal(tar_write_end(&s), 0);
    assert_int_equal(receive_buf(p->to, "/", &s, &err), 0);
    assert_true(exists(p->to, "absolute"));
    assert_false(exists(p->outside, "x"));
    expect(p->outside, "canary", "alive");
}

static void test_bounds(void **state)
{
    struct place *p = *state;
    _cleanup_buf_ struct buf s = BUF_INIT(1 << 20), name = BUF_INIT(1 << 16), two = BUF_INIT(65536);
    struct error err = ERROR_INIT;
    for (int i = 0; i < 2000; i++)
        assert_int_equal(buf_add_str(&name, "d/"), 0);
    add(&s, TAR_DIRECTORY, name.data, "");
    assert_int_equal(tar_write_end(&s), 0);
    assert_int_equal(receive_buf(p->to, "/", &s, &err), -E2BIG);
    assert_int_equal(err.kind, ERROR_LIMIT);
    add(&two, TAR_FILE, "a", "");
    add(&two, TAR_FILE, "b", "");
    assert_int_equal(tar_write_end(&two), 0);
    assert_int_equal(receive_buf(p->to, "/renamed", &two, &err), -EINVAL);
    two.len = 700; /* cut off */
    assert_int_equal(receive_buf(p->to, "/", &two, &err), -EBADMSG);
    /* A truncated file does not stay. */
    _cleanup_buf_ struct buf cut = BUF_INIT(65536);
    struct tar_entry e = {.type = TAR_FILE, .path = "cut", .size = 4000};
    assert_int_equal(tar_write_header(&cut, &e), 0);
    assert_int_equal(receive_buf(p->to, "/", &cut, &err), -EBADMSG);
    assert_false(exists(p->to, "cut"));
}

static void test_owned(void **state)
{
    struct place *p = *state;
    _cleanup_buf_ struct buf s = BUF_INIT(1 << 20);
    struct error err = ERROR_INIT;
    struct stat st;
    struct tar_entry e = {.type = TAR_FILE, .path = "f", .mode = 06755, .uid = 77};
    struct tar_entry dev = {.type = TAR_BLOCK, .path = "disk", .mode = 0666, .major = 8};
    assert_int_equal(tar_write_header(&s, &e), 0);
    assert_int_equal(tar_write_header(&s, &dev), 0);
    assert_int_equal(tar_write_end(&s), 0);
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(fd_write_all(fds[1], s.data, s.len), 0);
    close(fds[1]);
    assert_int_equal(tree_receive_owned(p->to, "/", "/.", fds[0], geteuid(), getegid(), &err), 0);
    close(fds[0]);
    assert_int_equal(fstatat(p->to, "f", &st, 0), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0755);
    assert_int_equal(st.st_uid, geteuid());
    assert_false(exists(p->to, "disk"));
}

/* A machine's agent is not trusted to send what it was asked for: `cp vm:/logs/x /root` must not
 * become /root/.profile. */
static void test_asked_for(void **state)
{
    static const struct {
        const char *sent, *name, *link;
        int result;
    } cases[] = {
        {"/logs/x", "x", NULL, 0},
        {"/logs/x/", "x/file", NULL, 0},
        {"/logs/.", ".profile", NULL, 0},
        {"/logs/x", ".profile", NULL, -EINVAL},
        {"/logs/x", "./.ssh/authorized_keys", NULL, -EINVAL},
        {"/logs/x", "x/link", "secret", -EINVAL},
    };
    struct place *p = *state;
    put(p->to, "secret", "secret");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_buf_ struct buf s = BUF_INIT(1 << 16);
        struct error err = ERROR_INIT;
        struct tar_entry e = {.type = cases[i].link ? TAR_HARDLINK : TAR_FILE,
                              .path = cases[i].name,
                              .link = cases[i].link ? cases[i].link : "",
                              .mode = 0644};
        int fds[2];
        assert_int_equal(tar_write_header(&s, &e), 0);
        assert_int_equal(tar_write_end(&s), 0);
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        assert_int_equal(fd_write_all(fds[1], s.data, s.len), 0);
        close(fds[1]);
        int r = tree_receive_owned(p->to, "/", cases[i].sent, fds[0], geteuid(), getegid(), &err);
        close(fds[0]);
        assert_int_equal(r, cases[i].result);
        assert_int_equal(path_remove_tree(p->to, "x"), 0);
    }
    assert_false(exists(p->to, ".ssh"));
}

/* Somebody swaps a directory of the tree with a link to the outside while files are copied. */
static void test_swaps(void **state)
{
    struct place *p = *state;
    _cleanup_free_ char *outside = path_join(p->dir, "outside");
    put(p->outside, "secret", "secret");
    mkdirat(p->to, "d", 0755);
    mkdirat(p->from, "d", 0755);
    put(p->from, "d/file", "text");
    assert_int_equal(symlinkat(outside, p->to, "l"), 0);
    assert_int_equal(symlinkat(outside, p->from, "l"), 0);
    pid_t pid = fork();
    if (pid == 0)
        for (;;) {
            renameat2(p->to, "d", p->to, "l", RENAME_EXCHANGE);
            renameat2(p->from, "d", p->from, "l", RENAME_EXCHANGE);
        }
    for (int i = 0; i < 300; i++) {
        struct error err = ERROR_INIT;
        (void)!copy(p->from, "d", p->to, "/", &err);
        (void)!copy(p->from, "d", p->to, "/d", &err);
        (void)!copy(p->from, "d/file", p->to, "/d/new", &err);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_false(exists(p->outside, "file"));
    assert_false(exists(p->outside, "new"));
    assert_false(exists(p->outside, "d"));
    /* Whichever of the two names is the directory now: the secret was not copied into it. */
    const char *const names[] = {"d", "l"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_close_ int fd =
            openat(p->to, names[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        assert_false(fd >= 0 && exists(fd, "secret"));
    }
    expect(p->outside, "secret", "secret");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rules, setup, teardown),
        cmocka_unit_test_setup_teardown(test_follow, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_links, setup, teardown),
        cmocka_unit_test_setup_teardown(test_escapes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_owned, setup, teardown),
        cmocka_unit_test_setup_teardown(test_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_swaps, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
