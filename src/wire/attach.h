/*
 * What a client and an instance's monitor say to each other over RUN_DIR/monitor.sock or the
 * descriptor that --attach-fd gave: one SOCK_SEQPACKET record a message, little-endian, the type in
 * the first byte. A connection lives inside one host and one version of Proa, but the bytes are
 * checked as if they came from a stranger.
 *
 *   client                      monitor
 *   HELLO version flags   ->                  what the client wants; output flows from here on
 *   STDIN bytes           ->                  at most ATTACH_MAX_DATA
 *   STDIN_CLOSE           ->
 *   RESIZE rows columns   ->
 *   STOPPING              ->                  the coming end is wanted: no restart
 *   RESTART policy        ->                  the restart policy from now on, as text
 *   BEGIN flags           ->                  a spare instance is taken over: it counts as started
 *                                             now; with WANTS_OUTPUT by a client in the foreground
 *   BEGUN                 ->                  ... and has its workload; who goes away before saying
 *                                             so takes it along: nothing would ever run in it
 *   LEASE position, fd    ->                  who asks the LAN for that port's address
 *   TAP position, fd      ->                  the machine's tap there, from its next run on;
 *                                             without a descriptor: it has none
 *                         <-  OK              the answer to STOPPING, RESTART, BEGIN, LEASE and TAP
 *                         <-  STDOUT bytes, STDERR bytes
 *                         <-  EXIT code duty  the last message; duty: `internal finish` is yours
 *   ACK                   ->                  the duty is taken; without it the monitor does it
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macro.h"

#define ATTACH_VERSION     1
#define ATTACH_MAX_DATA    ((size_t)16384)
#define ATTACH_MAX_MESSAGE (ATTACH_MAX_DATA + 1)
#define ATTACH_MAX_FIXED   ((size_t)8) /* any message without its bytes */

enum attach_type {
    ATTACH_HELLO = 1,
    ATTACH_STDIN,
    ATTACH_STDIN_CLOSE,
    ATTACH_RESIZE,
    ATTACH_STOPPING,
    ATTACH_ACK,
    ATTACH_RESTART,
    ATTACH_BEGIN,
    ATTACH_LEASE,
    ATTACH_BEGUN,
    ATTACH_TAP,
    ATTACH_STDOUT = 16,
    ATTACH_STDERR,
    ATTACH_EXIT,
    ATTACH_OK,
};

enum {
    ATTACH_WANTS_OUTPUT = 1u << 0,
    ATTACH_WANTS_FINISH = 1u << 1,
};

struct attach_message {
    enum attach_type type;
    uint8_t flags;          /* HELLO, BEGIN */
    uint8_t position;       /* LEASE, TAP */
    uint16_t rows, columns; /* RESIZE */
    int32_t exit_code;      /* EXIT */
    bool duty;              /* EXIT */
    const unsigned char *data;
    size_t len; /* STDIN, STDOUT, STDERR, RESTART */
};

/* Writes all but data to out[ATTACH_MAX_FIXED]; gives the number of bytes. The data follows in the
 * same record. */
size_t attach_encode(const struct attach_message *m, unsigned char *out);
/* ret->data points into record. -EBADMSG for what is no message, -EPROTO for another version. */
int attach_decode(const void *record, size_t len, struct attach_message *ret) _must_check_;

/* One record on a connected descriptor, with MSG_NOSIGNAL and the given flags. 0 or -errno. */
int attach_send(int fd, const struct attach_message *m, int flags) _must_check_;
/* One record into buffer[ATTACH_MAX_MESSAGE]. -ECONNRESET when the other end has gone. */
int attach_receive(int fd, unsigned char *buffer, int flags,
                   struct attach_message *ret) _must_check_;
/* The same with a descriptor: of a message without bytes; and from a socket that does not block.
 * *ret_passed is owned, -EBADF when none came. */
int attach_send_fd(int fd, const struct attach_message *m, int pass) _must_check_;
int attach_receive_fd(int fd, unsigned char *buffer, struct attach_message *ret,
                      int *ret_passed) _must_check_;
