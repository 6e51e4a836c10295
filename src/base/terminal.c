#include "base/terminal.h"

#include <stdio.h>
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

struct terminal_size terminal_callers_size(void)
{
    struct terminal_size size = terminal_size(1);
    return size.rows ? size : terminal_size(0);
}

int terminal_size_parse(const char *text, struct terminal_size *ret)
{
    int end = 0;
    if (sscanf(text, "%5hux%5hu%n", &ret->rows, &ret->columns, &end) != 2 || text[end])
        return -EINVAL;
    return 0;
}

int terminal_set_size(int fd, struct terminal_size size)
{
    struct winsize w = {.ws_row = size.rows, .ws_col = size.columns};
    return ioctl(fd, TIOCSWINSZ, &w) < 0 ? -errno : 0;
}
