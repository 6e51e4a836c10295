/* The caller's terminal: raw mode that is always undone, and its size. */
#pragma once

#include <stdbool.h>
#include <termios.h>

#include "base/error.h"

struct terminal {
    int fd; /* -EBADF when nothing has to be restored */
    struct termios saved;
};

#define TERMINAL_INIT                                                                              \
    {                                                                                              \
        -EBADF,                                                                                    \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

/* Puts fd in raw mode; does nothing when it is no terminal. Restored by terminal_restore, which is
 * safe to call twice and from a cleanup attribute. */
int terminal_raw(struct terminal *t, int fd) _must_check_;
void terminal_restore(struct terminal *t);

struct terminal_size {
    unsigned short rows, columns;
};
/* 0x0 when fd is no terminal. */
struct terminal_size terminal_size(int fd);
/* That of the terminal the caller shows things on: its output's, or its input's. */
struct terminal_size terminal_callers_size(void);
/* "ROWSxCOLUMNS", for a command line: whoever makes a terminal gives it its size before anything
 * runs on it. -EINVAL for anything else. */
int terminal_size_parse(const char *text, struct terminal_size *ret) _must_check_;
int terminal_set_size(int fd, struct terminal_size size);
