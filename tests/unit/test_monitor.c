/* runtime/monitor: lifecycle, streams, clients, policies, kills; a shell stands for the workload.
 */
#include "check.h"

#include <sys/file.h>

#include "base/process.h"
#include "monitor_fake.h"

static void test_plain(void **state)
{
    struct fake f = {0};
    (void)state;
    fake_begin(&f, "echo out; echo err >&2; printf part; exit 3", fake_defaults, false);
    assert_true(f.workload > 0);
    assert_int_equal(fake_end(&f), 0);
    struct monitor_status s = fake_status(&f);
    assert_int_equal(s.state, MONITOR_EXITED);
    assert_int_equal(s.exit_code, 3);
    assert_false(s.alive);
    assert_int_equal(s.pid, 0);
    assert_true(s.started_ns > 0 && s.finished_ns >= s.started_ns);
    _cleanup_free_ char *log = fake_file(&f, "log"), *finished = fake_file(&f, "finished");
    assert_non_null(strstr(log, "{\"log\":\"out\\n\",\"stream\":\"stdout\",\"time\":\"20"));
    assert_non_null(strstr(log, "{\"log\":\"err\\n\",\"stream\":\"stderr\",\"time\":\"20"));
    assert_non_null(strstr(log, "{\"log\":\"part\",\"stream\":\"stdout\""));
    assert_non_null(finished);
    _cleanup_free_ char *socket = path_join(f.dir, "monitor.sock");
    assert_int_equal(access(socket, F_OK), -1);
    fake_remove(&f);
}

static void test_failed_start(void **state)
{
    struct fake f = {0};
    (void)state;
    fake_begin(&f, NULL, fake_defaults, false);
    assert_string_equal(f.ready, "error command-not-found 2 start x: no such file\n");
    assert_int_equal(fake_end(&f), 127);
    struct monitor_status s = fake_status(&f);
    assert_int_equal(s.state, MONITOR_EXITED);
    assert_int_equal(s.exit_code, 127);
    assert_string_equal(s.error, "start x: no such file");
    _cleanup_free_ char *log = fake_file(&f, "log"), *finished = fake_file(&f, "finished");
    assert_null(log);
    assert_null(finished);
    fake_remove(&f);
}

static void test_foreground(void **state)
{
    struct monitor_options o = fake_defaults;
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
    struct fake f = {0};
    bool duty = false;
    (void)state;
    o.open_stdin = true;
    fake_begin(&f, "cat; echo end; exit 7", o, true);
    fake_send(f.attach, ATTACH_HELLO, NULL, ATTACH_WANTS_OUTPUT | ATTACH_WANTS_FINISH);
    fake_send(f.attach, ATTACH_STDIN, "hello\n", 0);
    fake_send(f.attach, ATTACH_STDIN_CLOSE, NULL, 0);
    assert_int_equal(fake_collect(f.attach, &out, &duty), 7);
    assert_string_equal(out.data, "hello\nend\n");
    assert_true(duty);
    fake_send(f.attach, ATTACH_ACK, NULL, 0);
    assert_int_equal(fake_end(&f), 0);
    _cleanup_free_ char *finished = fake_file(&f, "finished");
    assert_null(finished);
    fake_remove(&f);
}

/* A client that was given the duty and vanishes without a word. */
static void test_duty_returns(void **state)
{
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
    struct fake f = {0};
    bool duty = false;
    (void)state;
    fake_begin(&f, "sleep 0.1", fake_defaults, true);
    fake_send(f.attach, ATTACH_HELLO, NULL, ATTACH_WANTS_OUTPUT | ATTACH_WANTS_FINISH);
    assert_int_equal(fake_collect(f.attach, &out, &duty), 0);
    assert_true(duty);
    f.attach = close_fd(f.attach);
    assert_int_equal(fake_end(&f), 0);
    _cleanup_free_ char *finished = fake_file(&f, "finished");
    assert_non_null(finished);
    fake_remove(&f);
}

/* More than every buffer on the way holds, in both directions, with a reader that starts late. */
static void test_nothing_lost(void **state)
{
    struct monitor_options o = fake_defaults;
    _cleanup_buf_ struct buf out = BUF_INIT(8 << 20);
    struct fake f = {0};
    (void)state;
    fake_begin(&f, "seq 1 200000", o, true);
    usleep(200000);
    fake_send(f.attach, ATTACH_HELLO, NULL, ATTACH_WANTS_OUTPUT);
    assert_int_equal(fake_collect(f.attach, &out, NULL), 0);
    assert_int_equal(out.len, 1288895);
    assert_string_equal(out.data + out.len - 7, "200000\n");
    assert_int_equal(fake_end(&f), 0);
    fake_remove(&f);
    /* Input: the workload reads nothing for a while. */
    static char block[16001];
    memset(block, 'x', 16000);
    struct fake g = {0};
    o.open_stdin = true;
    fake_begin(&g, "sleep 0.3; wc -c", o, true);
    pid_t writer = fork();
    if (writer == 0) {
        fake_send(g.attach, ATTACH_HELLO, NULL, ATTACH_WANTS_OUTPUT);
        for (int i = 0; i < 60; i++)
            fake_send(g.attach, ATTACH_STDIN, block, 0);
        fake_send(g.attach, ATTACH_STDIN_CLOSE, NULL, 0);
        _exit(0);
    }
    buf_reset(&out);
    assert_int_equal(fake_collect(g.attach, &out, NULL), 0);
    assert_string_equal(out.data, "960000\n");
    waitpid(writer, NULL, 0);
    assert_int_equal(fake_end(&g), 0);
    fake_remove(&g);
}

/* One that attached later and does not read is dropped; the workload goes on. */
static void test_slow_client(void **state)
{
    struct error err = ERROR_INIT;
    struct fake f = {0};
    int slow;
    (void)state;
    fake_begin(&f, "sleep 0.2; seq 1 200000", fake_defaults, false);
    assert_int_equal(monitor_connect(f.dir, &slow, &err), 0);
    fake_send(slow, ATTACH_HELLO, NULL, ATTACH_WANTS_OUTPUT);
    int64_t before = time_monotonic_ms();
    assert_int_equal(fake_end(&f), 0);
    assert_true(time_monotonic_ms() - before < 5000);
    close(slow);
    fake_remove(&f);
}

static void test_many_clients(void **state)
{
    struct error err = ERROR_INIT;
    struct fake f = {0};
    int fds[80];
    (void)state;
    fake_begin(&f, "sleep 0.4; echo all; exit 5", fake_defaults, false);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) { /* more than there are places for */
        assert_int_equal(monitor_connect(f.dir, &fds[i], &err), 0);
        struct attach_message hello = {.type = ATTACH_HELLO, .flags = ATTACH_WANTS_OUTPUT};
        (void)!attach_send(fds[i], &hello, 0);
        usleep(1000);
    }
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        _cleanup_buf_ struct buf out = BUF_INIT(65536);
        int code = fake_collect(fds[i], &out, NULL);
        assert_int_equal(code, i < 64 ? 5 : -1);
        close(fds[i]);
    }
    assert_int_equal(fake_end(&f), 0);
    fake_remove(&f);
}

static void test_terminal(void **state)
{
    struct monitor_options o = fake_defaults;
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
    struct fake f = {0};
    (void)state;
    o.terminal = o.open_stdin = true;
    fake_begin(&f, "read line; stty size; cat", o, true);
    fake_send(f.attach, ATTACH_HELLO, NULL, ATTACH_WANTS_OUTPUT);
    fake_send(f.attach, ATTACH_RESIZE, NULL, 0);
    fake_send(f.attach, ATTACH_STDIN, "go\n", 0);
    usleep(100000);
    fake_send(f.attach, ATTACH_STDIN_CLOSE, NULL, 0); /* becomes ^D */
    assert_int_equal(fake_collect(f.attach, &out, NULL), 0);
    assert_non_null(strstr(out.data, "33 77\r\n"));
    assert_int_equal(fake_end(&f), 0);
    fake_remove(&f);
}

static void test_restarts(void **state)
{
    struct monitor_options o = fake_defaults;
    struct fake f = {0};
    (void)state;
    assert_int_equal(restart_parse("on-failure:2", &o.restart), 0);
    fake_begin(&f, "echo run; exit 9", o, false);
    assert_int_equal(fake_end(&f), 0);
    struct monitor_status s = fake_status(&f);
    assert_int_equal(s.restarts, 2);
    assert_int_equal(s.exit_code, 9);
    _cleanup_free_ char *log = fake_file(&f, "log");
    int runs = 0;
    for (char *p = log; (p = strstr(p, "run\\n")); p++)
        runs++;
    assert_int_equal(runs, 3);
    fake_remove(&f);
}

/* "stopping" ends a policy, while it runs and while it waits. */
static void test_stopping(void **state)
{
    struct monitor_options o = fake_defaults;
    struct error err = ERROR_INIT;
    struct fake f = {0}, g = {0};
    (void)state;
    assert_int_equal(restart_parse("always", &o.restart), 0);
    fake_begin(&f, "exec sleep 100", o, false);
    assert_int_equal(monitor_stopping(f.dir, &err), 0);
    kill(f.workload, SIGTERM);
    assert_int_equal(fake_end(&f), 0);
    assert_int_equal(fake_status(&f).exit_code, 143);
    assert_int_equal(monitor_stopping(f.dir, &err), -ENOENT);
    fake_remove(&f);
    fake_begin(&g, "exit 1", o, false);
    usleep(500000); /* several runs; it waits for the next one */
    assert_true(fake_status(&g).alive);
    assert_true(fake_status(&g).restarts >= 2);
    assert_int_equal(monitor_stopping(g.dir, &err), 0);
    assert_int_equal(monitor_wait_gone(g.dir, 2000), 0);
    assert_int_equal(fake_end(&g), 0);
    fake_remove(&g);
}

static void test_stop_signal(void **state)
{
    struct monitor_options o = fake_defaults;
    struct fake f = {0};
    (void)state;
    assert_int_equal(restart_parse("always", &o.restart), 0);
    fake_begin(&f, "exec sleep 100", o, false);
    kill(f.pid, SIGHUP);
    kill(f.pid, SIGTERM);
    assert_int_equal(fake_end(&f), 0);
    assert_int_equal(fake_status(&f).exit_code, 143);
    fake_remove(&f);
}

/* A process that outlives the workload and keeps its stdout open. */
static void test_grandchild(void **state)
{
    struct fake f = {0};
    (void)state;
    int64_t before = time_monotonic_ms();
    fake_begin(&f, "(trap '' HUP; exec sleep 6) & echo $!", fake_defaults, false);
    assert_int_equal(fake_end(&f), 0);
    assert_true(time_monotonic_ms() - before < 4000);
    fake_remove(&f);
}

static void test_killed(void **state)
{
    struct fake f = {0};
    (void)state;
    fake_begin(&f, "echo before; exec sleep 100", fake_defaults, false);
    usleep(100000);
    assert_true(fake_status(&f).alive);
    assert_int_equal(monitor_wait_gone(f.dir, 50), -ETIMEDOUT);
    kill(f.pid, SIGKILL);
    assert_int_equal(fake_end(&f), 137);
    kill(f.workload, SIGKILL);
    struct monitor_status s = fake_status(&f);
    assert_int_equal(s.state, MONITOR_RUNNING);
    assert_false(s.alive);
    assert_int_equal(monitor_wait_gone(f.dir, 0), 0);
    /* Half a line of a killed writer, then the next run. */
    _cleanup_free_ char *path = path_join(f.dir, "log");
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(fd_write_all(fd, "{\"log\":\"ha", 10), 0);
    close(fd);
    fake_begin(&f, "echo after", fake_defaults, false);
    assert_int_equal(fake_end(&f), 0);
    _cleanup_free_ char *log = fake_file(&f, "log");
    assert_non_null(strstr(log, "{\"log\":\"ha\n{\"log\":\"after\\n\""));
    fake_remove(&f);
}

static void test_twice(void **state)
{
    struct fake f = {0}, g;
    (void)state;
    fake_begin(&f, "sleep 0.5", fake_defaults, false);
    g = f;
    fake_begin(&g, "true", fake_defaults, false);
    assert_string_equal(g.ready, "error conflict 16 it runs already\n");
    fake_end(&g);
    assert_int_equal(fake_status(&f).state, MONITOR_RUNNING); /* the first one's, untouched */
    assert_int_equal(fake_end(&f), 0);
    fake_remove(&f);
}

static void test_signals_of_workload(void **state)
{
    _cleanup_buf_ struct buf out = BUF_INIT(65536);
    struct fake f = {0};
    (void)state;
    fake_begin(&f, "grep -E 'Sig(Ign|Blk)' /proc/self/status", fake_defaults, true);
    fake_send(f.attach, ATTACH_HELLO, NULL, ATTACH_WANTS_OUTPUT);
    assert_int_equal(fake_collect(f.attach, &out, NULL), 0);
    assert_string_equal(out.data, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    assert_int_equal(fake_end(&f), 0);
    fake_remove(&f);
}

static void test_wait_end(void **state)
{
    struct error err = ERROR_INIT;
    struct fake f = {0};
    int code = 0;
    (void)state;
    fake_begin(&f, "sleep 0.1; echo output; exit 6", fake_defaults, false);
    assert_int_equal(monitor_wait_end(f.dir, &code, &err), 0);
    assert_int_equal(code, 6);
    assert_int_equal(fake_end(&f), 0);
    assert_int_equal(monitor_wait_end(f.dir, &code, &err), -ENOENT);
    fake_remove(&f);
}

static void test_policy(void **state)
{
    struct restart r;
    int64_t wait;
    (void)state;
    static const char *const bad[] = {
        "", "never", "always:3", "on-failure:", "on-failure:-1", "on-failure:x", "no:1"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(restart_parse(bad[i], &r), -EINVAL);
    assert_int_equal(restart_parse("always", &r), 0);
    int64_t expected = 100;
    for (int i = 0; i < 12; i++) {
        assert_true(restart_again(&r, 0, 50, &wait));
        assert_int_equal(wait, expected);
        expected = MIN(expected * 2, 60000);
    }
    assert_true(restart_again(&r, 0, 10000, &wait));
    assert_int_equal(wait, 100);
    assert_int_equal(restart_parse("on-failure", &r), 0);
    assert_false(restart_again(&r, 0, 50, &wait));
    assert_true(restart_again(&r, 1, 50, &wait));
}

static void test_options(void **state)
{
    struct monitor_options o;
    struct error err = ERROR_INIT;
    (void)state;
    static const char *const bad[][12] = {
        {"m", "--id", "x"},
        {"m", "--id", "x", "--bundle", "/b", "--run-dir", "/r", "--log-max", "-1"},
        {"m", "--id", "x", "--bundle", "/b", "--run-dir", "/r", "--ready-fd", "1"},
        {"m", "--id", "x", "--bundle", "/b", "--run-dir", "/r", "--wat"},
        {"m", "--id", "x", "--bundle", "/b", "--run-dir", "/r", "--kind", "pod"},
        {"m", "--id", "x", "--bundle", "/b", "--run-dir"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        int n = 0;
        while (n < 12 && bad[i][n])
            n++;
        assert_int_equal(monitor_options_parse(n, (char **)bad[i], &o, &err), -EINVAL);
    }
}

static void test_messages(void **state)
{
    struct attach_message m;
    (void)state;
    assert_int_equal(attach_decode("", 0, &m), -EBADMSG);
    assert_int_equal(attach_decode("\1\1", 2, &m), -EBADMSG);
    assert_int_equal(attach_decode("\1\2\1", 3, &m), -EPROTO);
    assert_int_equal(attach_decode("\4\1\0\2\1", 5, &m), 0);
    assert_int_equal(m.rows, 1);
    assert_int_equal(m.columns, 258);
    assert_int_equal(attach_decode("\x63", 1, &m), -EBADMSG);
    unsigned char out[ATTACH_MAX_FIXED];
    struct attach_message exit = {.type = ATTACH_EXIT, .exit_code = -2, .duty = true};
    assert_int_equal(attach_decode(out, attach_encode(&exit, out), &m), 0);
    assert_int_equal(m.exit_code, -2);
    assert_true(m.duty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_failed_start),
        cmocka_unit_test(test_foreground),
        cmocka_unit_test(test_duty_returns),
        cmocka_unit_test(test_nothing_lost),
        cmocka_unit_test(test_slow_client),
        cmocka_unit_test(test_many_clients),
        cmocka_unit_test(test_terminal),
        cmocka_unit_test(test_restarts),
        cmocka_unit_test(test_stopping),
        cmocka_unit_test(test_stop_signal),
        cmocka_unit_test(test_grandchild),
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_signals_of_workload),
        cmocka_unit_test(test_wait_end),
        cmocka_unit_test(test_policy),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_messages),
    };
    process_default_signals(); /* whoever started us may have some of them ignored */
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
