/*
 * The protocol of QEMU's guest agent: one JSON object a line, a command out, its answer back, one
 * at a time. Pure codec. The guest is not trusted: a line is at most QGA_LINE_MAX, what is kept of
 * an answer has stated bounds, and base64 is decoded only where it fits.
 *
 * After anything that can have left old bytes on the way (a connection, a timeout, a guest that was
 * started anew) the two ends find each other again with guest-sync-delimited: the byte 0xff ends
 * whatever the agent was reading, and one precedes the answer that carries our number.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define QGA_LINE_MAX  ((size_t)4 << 20)
#define QGA_DATA_MAX  ((size_t)64 << 10) /* of a file, in one command */
#define QGA_TEXT_MAX  ((size_t)2 << 20)  /* of a process's output, in one answer */
#define QGA_ITEMS_MAX 256u               /* interfaces, addresses, users… that are looked at */

/* Commands: each appends one whole line, or nothing. -EILSEQ: a text is no UTF-8. */
int qga_add_sync(struct buf *out, uint64_t number) _must_check_;
/* arguments: NULL, or taken. */
int qga_add(struct buf *out, const char *command, json_t *arguments) _must_check_;
/* One number as the argument: {"pid": 3}, {"handle": 1000}. */
int qga_add_number(struct buf *out, const char *command, const char *key,
                   int64_t value) _must_check_;
/* argv as it is, without a shell; capture: its output comes with its status. */
int qga_add_exec(struct buf *out, char *const *argv, bool capture) _must_check_;
/* As that, with all there is for it to read. */
int qga_add_feed(struct buf *out, char *const *argv, const void *input, size_t len) _must_check_;
int qga_add_open(struct buf *out, const char *path, const char *mode) _must_check_;
int qga_add_read(struct buf *out, int64_t handle, size_t count) _must_check_;
int qga_add_write(struct buf *out, int64_t handle, const void *data, size_t len) _must_check_;

/* Finds the first line in data: *ret_line and *ret_len without newline and without what a 0xff cut
 * off, *ret_delimited when one did; *ret_used is 0 when more bytes are needed. -EFBIG: too long. */
int qga_line(const char *data, size_t len, const char **ret_line, size_t *ret_len,
             bool *ret_delimited, size_t *ret_used, struct error *err) _must_check_;

struct qga_answer {
    json_t *document; /* owned */
    json_t *value;    /* what "return" holds, borrowed; NULL: the agent refused */
    char error[200];  /* why, one line of printable text */
};
void qga_answer_done(struct qga_answer *a);
int qga_parse(const char *line, size_t len, struct qga_answer *ret, struct error *err) _must_check_;

/* Getters of answers that succeeded; ERROR_CORRUPT when the agent says something else. */
int qga_get_number(const struct qga_answer *a, int64_t *ret, struct error *err) _must_check_;
int qga_get_pid(const struct qga_answer *a, int64_t *ret, struct error *err) _must_check_;
/* How many bytes were written. */
int qga_get_count(const struct qga_answer *a, size_t max, size_t *ret,
                  struct error *err) _must_check_;

struct qga_data {
    char *bytes; /* owned, NUL-terminated; NULL: none */
    size_t len;
    bool eof;
};
int qga_get_data(const struct qga_answer *a, size_t max, struct qga_data *ret,
                 struct error *err) _must_check_;

struct qga_status {
    bool exited;
    int code;     /* as a shell has it: 128+n by signal */
    char *output; /* owned; what was captured of stdout, NUL-terminated; NULL: nothing */
    size_t output_len;
    char *errors; /* owned; likewise of stderr */
    size_t errors_len;
    bool truncated;
};
void qga_status_done(struct qga_status *s);
int qga_get_status(const struct qga_answer *a, struct qga_status *ret,
                   struct error *err) _must_check_;

/* What is shown of a guest: texts are cut and made printable. JSON of our own, owned by the caller.
 * Interfaces: [{"name", "mac", "addresses": ["10.0.0.2/24"]}], the loopback left out. */
int qga_get_interfaces(const struct qga_answer *a, json_t **ret, struct error *err) _must_check_;
/* {"name": "Debian GNU/Linux 12 (bookworm)", "id", "version", "kernel", "machine"} */
int qga_get_system(const struct qga_answer *a, json_t **ret, struct error *err) _must_check_;
int qga_get_users(const struct qga_answer *a, json_t **ret, struct error *err) _must_check_;
/* The agent's version, into a buffer, and whether it takes a command. */
int qga_get_info(const struct qga_answer *a, char *version, size_t size,
                 struct error *err) _must_check_;
bool qga_has_command(const struct qga_answer *info, const char *command);

struct qga_traffic {
    uint64_t rx_bytes, tx_bytes;
};
/* Of guest-network-get-interfaces, the loopback left out. */
int qga_get_traffic(const struct qga_answer *a, struct qga_traffic *ret,
                    struct error *err) _must_check_;
/* Of guest-get-vcpus and guest-get-memory-blocks: how many there are, and are in use. */
int qga_get_online(const struct qga_answer *a, uint32_t *ret_all, uint32_t *ret_online,
                   struct error *err) _must_check_;
