/*
 * The bytes of an archive, uncompressed as they are read: gzip, zstd, xz and bzip2 are recognised
 * by their first bytes, anything else is taken as it is. Both sides are hashed on the way.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define LAYER_DIGEST_SIZE 72 /* "sha256:", 64 hex digits, NUL */

struct layer_ahead; /* ahead.h */

struct layer_source {
    int fd;
    struct layer_ahead *ahead; /* a thread to uncompress in; NULL: none */
    bool ranged; /* only size bytes from offset on, by pread; otherwise to the end by read */
    uint64_t offset, size;
    bool follows; /* ranged, and still being written: a byte on follow_fd says that there is more,
                     its end that nothing more comes */
    int follow_fd;
    bool as_it_is;                                        /* do not uncompress */
    bool unhashed;                                        /* nobody wants the digests */
    uint64_t max_bytes;                                   /* uncompressed */
    void (*progress)(void *context, uint64_t bytes_read); /* of the archive; may be NULL */
    void *context;
};

struct layer_stream;

int layer_stream_open(const struct layer_source *source, struct layer_stream **ret,
                      struct error *err) _must_check_;
void layer_stream_close(struct layer_stream *s); /* takes NULL */
DEFINE_CLEANUP(struct layer_stream *, layer_stream_close)
#define _cleanup_stream_ _cleanup_(layer_stream_close_cleanup)

/* The archive is not compressed: what comes out is what is in the file. */
bool layer_stream_is_plain(const struct layer_stream *s);

/* The next uncompressed bytes, valid until the next call; *ret_len 0 at the end. */
int layer_stream_next(struct layer_stream *s, const void **ret, size_t *ret_len,
                      struct error *err) _must_check_;

struct layer_digests {
    char archive[LAYER_DIGEST_SIZE]; /* of the bytes as they came */
    char tar[LAYER_DIGEST_SIZE];     /* of the uncompressed ones */
    uint64_t archive_bytes, tar_bytes;
    bool ends_in_zeros; /* the last 512 bytes are zeros, as every tar's are */
    bool compressed;    /* so that a cut-off end would have been noticed */
};
/* After the end was reached. */
int layer_stream_digests(struct layer_stream *s, struct layer_digests *ret,
                         struct error *err) _must_check_;
