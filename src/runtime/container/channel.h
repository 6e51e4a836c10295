/*
 * What the processes of one start tell each other: fixed messages over a SOCK_SEQPACKET pair, each
 * with at most one descriptor. The end of the stream is a message too: the process has executed.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

enum channel_type {
    CHANNEL_END = 0, /* the other side has gone, or executed */
    CHANNEL_ERROR,   /* err says why there will be no process */
    CHANNEL_CONSOLE, /* fd is the master of the terminal */
    CHANNEL_READY,   /* set up; waits for CHANNEL_GO */
    CHANNEL_GO,
    CHANNEL_STARTED,  /* value is a pid */
    CHANNEL_ROOT,     /* fd is the root, a detached mount */
    CHANNEL_SOURCE,   /* fd is what to bind for mount number value, a detached mount */
    CHANNEL_HOOKS,    /* the mounts stand: hooks of the caller's are due; waits for CHANNEL_GO */
    CHANNEL_LISTENER, /* fd is the seccomp filter's listener, value the pid */
};

struct channel_message {
    enum channel_type type;
    int value;
    struct error err;
};

int channel_pair(int ret_ends[2]) _must_check_;

/* fd is borrowed; -EBADF for none. 0 or -errno. */
int channel_send(int channel, const struct channel_message *m, int fd) _must_check_;

/* *ret_fd (may be NULL) is owned, -EBADF when none came. The end is CHANNEL_END. 0 or -errno. */
int channel_receive(int channel, struct channel_message *ret, int *ret_fd) _must_check_;

/* Sends err as it is; nothing can be done about a failure. */
void channel_send_error(int channel, const struct error *err);

/* Sends READY and waits for GO; false when there is nobody any more. */
bool channel_wait_go(int channel);
