/* A monitor in a child process, with a shell in the place of a runtime. */
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/text.h"
#include "runtime/monitor/client.h"
#include "runtime/monitor/monitor.h"
#include "wire/attach.h"

static const char *fake_script; /* what the instance runs */

static int fake_start(const struct runtime_start *s, struct runtime_started *ret, struct error *err)
{
    if (!fake_script)
        return error_set(err, ERROR_COMMAND_NOT_FOUND, ENOENT, "start x: no such file");
    ret->console = -EBADF;
    ret->pid = s->terminal ? forkpty(&ret->console, NULL, NULL, NULL) : fork();
    if (ret->pid != 0)
        return 0;
    for (int i = 0; i < 3 && !s->terminal; i++)
        dup2(s->stdio[i], i);
    execl("/bin/sh", "sh", "-c", fake_script, NULL);
    _exit(127);
}

struct fake {
    char dir[64];
    pid_t pid; /* the monitor */
    pid_t workload;
    int attach;
    char ready[700];
};

static const struct monitor_options fake_defaults = {
    .id = "i",
    .log_max_bytes = 1 << 20,
    .log_files = 2,
    .ready_fd = -EBADF,
    .attach_fd = -EBADF,
    .network_fd = -EBADF,
};

static void fake_child(struct monitor_options *o, const char *dir, int ready, int attach)
{
    static const struct monitor_runtime runtime = {.start = fake_start};
    struct error err = ERROR_INIT;
    bool finish = false;
    o->bundle = o->run_dir = dir;
    o->ready_fd = ready;
    o->attach_fd = attach;
    int r = monitor_run(o, &runtime, &finish, &err);
    if (r == 0 && finish) {
        _cleanup_free_ char *path = path_join(dir, "finished");
        close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    }
    _exit(r == 0 ? 0 : error_exit_code(&err));
}

static void fake_begin(struct fake *f, const char *script, struct monitor_options o, bool attach)
{
    int ready[2], pair[2] = {-EBADF, -EBADF};
    if (!*f->dir) {
        snprintf(f->dir, sizeof(f->dir), "/tmp/proa-monitor-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
    }
    fake_script = script;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    if (attach)
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    f->pid = fork();
    if (f->pid == 0) {
        close(ready[0]);
        close_fd(pair[0]);
        fake_child(&o, f->dir, ready[1], pair[1]);
    }
    close(ready[1]);
    close_fd(pair[1]);
    f->attach = pair[0];
    ssize_t n = fd_read_full(ready[0], f->ready, sizeof(f->ready) - 1);
    assert_true(n > 0);
    f->ready[n] = '\0';
    close(ready[0]);
    f->workload = 0;
    if (strncmp(f->ready, "ok ", 3) == 0)
        f->workload = (pid_t)strtol(f->ready + 3, NULL, 10);
}

static int fake_end(struct fake *f)
{
    int status;
    assert_int_equal(process_wait(f->pid, &status), 0);
    return status;
}

static void fake_remove(struct fake *f)
{
    close_fd(f->attach);
    assert_int_equal(path_remove_tree(AT_FDCWD, f->dir), 0);
}

static _unused_ char *fake_file(struct fake *f, const char *name)
{
    _cleanup_free_ char *path = path_join(f->dir, name);
    char *text = NULL;
    (void)!file_read(AT_FDCWD, path, 64 << 20, &text);
    return text;
}

static _unused_ struct monitor_status fake_status(struct fake *f)
{
    struct monitor_status s;
    struct error err = ERROR_INIT;
    assert_int_equal(monitor_status_read(f->dir, f->dir, &s, &err), 0);
    return s;
}

/* Collects what an attached descriptor gives until EXIT; gives the code, or -1 at a hang-up. */
static _unused_ int fake_collect(int fd, struct buf *out, bool *ret_duty)
{
    static unsigned char buffer[ATTACH_MAX_MESSAGE];
    struct attach_message m;
    for (;;) {
        int r = attach_receive(fd, buffer, 0, &m);
        if (r < 0)
            return -1;
        if (m.type == ATTACH_EXIT) {
            if (ret_duty)
                *ret_duty = m.duty;
            return m.exit_code;
        }
        if (m.type == ATTACH_STDOUT || m.type == ATTACH_STDERR)
            assert_int_equal(buf_add(out, m.data, m.len), 0);
    }
}

static _unused_ void fake_send(int fd, enum attach_type type, const char *text, uint8_t flags)
{
    struct attach_message m = {.type = type,
                               .flags = flags,
                               .rows = 33,
                               .columns = 77,
                               .data = (const unsigned char *)text,
                               .len = text ? strlen(text) : 0};
    assert_int_equal(attach_send(fd, &m, 0), 0);
}
