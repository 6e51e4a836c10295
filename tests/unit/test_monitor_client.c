/* runtime/monitor/client.h against the real monitor program (with a shell for a workload): start,
 * attach through a terminal, detach, resize, signals, finish; nothing left over. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/terminal.h"
#include "base/text.h"
#include "runtime/monitor/client.h"
#include "runtime/monitor/detach.h"

struct place {
    char dir[64];
    struct monitor_spec spec;
};

static int setup(void **state)
{
    struct place *p = xnew(struct place);
    snprintf(p->dir, sizeof(p->dir), "/tmp/proa-client-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    p->spec = (struct monitor_spec){
        .program = getenv("FAKE_MONITOR"),
        .id = "i",
        .bundle = p->dir,
        .run_dir = p->dir,
        .root = p->dir,
        .network_fd = -EBADF,
    };
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    assert_int_equal(monitor_wait_gone(p->dir, 5000), 0);
    assert_int_equal(path_remove_tree(AT_FDCWD, p->dir), 0);
    free(p);
    return 0;
}

static char *in_place(struct place *p, const char *name)
{
    return path_join(p->dir, name);
}

static void script(struct place *p, const char *text)
{
    _cleanup_free_ char *path = in_place(p, "script");
    assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text), 0700), 0);
}

static pid_t start(struct place *p, int *ret_attach)
{
    struct error err = ERROR_INIT;
    pid_t pid = 0;
    int attach = -EBADF;
    int r = monitor_start(&p->spec, &pid, &attach, &err);
    if (r < 0)
        fail_msg("%s", err.msg);
    if (ret_attach)
        *ret_attach = attach;
    else
        close_fd(attach);
    return pid;
}

static struct monitor_status status(struct place *p)
{
    struct monitor_status s;
    struct error err = ERROR_INIT;
    assert_int_equal(monitor_status_read(p->dir, p->dir, &s, &err), 0);
    return s;
}

static void test_start(void **state)
{
    struct place *p = *state;
    struct error err = ERROR_INIT;
    pid_t pid;
    int attach;
    assert_int_equal(monitor_start(&p->spec, &pid, &attach, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "/script: no such file"));
    assert_int_equal(status(p).state, MONITOR_EXITED);
    script(p, "exec sleep 100");
    int64_t best = INT64_MAX;
    for (int i = 0; i < 10; i++) {
        int64_t before = time_now_ns();
        pid = start(p, NULL);
        best = MIN(best, time_now_ns() - before);
        struct monitor_status s = status(p);
        assert_true(s.alive && s.state == MONITOR_RUNNING && s.pid == pid);
        assert_int_equal(monitor_stopping(p->dir, &err), 0);
        kill(pid, SIGKILL);
        assert_int_equal(monitor_wait_gone(p->dir, 5000), 0);
        assert_int_equal(status(p).exit_code, 137);
    }
    print_message("start to ready, best of 10: %lld us\n", (long long)best / 1000);
    p->spec.program = "/nonexistent";
    assert_int_equal(monitor_start(&p->spec, &pid, &attach, &err), -ENOENT);
    p->spec.program = "/bin/true";
    assert_int_equal(monitor_start(&p->spec, &pid, &attach, &err), -EIO);
}

/* The monitor keeps nothing of its starter's but what it was given, and no terminal. */
static void test_alone(void **state)
{
    struct place *p = *state;
    int held[2], zero = open("/dev/zero", O_RDONLY | O_CLOEXEC), leaked = dup2(zero, 900);
    assert_int_equal(pipe2(held, O_CLOEXEC), 0);
    p->spec.hold_fds = &held[1];
    p->spec.n_hold_fds = 1;
    script(p, "ls -l /proc/self/fd; sleep 0.5");
    pid_t pid = start(p, NULL);
    close(held[1]);
    close(leaked);
    close(zero);
    pid_t monitor = status(p).monitor_pid;
    assert_int_equal(getsid(monitor), monitor);
    _cleanup_free_ char *link = xasprintf("/proc/%d/fd/%d", (int)monitor, leaked);
    assert_int_equal(access(link, F_OK), -1);
    struct pollfd watch = {held[0], POLLIN, 0};
    assert_int_equal(poll(&watch, 1, 0), 0); /* somebody holds the other end */
    assert_int_equal(poll(&watch, 1, 5000), 1);
    assert_true(watch.revents & POLLHUP);
    close(held[0]);
    (void)pid;
    assert_int_equal(monitor_wait_gone(p->dir, 5000), 0);
    _cleanup_free_ char *path = in_place(p, "log"), *log = NULL;
    assert_int_equal(file_read(AT_FDCWD, path, 65536, &log), 0);
    assert_null(strstr(log, "socket:"));
    assert_null(strstr(log, "lock"));
}

static void test_finish(void **state)
{
    struct place *p = *state;
    _cleanup_free_ char *finish = in_place(p, "finish"), *done = in_place(p, "done"), *text = NULL;
    _cleanup_free_ char *body =
        xasprintf("#!/bin/sh\n(flock -n 9 || echo locked; echo \"$@\") 9<%s/lock > %s.tmp\n"
                  "mv %s.tmp %s\n",
                  p->dir, done, done, done);
    assert_int_equal(file_write_atomic(AT_FDCWD, finish, body, strlen(body), 0700), 0);
    p->spec.finish_program = finish;
    script(p, "exit 0");
    start(p, NULL);
    for (int i = 0; i < 200 && access(done, F_OK) < 0; i++)
        usleep(10000);
    assert_int_equal(file_read(AT_FDCWD, done, 4096, &text), 0);
    _cleanup_free_ char *expected = xasprintf("--root %s internal finish i\n", p->dir);
    assert_string_equal(text, expected);
}

static int send_signal(void *context, int signum)
{
    return kill(*(pid_t *)context, signum);
}

/* Runs monitor_attach in a process whose terminal is the other end of *ret_master; its exit code
 * is the instance's, 200 for detached, 201 for lost, 202 for an error. */
static pid_t attach_in_terminal(int fd, pid_t workload, int *ret_master)
{
    struct winsize size = {.ws_row = 20, .ws_col = 60};
    pid_t pid = forkpty(ret_master, NULL, NULL, &size);
    if (pid != 0)
        return pid;
    struct monitor_attach how = {.terminal = true,
                                 .forward_stdin = true,
                                 .proxy_signals = true,
                                 .finish = true,
                                 .signal = send_signal,
                                 .context = &workload};
    struct monitor_end end = {0};
    struct error err = ERROR_INIT;
    if (monitor_attach(fd, &how, &end, &err) < 0)
        _exit(202);
    _exit(end.lost ? 201 : end.detached ? 200 : end.finish ? end.exit_code : 203);
}

static void type(int master, const char *text)
{
    assert_int_equal(fd_write_all(master, text, strlen(text)), 0);
}

/* Reads from the terminal until text appears. */
static void see(int master, const char *text)
{
    char seen[65536] = "";
    size_t len = 0;
    struct pollfd watch = {master, POLLIN, 0};
    while (!strstr(seen, text)) {
        if (poll(&watch, 1, 5000) <= 0)
            fail_msg("\"%s\" does not appear in \"%s\"", text, seen);
        ssize_t n = read(master, seen + len, sizeof(seen) - 1 - len);
        if (n <= 0)
            fail_msg("the terminal closed before \"%s\", after \"%s\"", text, seen);
        len += (size_t)n;
        seen[len] = '\0';
    }
}

static void test_terminal(void **state)
{
    struct place *p = *state;
    struct error err = ERROR_INIT;
    int fd, master, code;
    p->spec.terminal = p->spec.open_stdin = p->spec.attach = true;
    script(p, "echo ready; while read line; do [ $line = end ] && exit 9; echo \"<$line>\"; "
              "stty size; done");
    pid_t workload = start(p, &fd);
    pid_t relay = attach_in_terminal(fd, workload, &master);
    close(fd);
    see(master, "ready");
    type(master, "hello\r");
    see(master, "20 60");
    assert_int_equal(terminal_set_size(master, (struct terminal_size){33, 99}), 0);
    usleep(100000);
    type(master, "a\x10x\r"); /* half the detach keys go through */
    see(master, "33 99");
    type(master, "\x10\x11");
    assert_int_equal(process_wait(relay, &code), 0);
    assert_int_equal(code, 200);
    close(master);
    assert_true(status(p).alive);
    assert_int_equal(monitor_connect(p->dir, &fd, &err), 0);
    relay = attach_in_terminal(fd, workload, &master);
    close(fd);
    usleep(100000);
    type(master, "again\r");
    see(master, "<again>");
    type(master, "end\r");
    assert_int_equal(process_wait(relay, &code), 0);
    assert_int_equal(code, 9);
    close(master);
}

static void test_signals(void **state)
{
    struct place *p = *state;
    int fd, master, code;
    p->spec.terminal = p->spec.open_stdin = p->spec.attach = true;
    script(p, "trap 'exit 77' TERM; echo ready; while :; do sleep 0.05; done");
    pid_t workload = start(p, &fd);
    pid_t relay = attach_in_terminal(fd, workload, &master);
    close(fd);
    see(master, "ready");
    kill(relay, SIGTERM);
    assert_int_equal(process_wait(relay, &code), 0);
    assert_int_equal(code, 77);
    close(master);
}

static void test_lost(void **state)
{
    struct place *p = *state;
    int fd, master, code;
    p->spec.terminal = p->spec.open_stdin = p->spec.attach = true;
    script(p, "echo ready; exec sleep 100");
    pid_t workload = start(p, &fd);
    pid_t relay = attach_in_terminal(fd, workload, &master);
    close(fd);
    see(master, "ready");
    kill(status(p).monitor_pid, SIGKILL);
    assert_int_equal(process_wait(relay, &code), 0);
    assert_int_equal(code, 201);
    close(master);
    kill(workload, SIGKILL);
}

static void test_detach_keys(void **state)
{
    struct detach d;
    struct error err = ERROR_INIT;
    unsigned char out[64];
    size_t len;
    (void)state;
    assert_int_equal(detach_parse("ctrl-p,ctrl-q", &d, &err), 0);
    assert_false(detach_filter(&d, (const unsigned char *)"a\x10", 2, out, &len));
    assert_int_equal(len, 1);
    assert_false(detach_filter(&d, (const unsigned char *)"\x10", 1, out, &len));
    assert_int_equal(len, 1); /* the first of the two goes through, the second may begin it */
    assert_true(detach_filter(&d, (const unsigned char *)"\x11z", 2, out, &len));
    assert_int_equal(len, 0);
    assert_int_equal(detach_parse("", &d, &err), 0);
    assert_false(detach_filter(&d, (const unsigned char *)"\x10\x11", 2, out, &len));
    assert_int_equal(len, 2);
    assert_int_equal(detach_parse("x", &d, &err), 0);
    assert_true(detach_filter(&d, (const unsigned char *)"abx", 3, out, &len));
    assert_int_equal(len, 2);
    static const char *const bad[] = {"ctrl-", "ctrl-pp", "alt-x", "ctrl-1", "a,,b", "ctrl-P"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(detach_parse(bad[i], &d, &err), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_finish, setup, teardown),
        cmocka_unit_test_setup_teardown(test_terminal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost, setup, teardown),
        cmocka_unit_test(test_detach_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
