/* Messages of the attach socket: what is decoded encodes to the same bytes. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "wire/attach.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct attach_message m;
    unsigned char out[ATTACH_MAX_FIXED];
    if (attach_decode(data, size, &m) < 0)
        return 0;
    size_t n = attach_encode(&m, out);
    assert(n + m.len == size && n <= sizeof(out));
    assert(m.type == ATTACH_EXIT || memcmp(out, data, n) == 0);
    (void)n;
    return 0;
}
