#include "runtime/vm/client.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"

int agent_client_silent(struct error *err)
{
    return error_set(err, ERROR_SYSTEM, ETIMEDOUT, "the machine does not answer");
}

static int not_running(struct error *err)
{
    return error_set(err, ERROR_NOT_FOUND, ESRCH, "the machine is not running");
}

/* 0: for ever. */
static int set_patience(int fd, time_t seconds, struct error *err)
{
    struct timeval wait = {.tv_sec = seconds};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0)
        return error_errno(err, errno, "connect to the machine");
    return 0;
}

int agent_client_patient(struct agent_client *c, struct error *err)
{
    return set_patience(c->fd, 0, err);
}

int agent_client_open(struct agent_client *c, const struct runtime_target *t, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    /* Through a descriptor, because the directory's path may not fit into an address. */
    _cleanup_close_ int dir = open(t->run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return errno == ENOENT ? not_running(err) : error_errno(err, errno, "open %s", t->run_dir);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/agent.sock", fd_path(dir).text);
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_errno(err, errno, "make a socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return errno == ENOENT || errno == ECONNREFUSED
                   ? not_running(err)
                   : error_errno(err, errno, "connect to the machine");
    c->fd = TAKE_FD(fd);
    return set_patience(c->fd, AGENT_ANSWER_MS / 1000, err);
}

void agent_client_done(struct agent_client *c)
{
    c->fd = close_fd(c->fd);
    buf_done(&c->in);
    buf_done(&c->out);
}

int agent_client_flush(struct agent_client *c, struct error *err)
{
    while (c->out.len > 0) {
        ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return agent_client_silent(err);
        if (n < 0 && errno != EPIPE && errno != ECONNRESET)
            return error_errno(err, errno, "talk to the machine");
        if (n < 0) /* it may have said why: whoever reads sees */
            n = (ssize_t)c->out.len;
        buf_consume(&c->out, (size_t)n);
    }
    return 0;
}

int agent_client_fill(struct agent_client *c, struct error *err)
{
    char *space;
    int r = buf_reserve(&c->in, 65536, &space);
    if (r < 0)
        return error_errno(err, r, "talk to the machine");
    ssize_t n;
    do
        n = recv(c->fd, space, 65536, 0);
    while (n < 0 && errno == EINTR);
    if (n == 0 || (n < 0 && errno == ECONNRESET))
        return not_running(err);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return agent_client_silent(err);
    if (n < 0)
        return error_errno(err, errno, "talk to the machine");
    c->in.len += (size_t)n;
    return 0;
}

int agent_client_next(struct agent_client *c, size_t *used, struct agent_frame *ret, bool *ret_got,
                      struct error *err)
{
    if (*used > 0)
        buf_consume(&c->in, *used);
    int r = agent_frame_parse(c->in.data, c->in.len, ret, used, err);
    *ret_got = r == 0 && *used > 0;
    return r;
}

int agent_client_answer(struct agent_client *c, struct agent_frame *ret, struct error *err)
{
    size_t used = 0;
    bool got = false;
    int r = agent_client_flush(c, err);
    while (r == 0 && !got) {
        r = agent_client_fill(c, err);
        if (r == 0)
            r = agent_client_next(c, &used, ret, &got, err);
    }
    if (r == 0 && ret->type == AGENT_ERROR)
        r = agent_get_error(ret, err);
    return r;
}
