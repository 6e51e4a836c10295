#include <ctype.h>
#include <string.h>

#include "base/fd.h"
#include "runtime/vm/machine.h"

#define CONSOLE_LOG_MAX ((size_t)256 << 10)

/* A guest may write for ever: a full log starts again from the beginning. */
static void write_log(struct vm_console *c, const char *data, size_t len)
{
    if (c->log_fd < 0)
        return;
    if (c->written + len > CONSOLE_LOG_MAX) {
        if (ftruncate(c->log_fd, 0) < 0 || lseek(c->log_fd, 0, SEEK_SET) < 0)
            return;
        c->written = 0;
    }
    if (fd_write_all(c->log_fd, data, len) == 0)
        c->written += len;
}

void vm_console_add(struct vm_console *c, const char *data, size_t len)
{
    write_log(c, data, len);
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\n') {
            c->line[c->len] = '\0';
            if (c->len > 0)
                memcpy(c->last, c->line, c->len + 1);
            c->len = 0;
        } else if (isprint((unsigned char)data[i]) && c->len + 1 < sizeof(c->line)) {
            c->line[c->len++] = data[i];
        }
    }
    c->line[c->len] = '\0';
}

const char *vm_console_last(const struct vm_console *c)
{
    return c->len ? c->line : c->last;
}
