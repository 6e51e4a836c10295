/*
 * The machine's screen. QEMU listens nowhere: proa-vm accepts viewers at RUN/instances/ID/vnc.sock,
 * which only root can reach, and hands each connection to it. A picture is written by QEMU, as PNG,
 * into memory that both have open, QEMU for writing only; what is read of it is bounded.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "runtime/vm/pc-internal.h"

#define PICTURE_MAX ((off_t)3 << 20) /* less than what a client's answers may be */
#define PICTURE_SET 1000             /* far from those of the command line */

static struct {
    struct client *client; /* NULL: nobody waits, or whoever did has gone */
    bool busy;
    struct error err;
} shot;

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
    pc_answer(c, &err);
}

static int add_picture(struct client *c, int fd)
{
    char data[AGENT_DATA_MAX];
    ssize_t n;
    int r = 0;
    for (off_t at = 0; r == 0 && (n = pread(fd, data, sizeof(data), at)) > 0; at += n)
        r = agent_add_data(&c->out, 1, 1, data, (size_t)n);
    return r < 0 ? r : agent_frame_add(&c->out, AGENT_OK, 1, NULL, 0);
}

static void answer(struct relay *m, struct client *c)
{
    struct stat st = {0};
    int fd = m->r->picture.read_fd;
    if (shot.err.kind == ERROR_NONE && (fstat(fd, &st) < 0 || st.st_size == 0))
        error_set(&shot.err, ERROR_SYSTEM, EIO, "QEMU gave no picture");
    if (shot.err.kind == ERROR_NONE && st.st_size > PICTURE_MAX)
        error_set(&shot.err, ERROR_LIMIT, EFBIG, "the picture is larger than 3 MiB");
    if (shot.err.kind != ERROR_NONE) {
        refuse(c, shot.err.kind, shot.err.code, shot.err.msg);
        return;
    }
    relay_must(add_picture(c, fd));
    client_end(c);
}

static void on_step(struct relay *m, void *context, const struct qmp_message *q)
{
    (void)m;
    (void)context;
    if (q->type == QMP_ERROR && shot.err.kind == ERROR_NONE)
        error_set(&shot.err, ERROR_SYSTEM, EIO, "QEMU takes no picture: %s", q->text);
}

static void on_last_step(struct relay *m, void *context, const struct qmp_message *q)
{
    on_step(m, context, q);
    shot.busy = false;
    if (shot.client)
        answer(m, shot.client);
    shot.client = NULL;
}

static int begin(struct relay *m)
{
    /* QEMU goes on where its last picture ended: the place belongs to the file, not to its copy. */
    if (ftruncate(m->r->picture.write_fd, 0) < 0 || lseek(m->r->picture.write_fd, 0, SEEK_SET) < 0)
        return -errno;
    int r = relay_qmp(m, "add-fd", json_pack("{s:i}", "fdset-id", PICTURE_SET),
                      m->r->picture.write_fd, on_step, NULL);
    if (r == 0)
        r = relay_qmp(m, "screendump",
                      json_pack("{s:s, s:s}", "filename", "/dev/fdset/1000", "format", "png"),
                      -EBADF, on_step, NULL);
    return r < 0 ? r
                 : relay_qmp(m, "remove-fd", json_pack("{s:i}", "fdset-id", PICTURE_SET), -EBADF,
                             on_last_step, NULL);
}

void pc_screen_shoot(struct relay *m, struct client *c)
{
    if (m->r->vnc_fd < 0) {
        refuse(c, ERROR_UNSUPPORTED, EOPNOTSUPP,
               "the machine has no screen (run it with --graphics vnc): it has a serial console");
        return;
    }
    if (shot.busy) {
        refuse(c, ERROR_CONFLICT, EBUSY, "another picture is being taken");
        return;
    }
    shot.client = c;
    shot.busy = true;
    shot.err = (struct error)ERROR_INIT;
    if (begin(m) < 0) {
        shot.client = NULL;
        shot.busy = false;
        refuse(c, ERROR_SYSTEM, EIO, "QEMU does not answer");
    }
}

bool pc_screen_gone(const struct client *c)
{
    bool ours = shot.client == c;
    if (ours)
        shot.client = NULL;
    return ours;
}

int vm_picture_open(struct vm_picture *ret, struct error *err)
{
    _cleanup_close_ int fd = memfd_create("proa-screen", MFD_CLOEXEC);
    ret->write_fd = fd < 0 ? -1 : open(fd_path(fd).text, O_WRONLY | O_CLOEXEC);
    if (ret->write_fd < 0)
        return error_errno(err, errno, "make room for pictures of the screen");
    ret->read_fd = TAKE_FD(fd);
    return 0;
}
