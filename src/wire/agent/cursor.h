/*
 * Reading and writing a payload's fields. Both are sticky: after the first failure the rest do
 * nothing, so a message is a list of calls with one check at the end.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct agent_reader {
    const unsigned char *p;
    size_t left;
    int error; /* 0 or a negative errno */
};

uint8_t agent_read_u8(struct agent_reader *r);
uint32_t agent_read_u32(struct agent_reader *r);
uint64_t agent_read_u64(struct agent_reader *r);
bool agent_read_bool(struct agent_reader *r);
const char *agent_read_bytes(struct agent_reader *r, size_t *ret_len); /* NUL-terminated */
const char *agent_read_string(struct agent_reader *r); /* never NULL; refuses NULs inside */
char **agent_read_vector(struct agent_reader *r);      /* owned array of borrowed strings */
/* A count of items that each take at least min_bytes. */
uint32_t agent_read_count(struct agent_reader *r, uint32_t max, size_t min_bytes);
/* Owned array of borrowed strings, also after an error. */
struct agent_network;
struct agent_network *agent_read_networks(struct agent_reader *r, size_t *ret_n);
/* The result: -EPROTO when a field was bad, or bytes are left over. */
int agent_read_end(const struct agent_reader *r, struct error *err) _must_check_;

struct agent_writer {
    struct buf buf;
    int error;
};

#define AGENT_WRITER_INIT                                                                          \
    {                                                                                              \
        BUF_INIT(AGENT_PAYLOAD_MAX), 0                                                             \
    }

void agent_write_u8(struct agent_writer *w, uint8_t v);
void agent_write_u32(struct agent_writer *w, uint32_t v);
void agent_write_u64(struct agent_writer *w, uint64_t v);
void agent_write_bytes(struct agent_writer *w, const char *data, size_t len);
void agent_write_string(struct agent_writer *w, const char *s); /* NULL as "" */
void agent_write_vector(struct agent_writer *w, char *const *v);
void agent_write_networks(struct agent_writer *w, const struct agent_network *list, size_t n);
/* Adds the frame to out, releases the writer, gives the first error. */
int agent_write_end(struct agent_writer *w, struct buf *out, int type,
                    uint32_t stream) _must_check_;
