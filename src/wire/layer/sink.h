/*
 * Bytes on their way out: hashed, compressed as wanted, hashed again, written. The same bytes give
 * the same result, whenever and wherever the same libraries do it: no time, no name, one thread.
 */
#pragma once

#include "wire/layer/stream.h"

enum sink_compression {
    SINK_NONE,
    SINK_GZIP,
    SINK_ZSTD,
};
/* "none", "gzip", "zstd"; -EINVAL. */
int sink_compression_parse(const char *name, enum sink_compression *ret);

struct layer_sink;

/* fd: any descriptor open for writing, -EBADF to write nothing; stays the caller's. */
int layer_sink_open(int fd, enum sink_compression how, struct layer_sink **ret,
                    struct error *err) _must_check_;
void layer_sink_close(struct layer_sink *s); /* takes NULL */
DEFINE_CLEANUP(struct layer_sink *, layer_sink_close)
#define _cleanup_sink_ _cleanup_(layer_sink_close_cleanup)

int layer_sink_write(struct layer_sink *s, const void *data, size_t len,
                     struct error *err) _must_check_;

struct layer_sink_result {
    char plain[LAYER_DIGEST_SIZE], written[LAYER_DIGEST_SIZE];
    uint64_t plain_bytes, written_bytes;
};
int layer_sink_finish(struct layer_sink *s, struct layer_sink_result *ret,
                      struct error *err) _must_check_;
