#include "wire/attach.h"

#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/fd_pass.h"

static void put16(unsigned char *p, uint16_t v)
{
    p[0] = (unsigned char)v;
    p[1] = (unsigned char)(v >> 8);
}

static uint16_t get16(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

size_t attach_encode(const struct attach_message *m, unsigned char *out)
{
    uint32_t code = (uint32_t)m->exit_code;
    out[0] = (unsigned char)m->type;
    switch (m->type) {
    case ATTACH_HELLO:
        out[1] = ATTACH_VERSION;
        out[2] = m->flags;
        return 3;
    case ATTACH_BEGIN:
        out[1] = m->flags;
        return 2;
    case ATTACH_LEASE:
    case ATTACH_TAP:
        out[1] = m->position;
        return 2;
    case ATTACH_RESIZE:
        put16(out + 1, m->rows);
        put16(out + 3, m->columns);
        return 5;
    case ATTACH_EXIT:
        put16(out + 1, (uint16_t)code);
        put16(out + 3, (uint16_t)(code >> 16));
        out[5] = m->duty;
        return 6;
    default:
        return 1;
    }
}

int attach_decode(const void *record, size_t len, struct attach_message *ret)
{
    /* The exact length of each type; 0: the type carries bytes. */
    static const struct {
        uint8_t type, len;
    } forms[] = {
        {ATTACH_HELLO, 3},    {ATTACH_STDIN, 0}, {ATTACH_STDIN_CLOSE, 1}, {ATTACH_RESIZE, 5},
        {ATTACH_STOPPING, 1}, {ATTACH_ACK, 1},   {ATTACH_RESTART, 0},     {ATTACH_STDOUT, 0},
        {ATTACH_STDERR, 0},   {ATTACH_EXIT, 6},  {ATTACH_OK, 1},          {ATTACH_BEGIN, 2},
        {ATTACH_LEASE, 2},    {ATTACH_BEGUN, 1}, {ATTACH_TAP, 2},
    };
    const unsigned char *p = record;
    size_t i = 0;
    if (len == 0 || len > ATTACH_MAX_MESSAGE)
        return -EBADMSG;
    while (i < ARRAY_SIZE(forms) && forms[i].type != p[0])
        i++;
    if (i == ARRAY_SIZE(forms) || (forms[i].len && forms[i].len != len))
        return -EBADMSG;
    *ret = (struct attach_message){.type = (enum attach_type)p[0]};
    switch (ret->type) {
    case ATTACH_HELLO:
        ret->flags = p[2];
        return p[1] == ATTACH_VERSION ? 0 : -EPROTO;
    case ATTACH_BEGIN:
        ret->flags = p[1];
        return 0;
    case ATTACH_LEASE:
    case ATTACH_TAP:
        ret->position = p[1];
        return 0;
    case ATTACH_RESIZE:
        ret->rows = get16(p + 1);
        ret->columns = get16(p + 3);
        return 0;
    case ATTACH_EXIT:
        ret->exit_code = (int32_t)((uint32_t)get16(p + 1) | (uint32_t)get16(p + 3) << 16);
        ret->duty = p[5] != 0;
        return 0;
    case ATTACH_STDIN:
    case ATTACH_RESTART:
    case ATTACH_STDOUT:
    case ATTACH_STDERR:
        ret->data = p + 1;
        ret->len = len - 1;
        return 0;
    default:
        return 0;
    }
}

int attach_send(int fd, const struct attach_message *m, int flags)
{
    unsigned char fixed[ATTACH_MAX_FIXED];
    struct iovec parts[2] = {{fixed, attach_encode(m, fixed)}, {(void *)m->data, m->len}};
    struct msghdr msg = {.msg_iov = parts, .msg_iovlen = m->len > 0 ? 2 : 1};
    while (sendmsg(fd, &msg, flags | MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

int attach_receive(int fd, unsigned char *buffer, int flags, struct attach_message *ret)
{
    for (;;) {
        ssize_t n = recv(fd, buffer, ATTACH_MAX_MESSAGE, flags | MSG_TRUNC);
        if (n > 0)
            return attach_decode(buffer, (size_t)n, ret);
        if (n == 0)
            return -ECONNRESET;
        if (errno != EINTR)
            return -errno;
    }
}

int attach_send_fd(int fd, const struct attach_message *m, int pass)
{
    unsigned char fixed[ATTACH_MAX_FIXED];
    return fd_pass(fd, fixed, attach_encode(m, fixed), pass);
}

int attach_receive_fd(int fd, unsigned char *buffer, struct attach_message *ret, int *ret_passed)
{
    int fds[FD_PASS_MAX];
    ssize_t n = fd_take(fd, buffer, ATTACH_MAX_MESSAGE, fds);
    if (n <= 0)
        return n == 0 ? -ECONNRESET : (int)n;
    int r = attach_decode(buffer, (size_t)n, ret);
    for (size_t i = r == 0 ? 1 : 0; i < FD_PASS_MAX; i++)
        fds[i] = close_fd(fds[i]);
    *ret_passed = fds[0];
    return r;
}
