/*
 * The workload's stdio: three pipes, or one pty master.
 *
 * Output is read into one chunk, logged, and offered to every attached client; the next read waits
 * until all have taken it. So memory is bounded by that chunk and the sockets' buffers, and a slow
 * foreground client slows the workload down, as a slow pipe would, instead of losing output.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "base/fd.h"
#include "base/terminal.h"
#include "runtime/monitor/monitor-internal.h"

int streams_make(struct monitor *m, struct runtime_start *s, struct error *err)
{
    int fds[2];
    for (int i = 0; i < 3; i++)
        s->stdio[i] = -EBADF;
    if (m->o->terminal)
        return 0;
    for (int i = 0; i < 3; i++) {
        if (i == 0 && !m->o->open_stdin) {
            s->stdio[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
            if (s->stdio[0] < 0)
                return error_errno(err, errno, "open /dev/null");
            continue;
        }
        if (pipe2(fds, O_CLOEXEC) < 0)
            return error_errno(err, errno, "make a pipe");
        s->stdio[i] = fds[i == 0 ? 0 : 1];
        int ours = fds[i == 0 ? 1 : 0];
        if (i == 0)
            m->input = ours;
        else
            m->output[i - 1] = ours;
        int r = fd_set_nonblock(ours, true);
        if (r < 0)
            return error_errno(err, r, "make a pipe");
    }
    return 0;
}

void streams_close_child_ends(struct runtime_start *s)
{
    for (int i = 0; i < 3; i++)
        s->stdio[i] = close_fd(s->stdio[i]);
}

int streams_adopt(struct monitor *m, int console, struct error *err)
{
    if (!m->o->terminal)
        return 0;
    m->output[0] = console;
    m->input = m->o->open_stdin ? console : -EBADF;
    int r = fd_set_nonblock(console, true);
    if (r == 0)
        r = fd_set_cloexec(console, true);
    return r < 0 ? error_errno(err, r, "set up the terminal") : 0;
}

bool streams_open(const struct monitor *m)
{
    return m->output[0] >= 0 || m->output[1] >= 0;
}

static void close_output(struct monitor *m, int which)
{
    if (m->o->terminal)
        m->input = -EBADF; /* the same descriptor */
    m->output[which] = close_fd(m->output[which]);
}

void streams_read(struct monitor *m, int which)
{
    ssize_t n = read(m->output[which], m->chunk, sizeof(m->chunk));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) { /* a pty's master gives EIO once nobody has the other side open */
        close_output(m, which);
        return;
    }
    log_writer_add(&m->log, which, (const char *)m->chunk, (size_t)n);
    clients_broadcast(m, which == 0 ? ATTACH_STDOUT : ATTACH_STDERR, (size_t)n);
}

void streams_end_input(struct monitor *m)
{
    struct termios t;
    if (m->input < 0)
        return;
    if (m->stdin_len > 0) {
        m->close_input = true;
        return;
    }
    if (!m->o->terminal)
        m->input = close_fd(m->input);
    else if (tcgetattr(m->input, &t) == 0 && (t.c_lflag & ICANON))
        (void)!write(m->input, &t.c_cc[VEOF], 1);
}

static void forget_input(struct monitor *m)
{
    m->stdin_len = m->stdin_done = 0;
    clients_unstall(m);
}

void streams_write_input(struct monitor *m)
{
    while (m->stdin_done < m->stdin_len) {
        ssize_t n = m->input < 0 ? -1
                                 : write(m->input, m->stdin_data + 1 + m->stdin_done,
                                         m->stdin_len - m->stdin_done);
        if (n < 0 && m->input >= 0 && errno == EINTR)
            continue;
        if (n < 0 && m->input >= 0 && errno == EAGAIN)
            return;
        if (n < 0) { /* the workload closed its stdin: what is typed goes nowhere */
            if (!m->o->terminal)
                m->input = close_fd(m->input);
            break;
        }
        m->stdin_done += (size_t)n;
    }
    forget_input(m);
    if (m->close_input) {
        m->close_input = false;
        streams_end_input(m);
    }
}

void streams_resize(struct monitor *m, uint16_t rows, uint16_t columns)
{
    if (!m->o->terminal || rows == 0 || columns == 0)
        return;
    m->size = (struct terminal_size){rows, columns};
    if (m->output[0] >= 0)
        (void)!terminal_set_size(m->output[0], m->size);
}

void streams_close(struct monitor *m)
{
    if (!m->o->terminal)
        m->input = close_fd(m->input);
    m->input = -EBADF;
    m->output[0] = close_fd(m->output[0]);
    m->output[1] = close_fd(m->output[1]);
    m->close_input = false;
    forget_input(m);
}
