/*
 * The machine's screen. QEMU listens nowhere: proa-vm accepts viewers at RUN/instances/ID/vnc.sock,
 * which only root can reach, and hands each connection to it. A picture is written by QEMU, as PNG,
 * into a pipe, which is read here within a bound: QEMU could write for ever.
 */
#include <fcntl.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "runtime/vm/pc-internal.h"

#define PICTURE_MAX ((size_t)3 << 20) /* less than what a client's answers may be */
#define PICTURE_SET 1000              /* far from those of the command line */

static struct {
    struct client *client; /* NULL: nobody waits, or whoever did has gone */
    int pipe;              /* -EBADF: no picture is being taken */
    struct buf data;
    struct error err;
} shot = {.pipe = -EBADF, .data = BUF_INIT(PICTURE_MAX)};

void pc_screen_accept(struct relay *m)
{
    _cleanup_close_ int fd = accept4(m->r->vnc_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0 &&
        relay_qmp(m, "getfd", json_pack("{s:s}", "fdname", "viewer"), fd, NULL, NULL) == 0)
        (void)!relay_qmp(
            m, "add_client",
            json_pack("{s:s, s:s, s:b}", "protocol", "vnc", "fdname", "viewer", "skipauth", 1),
            -EBADF, NULL, NULL);
}

static void refuse(struct client *c, enum error_kind kind, int code, const char *why)
{
    struct error err = ERROR_INIT;
    error_set(&err, kind, code, "%s", why);
    c->stream = 0;
    client_answer_error(c, &err);
}

static void on_step(struct relay *m, void *context, const struct qmp_message *q)
{
    (void)m;
    (void)context;
    if (q->type == QMP_ERROR && shot.err.kind == ERROR_NONE)
        error_set(&shot.err, ERROR_SYSTEM, EIO, "QEMU takes no picture: %s", q->text);
}

/* The end of the pipe comes when QEMU has written everything and given its copies up. */
static int begin(struct relay *m)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    shot.pipe = ends[0];
    (void)!fd_set_nonblock(ends[1], false);
    int r = relay_qmp(m, "add-fd", json_pack("{s:i}", "fdset-id", PICTURE_SET), ends[1], on_step,
                      &shot);
    close(ends[1]);
    if (r == 0)
        r = relay_qmp(m, "screendump",
                      json_pack("{s:s, s:s}", "filename", "/dev/fdset/1000", "format", "png"),
                      -EBADF, on_step, &shot);
    return r < 0 ? r
                 : relay_qmp(m, "remove-fd", json_pack("{s:i}", "fdset-id", PICTURE_SET), -EBADF,
                             NULL, NULL);
}

void pc_screen_shoot(struct relay *m, struct client *c)
{
    if (m->r->vnc_fd < 0) {
        refuse(c, ERROR_UNSUPPORTED, EOPNOTSUPP,
               "the machine has no screen (run it with --graphics vnc): it has a serial console");
        return;
    }
    if (shot.pipe >= 0) {
        refuse(c, ERROR_CONFLICT, EBUSY, "another picture is being taken");
        return;
    }
    shot.client = c;
    shot.err = (struct error)ERROR_INIT;
    buf_reset(&shot.data);
    if (begin(m) < 0) {
        shot.pipe = close_fd(shot.pipe);
        refuse(c, ERROR_SYSTEM, EIO, "QEMU does not answer");
    }
}

bool pc_screen_gone(const struct client *c)
{
    bool ours = shot.pipe >= 0 && shot.client == c;
    if (ours)
        shot.client = NULL;
    return ours;
}

static void answer(struct client *c)
{
    int r = 0;
    if (shot.err.kind == ERROR_NONE && shot.data.len == 0)
        error_set(&shot.err, ERROR_SYSTEM, EIO, "QEMU gave no picture");
    if (shot.err.kind != ERROR_NONE) {
        c->stream = 0;
        client_answer_error(c, &shot.err);
        return;
    }
    for (size_t at = 0; r == 0 && at < shot.data.len; at += AGENT_DATA_MAX)
        r = agent_add_data(&c->out, 1, 1, shot.data.data + at,
                           MIN(AGENT_DATA_MAX, shot.data.len - at));
    if (r == 0)
        r = agent_frame_add(&c->out, AGENT_OK, 1, NULL, 0);
    relay_must(r);
    client_end(c);
}

int pc_screen_fd(void)
{
    return shot.pipe;
}

void pc_screen_readable(struct relay *m)
{
    char *space;
    int r = buf_reserve(&shot.data, 65536, &space);
    ssize_t n = r < 0 ? -1 : read(shot.pipe, space, 65536);
    if (r == 0 && n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        shot.data.len += (size_t)n;
        return;
    }
    if (r < 0)
        error_set(&shot.err, ERROR_LIMIT, EFBIG, "the picture is larger than %zu MiB",
                  PICTURE_MAX >> 20);
    shot.pipe = close_fd(shot.pipe);
    (void)m;
    if (shot.client)
        answer(shot.client);
    shot.client = NULL;
    buf_done(&shot.data);
}
