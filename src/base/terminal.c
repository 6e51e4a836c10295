#include "base/terminal.h"

#include <sys/ioctl.h>

int terminal_raw(struct terminal *t, int fd)
{
    struct termios raw;
    if (!isatty(fd))
        return 0;
    if (tcgetattr(fd, &t->saved) < 0)
        return -errno;
    raw = t->saved;
    cfmakeraw(&raw);
    if (tcsetattr(fd, TCSANOW, &raw) < 0)
        return -errno;
    t->fd = fd;
    return 0;
}

void terminal_restore(struct terminal *t)
{
    if (t->fd >= 0)
        tcsetattr(t->fd, TCSANOW, &t->saved);
    t->fd = -EBADF;
}

struct terminal_size terminal_size(int fd)
{
    struct winsize w = {0};
    struct terminal_size size = {0, 0};
    if (ioctl(fd, TIOCGWINSZ, &w) == 0) {
        size.rows = w.ws_row;
        size.columns = w.ws_col;
    }
    return size;
}

int terminal_set_size(int fd, struct terminal_size size)
{
    struct winsize w = {.ws_row = size.rows, .ws_col = size.columns};
    return ioctl(fd, TIOCSWINSZ, &w) < 0 ? -errno : 0;
}
