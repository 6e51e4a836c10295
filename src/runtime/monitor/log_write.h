/*
 * Writing an instance's log: JSON lines as Docker's json-file has them, rotated by size. Static
 * buffers, no allocation. A disk that is full never stops the workload: lines are dropped and
 * counted, and what reached the file is always whole lines (a kill can leave half of the last one,
 * which the reader and the next writer cope with).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

#define LOG_PIECE_BYTES ((size_t)16384) /* longer lines are written in pieces of this size */

struct log_writer {
    int dir_fd; /* the bundle; borrowed */
    int fd;
    uint64_t max_bytes;
    uint32_t files; /* log, log.1, ... in all */
    uint64_t dropped;
    off_t good, disk; /* size up to the last whole line; size with what came after it */
    size_t line_end;  /* in out: after the last whole line */
    size_t out_len;
    bool skipping;       /* the current line is lost */
    size_t held[2];      /* bytes of each stream's unfinished line */
    int64_t time_second; /* what time_text was made for */
    char time_text[20];  /* "2026-01-02T03:04:05" */
    char out[8192];
    char line[2][LOG_PIECE_BYTES];
};

/* Opens DIR/log for appending. */
int log_writer_open(struct log_writer *w, int dir_fd, uint64_t max_bytes, uint32_t files,
                    struct error *err) _must_check_;
/* Adds bytes of a stream (0 stdout, 1 stderr); whole lines are in the file afterwards. */
void log_writer_add(struct log_writer *w, int stream, const char *data, size_t len);
/* Writes unfinished lines as they are. */
void log_writer_flush(struct log_writer *w);
void log_writer_close(struct log_writer *w);
