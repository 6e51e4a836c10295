/*
 * QEMU's monitor, asked and waited for: by what happens before the relay has it. Commands go out as
 * they are sent; answers and events are taken in order until what is waited for has come, or the
 * deadline.
 */
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/fd_pass.h"
#include "base/text.h"
#include "runtime/vm/control.h"
#include "wire/qmp/qmp.h"

void vm_control_init(struct vm_control *c, int fd, int timeout_ms)
{
    *c = (struct vm_control){
        .fd = fd, .in = BUF_INIT(QMP_LINE_MAX), .deadline_ms = time_monotonic_ms() + timeout_ms};
}

void vm_control_done(struct vm_control *c)
{
    buf_done(&c->in);
}

int vm_control_send_fd(struct vm_control *c, const char *command, const char *arguments, int fd,
                       struct error *err)
{
    _cleanup_buf_ struct buf out = BUF_INIT(QMP_LINE_MAX);
    int r = arguments ? qmp_command_add_arguments(&out, command, arguments)
                      : qmp_command_add(&out, command);
    /* The socket holds far more than the few commands of a start. */
    if (r == 0)
        r = fd_pass(c->fd, out.data, out.len, fd);
    if (r < 0)
        return error_errno(err, r, "talk to QEMU");
    c->unanswered++;
    return 0;
}

int vm_control_send(struct vm_control *c, const char *command, const char *arguments,
                    struct error *err)
{
    return vm_control_send_fd(c, command, arguments, -EBADF, err);
}

static int on_message(struct vm_control *c, const struct qmp_message *m, struct error *err)
{
    if (m->type == QMP_RETURN && c->unanswered > 0)
        c->unanswered--;
    else if (m->type == QMP_ERROR)
        return error_set(err, ERROR_SYSTEM, EIO, "QEMU: %s", m->text);
    else if (m->type == QMP_EVENT && strcmp(m->name, "MIGRATION") == 0)
        snprintf(c->migration, sizeof(c->migration), "%.31s", m->text);
    return 0;
}

static int take_lines(struct vm_control *c, struct error *err)
{
    int r = 0;
    for (char *end; r == 0 && c->in.len && (end = memchr(c->in.data, '\n', c->in.len));) {
        struct qmp_message m;
        size_t len = (size_t)(end - c->in.data);
        if (len > 1) {
            r = qmp_parse(c->in.data, len, &m, err);
            if (r == 0)
                r = on_message(c, &m, err);
        }
        buf_consume(&c->in, len + 1);
    }
    return r;
}

static int take_some(struct vm_control *c, struct error *err)
{
    char data[4096];
    struct pollfd p = {c->fd, POLLIN, 0};
    int64_t left = c->deadline_ms - time_monotonic_ms();
    int n = left > 0 ? poll(&p, 1, (int)left) : 0;
    if (n == 0)
        return error_set(err, ERROR_SYSTEM, ETIMEDOUT, "QEMU does not answer");
    ssize_t got = n < 0 ? -1 : read(c->fd, data, sizeof(data));
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (got <= 0)
        return error_set(err, ERROR_SYSTEM, EIO, "QEMU has ended");
    int r = buf_add(&c->in, data, (size_t)got);
    return r < 0 ? error_errno(err, r, "QEMU's answer") : take_lines(c, err);
}

int vm_control_answered(struct vm_control *c, struct error *err)
{
    int r = 0;
    while (r == 0 && c->unanswered > 0)
        r = take_some(c, err);
    return r;
}

int vm_control_migrated(struct vm_control *c, struct error *err)
{
    int r = vm_control_answered(c, err);
    while (r == 0 && strcmp(c->migration, "completed") != 0) {
        if (strcmp(c->migration, "failed") == 0)
            return error_set(err, ERROR_SYSTEM, EIO, "QEMU could not take the machine's state");
        r = take_some(c, err);
    }
    return r;
}
