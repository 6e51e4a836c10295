/*
 * Reading an instance's log, as `proa logs` does: all rotated files in order, oldest first.
 *
 * The files are outside bytes in part (a killed writer, a full disk, somebody's editor): lines that
 * are no entry are passed over, lines longer than LOG_MAX_LINE too.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define LOG_MAX_LINE ((size_t)262144)

struct log_entry {
    bool is_stderr;
    int64_t time_ns;
    const char *text; /* with its newline; without for a piece of a longer line */
    size_t len;       /* may hold NUL bytes */
};

struct log_query {
    int64_t tail;               /* the last so many entries; -1: all */
    int64_t since_ns, until_ns; /* 0: no bound */
    bool follow;                /* go on until the monitor has gone, or until_ns has passed */
    const char *run_dir;        /* where the monitor's lock is; needed to follow */
    int stop_fd;                /* following ends when this becomes readable; -EBADF: none */
};

/* Calls entry() for each; its strings live for the call. A value other than 0 ends the reading and
 * is given back. A log that does not exist has no entries. */
int log_read(const char *bundle, const struct log_query *query,
             int (*entry)(void *context, const struct log_entry *e), void *context,
             struct error *err) _must_check_;

/* One line, without its newline, decoded in place. -EBADMSG for what is no entry. */
int log_parse_line(char *line, size_t len, struct log_entry *ret) _must_check_;
