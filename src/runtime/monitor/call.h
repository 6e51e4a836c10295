/* A process that the monitor starts and waits for: PROGRAM --root ROOT internal VERB ID [MORE]. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct call {
    pid_t pid;  /* 0: none */
    int pid_fd; /* readable at its end; -EBADF */
};
#define CALL_INIT                                                                                  \
    {                                                                                              \
        .pid_fd = -EBADF                                                                           \
    }

struct call_spec {
    const char *program, *root, *verb, *id;
    const char *more; /* one more argument, or NULL */
    int fds[2];       /* its descriptors 3 and 4; -EBADF: none */
};

/* False when there was no memory for it now. */
bool call_start(struct call *c, const struct call_spec *spec);
/* pid_fd is readable: whether it has ended, and how. */
bool call_reap(struct call *c, int *ret_status);
/* It is killed, and waited for: it may be in the middle of a write into the bundle. */
void call_end(struct call *c);
