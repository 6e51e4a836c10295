/*
 * Filters of configurations: the cache of compiled ones, and a filter that asks.
 *
 * proa-seccomp is run through a script that counts, so that a test can tell a hit from a miss.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/program.h"
#include "base/strv.h"
#include "base/text.h"
#include "check.h"
#include "runtime/container/filter-cache.h"
#include "runtime/container/internal.h"
#include "runtime/container/notify.h"
#include "wire/oci/state.h"

static char directory[] = "/tmp/proa-filter.XXXXXX";
static char *cache, *counter;

static int set_up(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(directory));
    cache = path_join(directory, "cache");
    counter = path_join(directory, "counter");
    _cleanup_free_ char *script = path_join(directory, "proa-seccomp"),
                        *text = xasprintf("#!/bin/sh\necho >>%s\nexec %s \"$@\"\n", counter,
                                          getenv("PROA_SECCOMP"));
    assert_int_equal(file_write_atomic(AT_FDCWD, script, text, strlen(text), 0700), 0);
    program_set_directory(directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(path_remove_tree(AT_FDCWD, directory), 0);
    program_set_directory(NULL);
    free(cache);
    free(counter);
    return 0;
}

/* Each test begins with no cache. */
static int forget(void **state)
{
    (void)state;
    unlink(counter);
    int r = path_remove_tree(AT_FDCWD, cache);
    return r == -ENOENT ? 0 : r;
}

static size_t compilations(void)
{
    struct stat st;
    return stat(counter, &st) < 0 ? 0 : (size_t)st.st_size;
}

/* Allows all but one call, which fails with that error. */
struct example {
    struct oci_seccomp_rule rule;
    struct oci_seccomp profile;
    char *names[2];
};

static const struct oci_seccomp *example(struct example *e, const char *name, uint32_t errnum)
{
    *e = (struct example){.names = {(char *)name, NULL}};
    e->rule = (struct oci_seccomp_rule){
        .names = e->names, .action = OCI_SECCOMP_ERRNO, .has_errno = true, .errno_ret = errnum};
    e->profile =
        (struct oci_seccomp){.default_action = OCI_SECCOMP_ALLOW, .rules = &e->rule, .n_rules = 1};
    return &e->profile;
}

static void get(const struct oci_seccomp *p, const char *dir, struct seccomp_filter *ret)
{
    struct error err = ERROR_INIT;
    *ret = (struct seccomp_filter){0};
    if (container_filter(p, dir, ret, &err) < 0)
        fail_msg("%s", err.msg);
}

static bool returns(const struct seccomp_filter *f, uint32_t value)
{
    bool found = false;
    for (size_t i = 0; i < f->n; i++)
        found |= f->instructions[i].code == (BPF_RET | BPF_K) && f->instructions[i].k == value;
    return found;
}

/* The filter of an example is right, and it took so many compilations from now. */
static void check(uint32_t errnum, const char *dir, size_t compiled)
{
    struct example e;
    struct seccomp_filter f;
    size_t before = compilations();
    get(example(&e, "mkdir", errnum), dir, &f);
    assert_true(returns(&f, SECCOMP_RET_ERRNO | errnum));
    assert_true(returns(&f, SECCOMP_RET_ALLOW));
    seccomp_filter_done(&f);
    assert_int_equal(compilations() - before, compiled);
}

/* Paths of the cache's files. */
static char **files(void)
{
    char **paths = NULL;
    DIR *d = opendir(cache);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            strv_take(&paths, path_join(cache, e->d_name));
    closedir(d);
    return paths;
}

static char *only_file(void)
{
    _cleanup_strv_ char **all = files();
    assert_int_equal(strv_len(all), 1);
    return xstrdup(all[0]);
}

static void test_hit(void **state)
{
    struct stat st;
    (void)state;
    check(95, cache, 1);
    check(95, cache, 0);
    check(96, cache, 1);
    check(95, cache, 0);
    check(96, cache, 0);
    assert_int_equal(stat(cache, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    _cleanup_strv_ char **all = files();
    assert_int_equal(strv_len(all), 2);
    for (size_t i = 0; all[i]; i++) {
        assert_int_equal(stat(all[i], &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
    }
}

/* Everything that decides about the instructions is in the key; the rest is not. */
static void test_key(void **state)
{
    char *architectures[] = {(char *)"SCMP_ARCH_X86", NULL},
         *flags[] = {(char *)"SECCOMP_FILTER_FLAG_LOG", NULL};
    struct oci_seccomp_arg arg = {1, OCI_SECCOMP_EQ, 3, 0};
    struct example e;
    (void)state;
#define MISSES(change, compiled)                                                                   \
    do {                                                                                           \
        struct seccomp_filter f;                                                                   \
        size_t before = compilations();                                                            \
        example(&e, "mkdir", 95);                                                                  \
        change;                                                                                    \
        get(&e.profile, cache, &f);                                                                \
        seccomp_filter_done(&f);                                                                   \
        assert_int_equal(compilations() - before, compiled);                                       \
    } while (0)
    MISSES((void)0, 1);
    MISSES(e.names[0] = (char *)"rmdir", 1);
    MISSES((e.rule.action = OCI_SECCOMP_TRAP, e.rule.has_errno = false), 1);
    MISSES(e.rule.has_errno = false, 1);
    MISSES((e.rule.args = &arg, e.rule.n_args = 1), 1);
    arg.value = 4;
    MISSES((e.rule.args = &arg, e.rule.n_args = 1), 1);
    arg.value_two = 5;
    MISSES((e.rule.args = &arg, e.rule.n_args = 1), 1);
    MISSES(e.profile.default_action = OCI_SECCOMP_LOG, 1);
    MISSES(e.profile.architectures = architectures, 1);
    MISSES(e.profile.flags = flags, 0);
    MISSES((void)0, 0);
    /* What is no name is not written into the compiler's JSON. */
    MISSES(e.names[0] = (char *)"mkdir\"],\"action\":\"SCMP_ACT_TRAP\",\"x\":[\"", 1);
    MISSES(e.names[0] = (char *)"\\", 0);
}

static void test_flags(void **state)
{
    char *all[] = {(char *)"SECCOMP_FILTER_FLAG_LOG", (char *)"SECCOMP_FILTER_FLAG_TSYNC",
                   (char *)"SECCOMP_FILTER_FLAG_SPEC_ALLOW", NULL},
         *unknown[] = {(char *)"SECCOMP_FILTER_FLAG_NEW_LISTENER", NULL};
    struct error err = ERROR_INIT;
    struct seccomp_filter f;
    struct example e;
    (void)state;
    example(&e, "mkdir", 95);
    e.profile.flags = all;
    get(&e.profile, cache, &f);
    assert_int_equal(f.flags, SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW);
    assert_false(f.notifies);
    seccomp_filter_done(&f);
    e.profile.flags = unknown;
    assert_int_equal(container_filter(&e.profile, cache, &f, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "NEW_LISTENER"));
}

/* The file of one profile under the name of another, as if their fingerprints were one. */
static void test_collision(void **state)
{
    (void)state;
    check(95, cache, 1);
    _cleanup_free_ char *first = only_file(), *kept = path_join(directory, "kept");
    assert_int_equal(rename(first, kept), 0);
    check(96, cache, 1);
    _cleanup_free_ char *second = only_file();
    assert_int_equal(rename(kept, second), 0);
    check(96, cache, 1);
    check(96, cache, 0);
}

static void write_file(const char *path, const void *data, size_t len)
{
    assert_int_equal(file_write_atomic(AT_FDCWD, path, data, len, 0600), 0);
}

static void test_corrupt(void **state)
{
    _cleanup_buf_ struct buf good = BUF_INIT(1 << 20);
    (void)state;
    check(95, cache, 1);
    _cleanup_free_ char *path = only_file();
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(fd_read_to_end(fd, &good), 0);
    /* Cut anywhere, also between two instructions. */
    for (size_t len = 0; len < good.len; len += len + 8 < good.len ? 8 : 1) {
        write_file(path, good.data, len);
        if (len % 64 == 0 || len + 16 > good.len)
            check(95, cache, 1);
    }
    assert_int_equal(buf_add(&good, good.data, sizeof(struct sock_filter)), 0);
    write_file(path, good.data, good.len);
    check(95, cache, 1);
    memset(good.data, 0xff, sizeof(uint64_t));
    write_file(path, good.data, good.len);
    check(95, cache, 1);
    check(95, cache, 0);
}

/* What somebody else could have written. */
static void test_not_trusted(void **state)
{
    (void)state;
    check(95, cache, 1);
    _cleanup_free_ char *path = only_file(), *kept = path_join(directory, "kept");
    assert_int_equal(chmod(path, 0620), 0);
    check(95, cache, 1);
    check(95, cache, 0);
    assert_int_equal(rename(path, kept), 0);
    assert_int_equal(symlink(kept, path), 0);
    check(95, cache, 1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    check(95, cache, 1);
    check(95, cache, 0);
    assert_int_equal(chmod(cache, 0770), 0);
    check(95, cache, 1);
    check(95, cache, 1);
    assert_int_equal(chmod(cache, 0700), 0);
    check(95, cache, 0);
}

static void test_other_owner(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    check(95, cache, 1);
    _cleanup_free_ char *path = only_file();
    assert_int_equal(chown(path, 1, 1), 0);
    check(95, cache, 1);
    check(95, cache, 0);
    assert_int_equal(chown(cache, 1, 1), 0);
    check(95, cache, 1);
    assert_int_equal(chown(cache, 0, 0), 0);
    check(95, cache, 0);
}

static void test_no_cache(void **state)
{
    _cleanup_free_ char *deep = path_join(directory, "not/there"),
                        *file = path_join(directory, "proa-seccomp");
    (void)state;
    check(95, NULL, 1);
    check(95, deep, 1);
    check(95, file, 1);
    check(95, "/proc", 1);
}

/* The engine's: a file in Docker's form, or the default profile, for a set of capabilities. */
static void check_file(const char *path, uint64_t caps, uint32_t action, size_t compiled)
{
    struct seccomp_filter f = {0};
    struct error err = ERROR_INIT;
    size_t before = compilations();
    if (container_filter_of_file(path, caps, cache, &f, &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(returns(&f, action));
    assert_int_equal(compilations() - before, compiled);
    seccomp_filter_done(&f);
}

static void test_file(void **state)
{
    static const char one[] = "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":"
                              "[\"mkdir\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":91,"
                              "\"includes\":{\"caps\":[\"CAP_KILL\"]}}]}";
    const uint32_t fails = SECCOMP_RET_ERRNO | 91;
    _cleanup_free_ char *path = path_join(directory, "profile.json");
    struct seccomp_filter f = {0};
    struct error err = ERROR_INIT;
    (void)state;
    write_file(path, one, strlen(one));
    check_file(path, 1 << 5, fails, 1);
    check_file(path, 1 << 5, fails, 0);
    check_file(path, 1 << 4, SECCOMP_RET_ALLOW, 1);
    check_file(NULL, 1 << 5, SECCOMP_RET_ALLOW, 1);
    check_file(NULL, 1 << 5, SECCOMP_RET_ALLOW, 0);
    /* What is compiled is what the file says now, whatever its times and its size. */
    _cleanup_free_ char *changed = xstrdup(one);
    *strstr(changed, "91") = '8';
    write_file(path, changed, strlen(changed));
    check_file(path, 1 << 5, SECCOMP_RET_ERRNO | 81, 1);
    write_file(path, "[]", 2);
    assert_int_not_equal(container_filter_of_file(path, 0, cache, &f, &err), 0);
    assert_non_null(strstr(err.msg, path));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(container_filter_of_file(path, 0, cache, &f, &err), -ENOENT);
}

static void test_two_at_once(void **state)
{
    pid_t children[8];
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(children); i++)
        if ((children[i] = fork()) == 0) {
            struct example e;
            struct seccomp_filter f = {0};
            struct error err = ERROR_INIT;
            for (uint32_t n = 0; n < 4; n++) {
                if (container_filter(example(&e, "mkdir", 90 + n % 2), cache, &f, &err) < 0 ||
                    !returns(&f, SECCOMP_RET_ERRNO | (90 + n % 2)))
                    _exit(1);
                seccomp_filter_done(&f);
            }
            _exit(0);
        }
    for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
        int status;
        assert_true(children[i] > 0);
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    _cleanup_strv_ char **all = files();
    assert_int_equal(strv_len(all), 2);
    check(90, cache, 0);
    check(91, cache, 0);
}

static void add_aged(int dir, unsigned int age)
{
    static const struct sock_filter allow = {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
    char text[16];
    snprintf(text, sizeof(text), "%u", age);
    struct buf key = {text, strlen(text), sizeof(text), sizeof(text)},
               program = {(char *)(uintptr_t)&allow, sizeof(allow), sizeof(allow), sizeof(allow)};
    filter_cache_write(dir, &key, &program);
    _cleanup_free_ char *name =
        xasprintf("%016llx", (unsigned long long)fingerprint(key.data, key.len));
    struct timespec times[2] = {{.tv_sec = 1000000 - age}, {.tv_sec = 1000000 - age}};
    assert_int_equal(utimensat(dir, name, times, 0), 0);
}

static bool has_aged(int dir, unsigned int age)
{
    char text[16];
    snprintf(text, sizeof(text), "%u", age);
    struct buf key = {text, strlen(text), sizeof(text), sizeof(text)};
    struct seccomp_filter f = {0};
    bool found = filter_cache_read(dir, &key, &f) == 0;
    seccomp_filter_done(&f);
    return found;
}

static void test_oldest_goes(void **state)
{
    (void)state;
    _cleanup_close_ int dir = filter_cache_open(cache);
    assert_true(dir >= 0);
    /* The oldest is neither the first nor the last that was written. */
    for (unsigned int i = 0; i < FILTER_MAX_FILES; i++)
        add_aged(dir, i == 100 ? 5000 : i);
    assert_true(has_aged(dir, 5000));
    add_aged(dir, 2000);
    assert_false(has_aged(dir, 5000));
    add_aged(dir, 1);
    assert_false(has_aged(dir, 2000));
    assert_true(has_aged(dir, 1) && has_aged(dir, FILTER_MAX_FILES - 1));
    _cleanup_strv_ char **all = files();
    assert_in_range(strv_len(all), FILTER_MAX_FILES - 1, FILTER_MAX_FILES);
}

/* A child whose mkdir is asked about, and also what sending the listener takes. */
_noreturn_ static void be_asked(const struct seccomp_filter *f, int channel)
{
    struct error err = ERROR_INIT;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || container_load_filter(f, channel, &err) < 0)
        _exit(100);
    int first = mkdir("/nowhere/1", 0700) < 0 ? errno : 0;
    int second = mkdir("/nowhere/2", 0700) < 0 ? errno : 0;
    _exit(first == EXDEV && second == ENOENT ? 0 : 101);
}

/* One call of the child's: fails with an error, or, for 0, goes on. */
static int answer(int listener, int errnum)
{
    struct seccomp_notif asked = {0};
    struct seccomp_notif_resp response = {0};
    assert_int_equal(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked), 0);
    response.id = asked.id;
    response.error = -errnum;
    response.flags = errnum ? 0 : SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    assert_int_equal(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response), 0);
    return asked.data.nr;
}

static void test_notify(void **state)
{
    char *names[] = {(char *)"mkdir", (char *)"sendmsg", (char *)"sendto", (char *)"futex", NULL};
    struct oci_seccomp_rule rule = {.names = names, .action = OCI_SECCOMP_NOTIFY};
    struct oci_seccomp profile = {.default_action = OCI_SECCOMP_ALLOW,
                                  .rules = &rule,
                                  .n_rules = 1,
                                  .listener_path = (char *)"/l"};
    struct channel_message m;
    struct seccomp_filter f;
    int ends[2], status;
    (void)state;
    get(&profile, cache, &f);
    assert_true(f.notifies);
    assert_int_equal(channel_pair(ends), 0);
    pid_t child = fork();
    if (child == 0)
        be_asked(&f, ends[1]);
    close_fd(ends[1]);
    _cleanup_close_ int listener = -EBADF, channel = ends[0];
    assert_int_equal(channel_receive(channel, &m, &listener), 0);
    assert_int_equal(m.type, CHANNEL_LISTENER);
    assert_true(listener >= 0);
    assert_int_equal(answer(listener, EXDEV), SYS_mkdir);
    assert_int_equal(answer(listener, 0), SYS_mkdir);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    seccomp_filter_done(&f);
}

/* Loading one that the kernel refuses neither hangs nor passes. */
static void test_notify_refused(void **state)
{
    struct sock_filter no_return = {BPF_LD | BPF_W | BPF_ABS, 0, 0, 0};
    const struct seccomp_filter f = {.instructions = &no_return, .n = 1, .notifies = true};
    int ends[2], status;
    (void)state;
    assert_int_equal(channel_pair(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        struct error err = ERROR_INIT;
        (void)!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        _exit(container_load_filter(&f, ends[1], &err) == -EINVAL && err.code == EINVAL ? 0 : 1);
    }
    close_fd(ends[0]);
    close_fd(ends[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0 && strlen(path) < sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

/* Checks the document at the other end and that what came with it is `sent`. */
static void check_document(int connection, int sent, const char *metadata)
{
    char text[4096], control[CMSG_SPACE(sizeof(int))];
    struct iovec iov = {text, sizeof(text)};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof(control)};
    struct error err = ERROR_INIT;
    struct stat a, b;
    ssize_t n = recvmsg(connection, &m, MSG_CMSG_CLOEXEC);
    assert_true(n > 0 && CMSG_FIRSTHDR(&m));
    _cleanup_close_ int fd = -EBADF;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
    assert_true(fstat(fd, &a) == 0 && fstat(sent, &b) == 0);
    assert_true(a.st_ino == b.st_ino && a.st_dev == b.st_dev);
    _cleanup_json_ json_t *o = NULL;
    assert_int_equal(json_parse(text, (size_t)n, "document", &o, &err), 0);
    _cleanup_json_ json_t *expected =
        json_pack("{s:s,s:[s],s:i,s:s*,s:{s:s}}", "ociVersion", OCI_VERSION, "fds", "seccompFd",
                  "pid", 42, "metadata", metadata, "state", "id", "box");
    assert_true(json_equal(o, expected));
}

static void test_send(void **state)
{
    static const char *const metadata[] = {NULL, "", "any \"text\""};
    _cleanup_free_ char *path = path_join(directory, "listener");
    struct error err = ERROR_INIT;
    (void)state;
    _cleanup_close_ int server = listen_at(path), sent = open(directory, O_RDONLY | O_CLOEXEC);
    for (size_t i = 0; i < ARRAY_SIZE(metadata); i++) {
        assert_int_equal(notify_send(path, sent, 42, metadata[i], "{\"id\":\"box\"}", &err), 0);
        _cleanup_close_ int connection = accept(server, NULL, NULL);
        check_document(connection, sent, metadata[i]);
    }
    unlink(path);
    assert_int_equal(notify_send(path, sent, 42, NULL, "{}", &err), -ENOENT);
    assert_non_null(strstr(err.msg, path));
}

int main(void)
{
#define CACHE_TEST(f) cmocka_unit_test_setup(f, forget)
    const struct CMUnitTest tests[] = {
        CACHE_TEST(test_hit),
        CACHE_TEST(test_key),
        CACHE_TEST(test_flags),
        CACHE_TEST(test_collision),
        CACHE_TEST(test_corrupt),
        CACHE_TEST(test_not_trusted),
        CACHE_TEST(test_other_owner),
        CACHE_TEST(test_no_cache),
        CACHE_TEST(test_two_at_once),
        CACHE_TEST(test_oldest_goes),
        CACHE_TEST(test_file),
        CACHE_TEST(test_notify),
        cmocka_unit_test(test_notify_refused),
        cmocka_unit_test(test_send),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
