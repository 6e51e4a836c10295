/* A file of the cache of seccomp filters: written by us, in a directory that a caller names. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/container/filter-cache.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[] = "key";
    const struct buf key = {text, sizeof(text) - 1, sizeof(text), sizeof(text)};
    struct seccomp_filter filter = {0};
    if (filter_cache_parse(data, size, &key, &filter) == 0)
        assert(filter.n > 0 && filter.n * sizeof(struct sock_filter) < size);
    seccomp_filter_done(&filter);
    return 0;
}
