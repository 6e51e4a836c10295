/* Range (RFC 9110) of a request for a blob, and Content-Range of a chunk that is uploaded. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macro.h"

struct serve_range {
    uint64_t start, length;
};

enum serve_range_found {
    RANGE_NONE, /* no single range of bytes: the whole is sent, as the RFC wants */
    RANGE_FOUND,
    RANGE_OUTSIDE, /* 416 */
};

/* header NULL: none was sent. size: of the whole. */
enum serve_range_found serve_range_parse(const char *header, uint64_t size,
                                         struct serve_range *ret) _must_check_;

/* "START-END" ("bytes START-END/SIZE" too) of a chunk; false when it is anything else. */
bool serve_chunk_parse(const char *header, struct serve_range *ret) _must_check_;
