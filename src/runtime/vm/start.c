/*
 * vm_start: in the monitor, which is small and static, so nothing here but executing proa-vm. It
 * stays the monitor's child and answers on a pipe with one line once the workload's exec inside
 * the machine has succeeded: "ok", or "error KIND CODE MESSAGE".
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/program.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/cgroup.h"
#include "runtime/runtime.h"

#define FD_READY 3
#define FD_TAPS  4 /* and on */

static int open_console(int *ret_master, int *ret_slave, struct error *err)
{
    _cleanup_close_ int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
        return error_errno(err, errno, "open a terminal");
    int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return error_errno(err, errno, "open a terminal");
    *ret_master = TAKE_FD(master);
    *ret_slave = slave;
    return 0;
}

/* "error KIND CODE MESSAGE", from proa-vm. */
static int parse_error(char *line, struct error *err)
{
    uint64_t code;
    char *kind = strlen(line) > 6 && strncmp(line, "error ", 6) == 0 ? line + 6 : NULL;
    char *number = kind ? strchr(kind, ' ') : NULL;
    char *text = number ? strchr(number + 1, ' ') : NULL;
    if (!text)
        return error_set(err, ERROR_SYSTEM, EIO, "proa-vm ended before the machine was ready");
    *number++ = '\0';
    *text++ = '\0';
    if (parse_u64(number, 4095, &code) < 0)
        code = EIO;
    return error_set(err, error_kind_from_name(kind), (int)code, "%s", text);
}

static int wait_ready(int fd, struct error *err)
{
    char line[1024];
    ssize_t n = fd_read_full(fd, line, sizeof(line) - 1);
    n = MAX(n, (ssize_t)0);
    line[n] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return strcmp(line, "ok") == 0 ? 0 : parse_error(line, err);
}

static int start_program(const struct runtime_start *s, int ready_fd, int slave, pid_t *ret_pid,
                         struct error *err)
{
    _cleanup_free_ char *program = NULL;
    _cleanup_strv_ char **argv = NULL;
    struct process_fd fds[4 + BUNDLE_NETWORKS_MAX];
    size_t n = 0;
    int r = program_find("proa-vm", &program, err);
    if (r < 0)
        return r;
    strv_add(&argv, "proa-vm");
    strv_add(&argv, "--bundle");
    strv_add(&argv, s->bundle);
    strv_add(&argv, "--run-dir");
    strv_add(&argv, s->run_dir);
    strv_addf(&argv, "--ready-fd=%d", FD_READY);
    for (int i = 0; i < 3; i++)
        fds[n++] = (struct process_fd){s->terminal ? slave : s->stdio[i], i};
    fds[n++] = (struct process_fd){ready_fd, FD_READY};
    for (size_t i = 0; i < MIN(s->n_tap_fds, (size_t)BUNDLE_NETWORKS_MAX); i++) {
        if (s->tap_fds[i] < 0)
            continue;
        fds[n++] = (struct process_fd){s->tap_fds[i], FD_TAPS + (int)i};
        strv_addf(&argv, "--tap-fd=%d", FD_TAPS + (int)i);
    }
    if (s->terminal)
        strv_add(&argv, "--terminal");
    struct process_spec spec = {
        .path = program, .argv = argv, .fds = fds, .n_fds = n, .new_session = true};
    return process_start(&spec, ret_pid, err);
}

int vm_start(const struct runtime_start *s, struct runtime_started *ret, struct error *err)
{
    _cleanup_close_ int master = -EBADF, slave = -EBADF, ready = -EBADF, ready_child = -EBADF;
    int pipe_fds[2], status;
    pid_t pid;
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return error_errno(err, errno, "start the machine");
    ready = pipe_fds[0];
    ready_child = pipe_fds[1];
    int r = s->terminal ? open_console(&master, &slave, err) : 0;
    if (r == 0 && s->terminal && s->size.rows)
        (void)!terminal_set_size(master, s->size); /* the guest's has the same */
    if (r == 0)
        r = start_program(s, ready_child, slave, &pid, err);
    if (r < 0)
        return r;
    ready_child = close_fd(ready_child);
    slave = close_fd(slave);
    r = wait_ready(ready, err);
    if (r < 0) {
        /* Its QEMU dies with it, and whatever else is in the group. */
        _cleanup_free_ char *group = bundle_group_of(s->bundle, s->id);
        kill(pid, SIGKILL);
        (void)!process_wait(pid, &status);
        (void)!cgroup_remove(group, NULL);
        return r;
    }
    ret->pid = pid;
    ret->console = TAKE_FD(master);
    return 0;
}
