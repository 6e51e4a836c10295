/*
 * A parcel: a machine, or a snapshot of one, as one stream of bytes: into a file, or to another
 * host. It begins with PARCEL_MAGIC; then come frames, each a head of 16 bytes (type, length of the
 * payload, a value: little endian, 32, 32 and 64 bits) and its payload:
 *
 *   HEAD    once, first: JSON that says what it is
 *   FILE    a name; the value is the file's size. What has no data in it is zeros
 *   DATA    bytes of the last FILE; the value is their place, which only grows
 *   SYNC    to another host only: it is to answer, by a line of text, before more comes. The value
 *           is its number, from 1
 *   END     the SHA-256 of all bytes before this frame
 *
 * Whoever reads is given no name but one of a plain grammar, no byte outside a file's size, and
 * nothing behind the end.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/sha256.h"

#define PARCEL_MAGIC      "PROAPRC1"
#define PARCEL_MAGIC_LEN  8
#define PARCEL_FRAME_LEN  16
#define PARCEL_HEAD_MAX   ((size_t)2 << 20)
#define PARCEL_DATA_MAX   ((size_t)1 << 20)
#define PARCEL_NAME_MAX   64
#define PARCEL_FILES_MAX  512
#define PARCEL_FILE_MAX   ((uint64_t)16 << 40)
#define PARCEL_SYNC_MAX   1000
#define PARCEL_ANSWER_MAX 512 /* a line of answer, its end included */

enum parcel_type {
    PARCEL_HEAD = 1,
    PARCEL_FILE,
    PARCEL_DATA,
    PARCEL_SYNC,
    PARCEL_END,
};

/* Letters, digits, "-", "_" and ".", the first a letter or digit; at most PARCEL_NAME_MAX. */
int parcel_name_check(const char *name, size_t len) _must_check_;

/* --- writing --- */

struct parcel_writer {
    int fd;
    struct sha256 hash;
};
int parcel_begin(struct parcel_writer *w, int fd, struct error *err) _must_check_;
int parcel_add(struct parcel_writer *w, enum parcel_type type, uint64_t value, const void *data,
               size_t len, struct error *err) _must_check_;
/* A file with its data, holes left out. */
int parcel_add_file(struct parcel_writer *w, const char *name, int fd,
                    struct error *err) _must_check_;
int parcel_finish(struct parcel_writer *w, struct error *err) _must_check_;

/* --- reading --- */

/* Exactly len bytes, or ERROR_CORRUPT when it ends before. */

typedef int parcel_get(void *context, void *data, size_t len, struct error *err);

/* Each returns 0 or -errno, which ends the reading. data is the callee's until it returns. */
struct parcel_sink {
    int (*head)(void *context, const char *text, size_t len, struct error *err);
    int (*file)(void *context, const char *name, uint64_t bytes, struct error *err);
    int (*data)(void *context, uint64_t at, const void *data, size_t len, struct error *err);
    int (*file_end)(void *context, struct error *err);
    int (*sync)(void *context, uint64_t number, struct error *err);
};
/* Reads a parcel to its end; the digest is right when this succeeds. */
int parcel_read(parcel_get *get, void *source, const struct parcel_sink *sink, void *context,
                struct error *err) _must_check_;
